//! What a launch executed: instructions by class, shared-memory wavefronts, global sectors.

use crate::program::Class;

/// Sums over all blocks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Instructions issued, by [`Class`] in the order of [`Class::ALL`]: once for a warp.
    pub warp: [u64; 20],
    /// The same, once for each lane that ran it.
    pub thread: [u64; 20],
    /// Warp-wide accesses to shared memory, and the passes over the banks that they took; without
    /// conflicts the two differ only by accesses wider than 128 bytes a warp, see `shared_ideal`.
    pub shared_requests: u64,
    pub shared_wavefronts: u64,
    pub shared_ideal: u64,
    /// Warp-wide accesses to global memory, the 32-byte sectors that they touched, and the fewest
    /// sectors that hold so many bytes.
    pub global_requests: u64,
    pub global_sectors: u64,
    pub global_ideal: u64,
    /// Multiply-adds of matrix instructions.
    pub matrix_fmas: u64,
}

impl Counts {
    pub fn of(&self, class: Class) -> u64 {
        self.warp[class as usize]
    }

    /// Every class that occurred, with its warp and thread instructions.
    pub fn by_class(&self) -> impl Iterator<Item = (Class, u64, u64)> + '_ {
        let all = Class::ALL
            .into_iter()
            .map(|c| (c, self.warp[c as usize], self.thread[c as usize]));
        all.filter(|(_, warp, _)| *warp > 0)
    }

    pub fn total(&self) -> u64 {
        self.warp.iter().sum()
    }

    pub fn bank_conflicts(&self) -> u64 {
        self.shared_wavefronts - self.shared_ideal
    }

    pub fn add(&mut self, other: &Counts) {
        for n in 0..self.warp.len() {
            self.warp[n] += other.warp[n];
            self.thread[n] += other.thread[n];
        }
        self.shared_requests += other.shared_requests;
        self.shared_wavefronts += other.shared_wavefronts;
        self.shared_ideal += other.shared_ideal;
        self.global_requests += other.global_requests;
        self.global_sectors += other.global_sectors;
        self.global_ideal += other.global_ideal;
        self.matrix_fmas += other.matrix_fmas;
    }

    /// One warp-wide access to shared memory: `addresses` of the lanes that take part, `bytes` each.
    /// There are 32 banks of 4 bytes; accesses of 8 and 16 bytes are served in halves and quarters
    /// of the warp.
    pub fn shared_access(&mut self, addresses: &[u32], bytes: u32) {
        if addresses.is_empty() {
            return;
        }
        self.shared_requests += 1;
        let words = bytes.div_ceil(4).max(1);
        let group = (32 / words).max(1) as usize;
        for lanes in addresses.chunks(group) {
            self.shared_ideal += 1;
            self.shared_wavefronts += passes(lanes, words);
        }
    }

    pub fn global_access(&mut self, addresses: &[u64], bytes: u32) {
        if addresses.is_empty() {
            return;
        }
        self.global_requests += 1;
        let (mut sectors, mut distinct) = (1u64, 1u64);
        let mut sorted = [0u64; 32];
        let sorted = &mut sorted[..addresses.len()];
        sorted.copy_from_slice(addresses);
        if !sorted.is_sorted() {
            sorted.sort_unstable();
        }
        let mut last = sorted[0] / 32;
        for (n, &a) in sorted.iter().enumerate() {
            let end = a.saturating_add(u64::from(bytes) - 1) / 32;
            // Sectors are taken in order, so those up to `last` are counted already.
            let fresh = if n == 0 {
                end - last
            } else {
                end.saturating_sub(last.max((a / 32).saturating_sub(1)))
            };
            sectors += fresh;
            last = last.max(end);
            distinct += u64::from(n > 0 && a != sorted[n - 1]);
        }
        self.global_sectors += sectors;
        self.global_ideal += (distinct * u64::from(bytes)).div_ceil(32);
    }
}

/// The largest number of different words that fall into one bank.
fn passes(lanes: &[u32], words: u32) -> u64 {
    let mut owner = [u32::MAX; 32];
    let mut conflict = false;
    for &address in lanes {
        for word in address / 4..(address / 4).saturating_add(words) {
            let bank = &mut owner[(word % 32) as usize];
            conflict |= *bank != u32::MAX && *bank != word;
            *bank = word;
        }
    }
    if !conflict {
        return 1;
    }
    let mut all: Vec<u32> = lanes
        .iter()
        .flat_map(|a| a / 4..(a / 4).saturating_add(words))
        .collect();
    all.sort_unstable();
    all.dedup();
    let mut used = [0u64; 32];
    for word in all {
        used[(word % 32) as usize] += 1;
    }
    used.into_iter().max().unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conflicts(addresses: impl Iterator<Item = u32>, bytes: u32) -> u64 {
        let mut counts = Counts::default();
        counts.shared_access(&addresses.collect::<Vec<_>>(), bytes);
        counts.bank_conflicts()
    }

    #[test]
    fn strides_and_their_bank_conflicts() {
        assert_eq!(conflicts((0..32).map(|l| 4 * l), 4), 0);
        assert_eq!(conflicts((0..32).map(|l| 8 * l), 4), 1);
        assert_eq!(conflicts((0..32).map(|l| 128 * l), 4), 31);
        assert_eq!(conflicts((0..32).map(|_| 64), 4), 0);
        assert_eq!(conflicts((0..32).map(|l| 16 * l), 16), 0);
        assert_eq!(conflicts((0..32).map(|l| 132 * l), 4), 0);
    }

    #[test]
    fn sectors_of_coalesced_and_scattered_access() {
        let mut counts = Counts::default();
        counts.global_access(&(0..32).map(|l| 4 * l).collect::<Vec<_>>(), 4);
        assert_eq!((counts.global_sectors, counts.global_ideal), (4, 4));
        counts.global_access(&(0..32).map(|l| 128 * l).collect::<Vec<_>>(), 4);
        assert_eq!((counts.global_sectors, counts.global_ideal), (36, 8));
    }
}
