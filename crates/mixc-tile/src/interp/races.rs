//! Elements that two grid points touch, at least one of them writing.

use super::run::{Fault, Machine};

/// Who touched an element of a tensor: grid points by number, counted from 1.
#[derive(Clone, Copy, Default)]
pub(super) struct Seen {
    writer: u64,
    /// `u64::MAX` if several.
    reader: u64,
}

impl Machine<'_> {
    pub(super) fn note_read(
        &mut self,
        tensor: usize,
        offset: usize,
        at: &[i64],
    ) -> Result<(), Fault> {
        let me = self.point + 1;
        let Some(seen) = self.seen[tensor].get_mut(offset) else {
            return Ok(());
        };
        if seen.writer != 0 && seen.writer != me {
            return Err(Fault::Race {
                tensor,
                at: at.to_vec(),
                first: seen.writer,
                what: "reads",
            });
        }
        seen.reader = if seen.reader == 0 || seen.reader == me {
            me
        } else {
            u64::MAX
        };
        Ok(())
    }

    pub(super) fn note_write(
        &mut self,
        tensor: usize,
        offset: usize,
        at: &[i64],
    ) -> Result<(), Fault> {
        let me = self.point + 1;
        let Some(seen) = self.seen[tensor].get_mut(offset) else {
            return Ok(());
        };
        if let Some(first) = [seen.writer, seen.reader]
            .into_iter()
            .find(|who| *who != 0 && *who != me)
        {
            return Err(Fault::Race {
                tensor,
                at: at.to_vec(),
                first,
                what: "writes",
            });
        }
        seen.writer = me;
        Ok(())
    }
}
