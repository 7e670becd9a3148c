//! The readable table of a layout.

use std::fmt::{Display, Formatter, Result};

use crate::Layout;

/// One line of outputs with their sizes, then one line for each input bit: its value and where it
/// goes, `register 2 -> m 8`; `-` marks a broadcast bit.
impl Display for Layout {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let outs: Vec<_> = self.outs().collect();
        let sizes = outs
            .iter()
            .map(|(name, bits)| format!("{name}[{}]", 1u64 << bits));
        write!(f, "layout {}", sizes.collect::<Vec<_>>().join(" "))?;
        let width = self.ins().map(|(name, _)| name.len()).max().unwrap_or(0);
        for (name, bits) in self.ins() {
            if bits == 0 {
                write!(f, "\n{name:width$}")?;
            }
            for bit in 0..bits {
                let values = outs.iter().zip(self.basis(name, bit));
                let moved = values.filter(|(_, value)| *value != 0);
                let moved: Vec<_> = moved.map(|((n, _), v)| format!("{n} {v}")).collect();
                let moved = if moved.is_empty() {
                    "-".to_string()
                } else {
                    moved.join(", ")
                };
                write!(f, "\n{name:width$} {} -> {moved}", 1u64 << bit)?;
            }
        }
        Ok(())
    }
}
