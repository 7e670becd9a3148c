//! Accesses of different blocks to the same bytes of global memory within one launch.
//!
//! Each block notes, for every page of 256 bytes and every instruction, which bytes it touched. Pages of
//! finished blocks are merged in the order of blocks, so that reports do not depend on timing. Two accesses
//! conflict if one of them writes and one of them is not atomic. An order between blocks is recognised in
//! one form: the earlier access is followed by a fence and an atomic or strong store of its block, the
//! later one preceded by an atomic that returns a value, or a strong load, of its own. Whether the second
//! saw the first is not followed up.

use crate::program::Pc;
use std::collections::HashMap;

const PAGE: u64 = 256;
const WORDS: usize = (PAGE / 64) as usize;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Read = 0,
    Write = 1,
    /// Atomic, volatile or relaxed: does not conflict with its like.
    Atomic = 2,
}

/// What one instruction of one block touched in one page.
#[derive(Clone, Debug)]
pub struct Touch {
    buffer: u32,
    page: u32,
    /// The next touch of the page in this block.
    next: u32,
    pub pc: Pc,
    /// The first thread.
    pub thread: u32,
    pub mode: Mode,
    /// After a synchronising access of the block.
    acquired: bool,
    /// Fences that the block had executed.
    fences: u32,
    bytes: [u64; WORDS],
}

/// The touches of one block.
#[derive(Default)]
pub struct Footprint {
    /// By buffer and page: one more than the index of the first touch.
    first: Vec<Box<[u32]>>,
    touches: Vec<Touch>,
    acquired: bool,
    fences: u32,
    released: u32,
}

impl Footprint {
    /// For buffers of these lengths.
    pub fn new(lengths: impl Iterator<Item = usize>) -> Footprint {
        let pages = |bytes: usize| vec![0; bytes.div_ceil(PAGE as usize)].into();
        Footprint {
            first: lengths.map(pages).collect(),
            ..Footprint::default()
        }
    }

    pub fn fence(&mut self) {
        self.fences += 1;
    }

    /// An atomic or strong store: what came before the last fence is released.
    pub fn release(&mut self, is_fence: bool) {
        self.fences += u32::from(is_fence);
        self.released = self.fences;
    }

    pub fn acquire(&mut self) {
        self.acquired = true;
    }

    /// `len` bytes from `offset` on, which lie inside the buffer.
    pub fn note(
        &mut self,
        buffer: usize,
        offset: u64,
        len: u64,
        mode: Mode,
        thread: usize,
        pc: Pc,
    ) {
        let (mut at, end) = (offset, offset + len);
        while at < end {
            let stop = end.min((at / PAGE + 1) * PAGE);
            let touch = self.touch(buffer, at / PAGE, mode, thread, pc);
            mark(&mut touch.bytes, (at % PAGE) as u32, (stop - at) as u32);
            at = stop;
        }
    }

    #[inline]
    fn touch(&mut self, buffer: usize, page: u64, mode: Mode, thread: usize, pc: Pc) -> &mut Touch {
        let head = self.first[buffer][page as usize];
        let mut at = head;
        while at != 0 {
            let t = &self.touches[at as usize - 1];
            if t.pc == pc && t.mode == mode && t.acquired == self.acquired {
                break;
            }
            at = t.next;
        }
        if at == 0 {
            self.touches.push(Touch {
                buffer: buffer as u32,
                page: page as u32,
                next: head,
                pc,
                thread: thread as u32,
                mode,
                acquired: self.acquired,
                fences: 0,
                bytes: [0; WORDS],
            });
            at = self.touches.len() as u32;
            self.first[buffer][page as usize] = at;
        }
        let touch = &mut self.touches[at as usize - 1];
        touch.fences = self.fences;
        touch
    }

    /// The touches so far, each with whether its block has released it since; the footprint is empty again.
    pub fn take(&mut self) -> Vec<(Touch, bool)> {
        let released = std::mem::take(&mut self.released);
        (self.fences, self.acquired) = (0, false);
        let touches = std::mem::take(&mut self.touches);
        for t in &touches {
            self.first[t.buffer as usize][t.page as usize] = 0;
        }
        touches
            .into_iter()
            .map(|t| (t.clone(), t.fences < released))
            .collect()
    }
}

/// Sets `len > 0` bits from `at` on.
fn mark(bytes: &mut [u64; WORDS], at: u32, len: u32) {
    let (mut at, end) = (at, at + len);
    while at < end {
        let (word, bit) = (at / 64, at % 64);
        let n = (64 - bit).min(end - at);
        bytes[word as usize] |= (u64::MAX >> (64 - n)) << bit;
        at += n;
    }
}

fn overlap(a: &[u64; WORDS], b: &[u64; WORDS]) -> Option<u32> {
    let word = (0..WORDS).find(|&w| a[w] & b[w] != 0)?;
    Some(word as u32 * 64 + (a[word] & b[word]).trailing_zeros())
}

/// A byte that two blocks touch without order, and the touches.
pub struct Meeting {
    pub buffer: usize,
    pub offset: u64,
    pub earlier: (u64, Touch),
    pub later: (u64, Touch),
}

/// The pages of all blocks merged so far.
#[derive(Default)]
pub struct Merged {
    pages: HashMap<(u32, u32), Page>,
}

#[derive(Default)]
struct Page {
    /// Bytes by mode and [`order`].
    all: [[[u64; WORDS]; 4]; 3],
    /// Touches that added to `all`, with their blocks: at least one for each byte.
    kept: Vec<(u64, Touch, bool)>,
}

impl Merged {
    /// Adds a block; what meets earlier blocks is given to `found`.
    pub fn add(&mut self, block: u64, touches: Vec<(Touch, bool)>, mut found: impl FnMut(Meeting)) {
        for (touch, released) in &touches {
            let Some(page) = self.pages.get(&(touch.buffer, touch.page)) else {
                continue;
            };
            if let Some((byte, earlier)) = page.meets(touch, *released) {
                found(Meeting {
                    buffer: touch.buffer as usize,
                    offset: u64::from(touch.page) * PAGE + u64::from(byte),
                    earlier,
                    later: (block, touch.clone()),
                });
            }
        }
        for (touch, released) in touches {
            let page = self.pages.entry((touch.buffer, touch.page)).or_default();
            let all = &mut page.all[touch.mode as usize][order(&touch, released)];
            let new = (0..WORDS).any(|w| touch.bytes[w] & !all[w] != 0);
            if new {
                (0..WORDS).for_each(|w| all[w] |= touch.bytes[w]);
                page.kept.push((block, touch, released));
            }
        }
    }
}

/// Which orders a touch can be part of: touches that differ in this are not alike.
fn order(touch: &Touch, released: bool) -> usize {
    usize::from(released) + 2 * usize::from(touch.acquired)
}

impl Page {
    /// A byte of `touch` that a block before it touched in a conflicting mode, with that touch. Either can be the one that
    /// came first in time.
    fn meets(&self, touch: &Touch, released: bool) -> Option<(u32, (u64, Touch))> {
        let modes: &[Mode] = match touch.mode {
            Mode::Read => &[Mode::Write, Mode::Atomic],
            Mode::Write => &[Mode::Read, Mode::Write, Mode::Atomic],
            Mode::Atomic => &[Mode::Read, Mode::Write],
        };
        let conflicts = |mode: &Mode| {
            let all = &self.all[*mode as usize];
            (0..WORDS).any(|w| all.iter().any(|bytes| touch.bytes[w] & bytes[w] != 0))
        };
        if !modes.iter().any(conflicts) {
            return None;
        }
        let kept = self.kept.iter();
        let ordered =
            |t: &Touch, before: bool| (before && touch.acquired) || (released && t.acquired);
        kept.filter(|(_, t, before)| modes.contains(&t.mode) && !ordered(t, *before))
            .find_map(|(block, t, _)| Some((overlap(&t.bytes, &touch.bytes)?, (*block, t.clone()))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(accesses: &[(u64, u64, Mode)]) -> Vec<(Touch, bool)> {
        let mut f = Footprint::new([4096].into_iter());
        for (n, &(offset, len, mode)) in accesses.iter().enumerate() {
            f.note(0, offset, len, mode, 0, n as Pc);
        }
        f.take()
    }

    fn meetings(blocks: Vec<Vec<(Touch, bool)>>) -> Vec<u64> {
        let mut merged = Merged::default();
        let mut out = vec![];
        for (n, b) in blocks.into_iter().enumerate() {
            merged.add(n as u64, b, |m| out.push(m.offset));
        }
        out
    }

    #[test]
    fn neighbours_do_not_meet_and_shared_bytes_do() {
        use Mode::*;
        // 300 bytes pass the border of a page.
        assert_eq!(
            meetings(vec![block(&[(0, 300, Write)]), block(&[(300, 2, Write)])]),
            [0u64; 0]
        );
        assert_eq!(
            meetings(vec![block(&[(0, 300, Write)]), block(&[(299, 2, Write)])]),
            [299]
        );
        assert_eq!(
            meetings(vec![block(&[(7, 1, Read)]), block(&[(0, 64, Write)])]),
            [7]
        );
        assert_eq!(
            meetings(vec![block(&[(0, 64, Read)]), block(&[(0, 64, Read)])]),
            [0u64; 0]
        );
        assert_eq!(
            meetings(vec![block(&[(0, 4, Atomic)]), block(&[(0, 4, Atomic)])]),
            [0u64; 0]
        );
        assert_eq!(
            meetings(vec![block(&[(0, 4, Atomic)]), block(&[(2, 1, Read)])]),
            [2]
        );
        // One block's own accesses are its own matter.
        assert_eq!(
            meetings(vec![block(&[(0, 4, Read), (0, 4, Write)])]),
            [0u64; 0]
        );
    }

    #[test]
    fn a_fence_and_atomics_order_two_blocks() {
        let go = |fence: bool, acquire: bool, swapped: bool| {
            let mut f = Footprint::new([256].into_iter());
            f.note(0, 0, 4, Mode::Write, 0, 0);
            if fence {
                f.fence();
            }
            f.release(false);
            let first = f.take();
            if acquire {
                f.acquire();
            }
            f.note(0, 0, 4, Mode::Read, 0, 1);
            let mut both = vec![first, f.take()];
            if swapped {
                both.reverse();
            }
            meetings(both).len()
        };
        // Which of the two has the lower number says nothing about which was first.
        for swapped in [false, true] {
            let found = [(true, true), (true, false), (false, true)];
            let found = found.map(|(fence, acquire)| go(fence, acquire, swapped));
            assert_eq!(found, [0, 1, 1], "{swapped}");
        }
    }
}
