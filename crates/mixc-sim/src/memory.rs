//! Global memory: buffers with guard distance between them, shared by all blocks of a launch.
//!
//! Bytes live in 64-bit atomic words, so that racing kernels stay defined for the simulator. Every
//! byte knows whether it was ever written.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};

/// A handle of one buffer of a [`Memory`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BufferId(pub(crate) usize);

/// The buffers that kernels see. Each lies in an address range of its own, far from the others, so
/// that an address tells which buffer was meant even when it is out of bounds.
#[derive(Default)]
pub struct Memory {
    pub(crate) buffers: Vec<Buffer>,
}

pub(crate) struct Buffer {
    pub name: String,
    pub len: usize,
    words: Box<[AtomicU64]>,
    /// One bit for each byte of a word.
    init: Box<[AtomicU8]>,
    /// Every byte is written.
    all_init: bool,
    /// Bytes stored in the current launch, if the buffer takes each byte once.
    once: Option<Box<[AtomicU8]>>,
}

/// Buffers are this far apart.
const REACH: u32 = 40;
const BASE: u64 = 1 << 36;

impl Memory {
    pub fn new() -> Memory {
        Memory::default()
    }

    /// A buffer with contents.
    pub fn alloc(&mut self, name: impl Into<String>, bytes: &[u8]) -> BufferId {
        let id = self.alloc_uninit(name, bytes.len());
        self.write(id, bytes);
        id
    }

    /// A buffer that nobody has written; reading it before writing is reported.
    pub fn alloc_uninit(&mut self, name: impl Into<String>, len: usize) -> BufferId {
        let words = len.div_ceil(8);
        self.buffers.push(Buffer {
            name: name.into(),
            len,
            words: (0..words)
                .map(|_| AtomicU64::new(0xfff8_dead_fff8_dead))
                .collect(),
            init: (0..words).map(|_| AtomicU8::new(0)).collect(),
            all_init: false,
            once: None,
        });
        BufferId(self.buffers.len() - 1)
    }

    pub fn alloc_f32(&mut self, name: impl Into<String>, values: &[f32]) -> BufferId {
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.alloc(name, &bytes)
    }

    pub fn alloc_u32(&mut self, name: impl Into<String>, values: &[u32]) -> BufferId {
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.alloc(name, &bytes)
    }

    pub fn alloc_u16(&mut self, name: impl Into<String>, values: &[u16]) -> BufferId {
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.alloc(name, &bytes)
    }

    /// From now on each byte of the buffer may be stored once in a launch; a second plain store is
    /// reported.
    pub fn write_once(&mut self, id: BufferId) {
        let buffer = &mut self.buffers[id.0];
        buffer.once = Some(buffer.words.iter().map(|_| AtomicU8::new(0)).collect());
    }

    /// Replaces the first `bytes.len()` bytes.
    pub fn write(&mut self, id: BufferId, bytes: &[u8]) {
        let buffer = &mut self.buffers[id.0];
        assert!(
            bytes.len() <= buffer.len,
            "bytes do not fit into the buffer"
        );
        let (whole, rest) = bytes.as_chunks::<8>();
        for (n, word) in whole.iter().enumerate() {
            *buffer.words[n].get_mut() = u64::from_le_bytes(*word);
            *buffer.init[n].get_mut() = 0xff;
        }
        for (n, &b) in rest.iter().enumerate() {
            buffer.store((8 * whole.len() + n) as u64, 1, u64::from(b));
        }
        buffer.all_init |= bytes.len() == buffer.len;
    }

    pub fn bytes(&self, id: BufferId) -> Vec<u8> {
        let buffer = &self.buffers[id.0];
        let words = buffer
            .words
            .iter()
            .flat_map(|w| w.load(Relaxed).to_le_bytes());
        words.take(buffer.len).collect()
    }

    pub fn f32s(&self, id: BufferId) -> Vec<f32> {
        self.bytes(id)
            .as_chunks::<4>()
            .0
            .iter()
            .map(|b| f32::from_le_bytes(*b))
            .collect()
    }

    pub fn u32s(&self, id: BufferId) -> Vec<u32> {
        self.bytes(id)
            .as_chunks::<4>()
            .0
            .iter()
            .map(|b| u32::from_le_bytes(*b))
            .collect()
    }

    pub fn u16s(&self, id: BufferId) -> Vec<u16> {
        self.bytes(id)
            .as_chunks::<2>()
            .0
            .iter()
            .map(|b| u16::from_le_bytes(*b))
            .collect()
    }

    /// Whether every byte of the buffer has been written.
    pub fn fully_written(&self, id: BufferId) -> bool {
        let buffer = &self.buffers[id.0];
        buffer.all_init || (0..buffer.len as u64).all(|at| buffer.is_init(at, 1))
    }

    /// The address that a pointer to the buffer's first byte has.
    pub fn address(&self, id: BufferId) -> u64 {
        (id.0 as u64 + 1) << REACH | BASE
    }

    /// The buffer that an address means, and its byte offset (outside the buffer if out of bounds).
    pub(crate) fn find(&self, address: u64) -> Option<(usize, &Buffer, i64)> {
        let index = (address >> REACH).checked_sub(1)? as usize;
        let buffer = self.buffers.get(index)?;
        let base = (index as u64 + 1) << REACH | BASE;
        Some((index, buffer, address.wrapping_sub(base) as i64))
    }

    pub(crate) fn start_launch(&self) {
        for once in self.buffers.iter().filter_map(|b| b.once.as_ref()) {
            once.iter().for_each(|w| w.store(0, Relaxed));
        }
    }
}

/// The bits of `bytes` bytes from `at` within a word.
fn byte_mask(at: u64, bytes: u32) -> u8 {
    (((1u16 << bytes) - 1) << (at & 7)) as u8
}

fn value_mask(bytes: u32) -> u64 {
    if bytes == 8 {
        u64::MAX
    } else {
        (1 << (8 * bytes)) - 1
    }
}

impl Buffer {
    pub fn holds(&self, offset: i64, bytes: u32) -> bool {
        offset >= 0 && offset as u64 + u64::from(bytes) <= self.len as u64
    }

    /// Whether every byte was written before the launch.
    pub fn all_init(&self) -> bool {
        self.all_init
    }

    /// `bytes` (at most 8) from `at`; an access that crosses a word is put together.
    pub fn load(&self, at: u64, bytes: u32) -> u64 {
        let shift = 8 * (at & 7);
        let low = self.words[(at / 8) as usize].load(Relaxed) >> shift;
        let crosses = (at & 7) + u64::from(bytes) > 8;
        let high = if crosses {
            self.words[(at / 8) as usize + 1].load(Relaxed) << (64 - shift)
        } else {
            0
        };
        (low | high) & value_mask(bytes)
    }

    /// Fills `out` from `at` on; whether somebody wrote all of it.
    pub fn read(&self, at: u64, out: &mut [u8]) -> bool {
        let mut init = true;
        let mut from = at;
        for piece in out.chunks_mut(8) {
            let bytes = piece.len() as u32;
            piece.copy_from_slice(&self.load(from, bytes).to_le_bytes()[..piece.len()]);
            init &= self.all_init || self.is_init(from, bytes);
            from += u64::from(bytes);
        }
        init
    }

    pub fn store(&self, at: u64, bytes: u32, value: u64) {
        if (at & 7) + u64::from(bytes) > 8 {
            for n in 0..bytes {
                self.store(at + u64::from(n), 1, value >> (8 * n) & 0xff);
            }
            return;
        }
        let word = &self.words[(at / 8) as usize];
        if bytes == 8 {
            word.store(value, Relaxed);
        } else {
            let shift = 8 * (at & 7);
            let mask = value_mask(bytes) << shift;
            let new = (value << shift) & mask;
            let _ = word.fetch_update(Relaxed, Relaxed, |old| Some((old & !mask) | new));
        }
        self.mark_init(at, bytes);
    }

    /// Replaces the value by `f` of it, at once for all blocks; returns the old value. `at` is
    /// aligned to `bytes`.
    pub fn update(&self, at: u64, bytes: u32, f: impl Fn(u64) -> u64) -> u64 {
        let shift = 8 * (at & 7);
        let mask = value_mask(bytes) << shift;
        let word = &self.words[(at / 8) as usize];
        let old = word
            .fetch_update(Relaxed, Relaxed, |old| {
                Some((old & !mask) | ((f((old & mask) >> shift) << shift) & mask))
            })
            .unwrap_or_else(|old| old);
        self.mark_init(at, bytes);
        (old & mask) >> shift
    }

    fn mark_init(&self, at: u64, bytes: u32) {
        let (flags, mask) = (&self.init[(at / 8) as usize], byte_mask(at, bytes));
        if flags.load(Relaxed) & mask != mask {
            flags.fetch_or(mask, Relaxed);
        }
    }

    pub fn is_init(&self, at: u64, bytes: u32) -> bool {
        if (at & 7) + u64::from(bytes) > 8 {
            return (0..u64::from(bytes)).all(|n| self.is_init(at + n, 1));
        }
        let mask = byte_mask(at, bytes);
        self.init[(at / 8) as usize].load(Relaxed) & mask == mask
    }

    /// Notes a plain store; true if one of the bytes was stored before in this launch.
    pub fn stored_before(&self, at: u64, bytes: u32) -> bool {
        let Some(once) = &self.once else { return false };
        if (at & 7) + u64::from(bytes) > 8 {
            return (0..u64::from(bytes)).fold(false, |any, n| self.stored_before(at + n, 1) | any);
        }
        let mask = byte_mask(at, bytes);
        once[(at / 8) as usize].fetch_or(mask, Relaxed) & mask != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_know_whether_they_were_written() {
        let mut memory = Memory::new();
        let id = memory.alloc_uninit("x", 12);
        let buffer = &memory.buffers[id.0];
        buffer.store(6, 4, 0x1122_3344);
        assert_eq!(buffer.load(6, 4), 0x1122_3344);
        assert!(buffer.is_init(6, 4) && !buffer.is_init(5, 2) && !buffer.is_init(9, 2));
        assert!(!memory.fully_written(id));
    }

    #[test]
    fn addresses_out_of_bounds_still_name_their_buffer() {
        let mut memory = Memory::new();
        let (a, b) = (memory.alloc("a", &[0; 8]), memory.alloc("b", &[0; 8]));
        let (index, _, offset) = memory.find(memory.address(b) - 4).unwrap();
        assert_eq!((index, offset), (b.0, -4));
        let (index, _, offset) = memory.find(memory.address(a) + 1000).unwrap();
        assert_eq!((index, offset), (a.0, 1000));
    }
}
