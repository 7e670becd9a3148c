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
        let mut sectors: Vec<u64> = Vec::with_capacity(addresses.len() * 2);
        for &a in addresses {
            let (first, last) = (a / 32, (a + u64::from(bytes) - 1) / 32);
            for s in first..=last {
                if sectors.last() != Some(&s) {
                    sectors.push(s);
                }
            }
        }
        if !sectors.is_sorted() {
            sectors.sort_unstable();
        }
        sectors.dedup();
        let mut distinct = addresses.to_vec();
        if !distinct.is_sorted() {
            distinct.sort_unstable();
        }
        distinct.dedup();
        self.global_sectors += sectors.len() as u64;
        self.global_ideal += (distinct.len() as u64 * u64::from(bytes)).div_ceil(32);
    }
}

/// The largest number of different words that fall into one bank.
fn passes(lanes: &[u32], words: u32) -> u64 {
    let mut banks = [[0u32; 32]; 32];
    let mut used = [0usize; 32];
    for &address in lanes {
        for w in 0..words {
            let word = address / 4 + w;
            let bank = (word % 32) as usize;
            if !banks[bank][..used[bank]].contains(&word) {
                // At most 32 words reach one bank, one for each lane.
                if used[bank] < 32 {
                    banks[bank][used[bank]] = word;
                    used[bank] += 1;
                }
            }
        }
    }
    used.into_iter().max().unwrap_or(0).max(1) as u64
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
