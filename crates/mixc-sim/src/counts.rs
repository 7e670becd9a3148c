//! What a launch executed: instructions by class, shared-memory wavefronts, global sectors.
//!
//! Every instruction of the program has a [`Tally`]; sums over all of them are the [`Counts`] of the launch,
//! sums over lines and loops make its [`Profile`](crate::Profile).

use crate::program::{Class, Program};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What was counted at one instruction, or summed over several. All numbers are over all warps and blocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Times that a warp (or the part of it that runs together) executed the instruction.
    pub issued: u64,
    /// The same, once for each lane that ran it.
    pub threads: u64,
    /// Warp-wide accesses to shared memory (`ld`, `st`, `atom`, `ldmatrix`, `stmatrix`, writes of
    /// `cp.async`), and the passes over the banks that they took.
    pub shared_requests: u64,
    pub shared_wavefronts: u64,
    /// The passes that the same accesses take without conflicts: one for every 128 bytes of a warp's
    /// access.
    pub shared_ideal: u64,
    /// Warp-wide accesses to global memory, the 32-byte sectors that they touched, and the fewest
    /// sectors that hold so many different bytes.
    pub global_requests: u64,
    pub global_sectors: u64,
    pub global_ideal: u64,
    /// Bytes that bulk and tensor copies moved between global and shared memory.
    pub bulk_bytes: u64,
    /// Multiply-adds of matrix instructions.
    pub matrix_fmas: u64,
}

impl Tally {
    pub fn add(&mut self, o: &Tally) {
        let Tally {
            issued,
            threads,
            shared_requests,
            shared_wavefronts,
            shared_ideal,
            ..
        } = o;
        self.issued += issued;
        self.threads += threads;
        self.shared_requests += shared_requests;
        self.shared_wavefronts += shared_wavefronts;
        self.shared_ideal += shared_ideal;
        let Tally {
            global_requests,
            global_sectors,
            global_ideal,
            bulk_bytes,
            matrix_fmas,
            ..
        } = o;
        self.global_requests += global_requests;
        self.global_sectors += global_sectors;
        self.global_ideal += global_ideal;
        self.bulk_bytes += bulk_bytes;
        self.matrix_fmas += matrix_fmas;
    }

    /// Extra passes over the banks of shared memory.
    pub fn bank_conflicts(&self) -> u64 {
        self.shared_wavefronts - self.shared_ideal
    }

    /// The share of the sectors' bytes that was asked for: 1 when accesses are coalesced, 1 also when there
    /// are none.
    pub fn coalescing(&self) -> f64 {
        if self.global_sectors == 0 {
            return 1.0;
        }
        self.global_ideal as f64 / self.global_sectors as f64
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

    /// One warp-wide access to global memory.
    pub fn global_access(&mut self, addresses: &[u64], bytes: u32) {
        if addresses.is_empty() {
            return;
        }
        self.global_requests += 1;
        let bytes = u64::from(bytes);
        let (first, n) = (addresses[0], addresses.len() as u64);
        let step = |(k, a): (usize, &u64)| *a == first.wrapping_add(k as u64 * bytes);
        if addresses
            .iter()
            .enumerate()
            .fold(true, |all, a| all & step(a))
        {
            self.global_sectors += first.saturating_add(n * bytes - 1) / 32 - first / 32 + 1;
            self.global_ideal += (n * bytes).div_ceil(32);
            return;
        }
        let mut sorted = [0u64; 32];
        let sorted = &mut sorted[..addresses.len()];
        sorted.copy_from_slice(addresses);
        sorted.sort_unstable();
        let (mut sectors, mut next, mut distinct, mut end) = (0, 0, 0, 0);
        for &a in sorted.iter() {
            let last = a.saturating_add(bytes - 1);
            // Sectors below `next` and bytes below `end` have been counted.
            sectors += (last / 32 + 1).saturating_sub(next.max(a / 32));
            distinct += last.saturating_add(1).saturating_sub(end.max(a));
            (next, end) = (next.max(last / 32 + 1), end.max(last.saturating_add(1)));
        }
        self.global_sectors += sectors;
        self.global_ideal += distinct.div_ceil(32);
    }
}

/// Instructions of one class: issued by warps, and executed by threads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Issued {
    pub warps: u64,
    pub threads: u64,
}

/// Sums over a launch (or a part of its code).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Every class that occurred.
    pub classes: BTreeMap<Class, Issued>,
    #[serde(flatten)]
    pub tally: Tally,
}

impl Counts {
    /// Sums of `tallies` over the instructions `pcs` of `program`.
    pub(crate) fn over(
        program: &Program,
        tallies: &[Tally],
        pcs: impl IntoIterator<Item = usize>,
    ) -> Counts {
        let mut counts = Counts::default();
        for pc in pcs {
            let (inst, mut tally) = (&program.code[pc], tallies[pc]);
            if inst.part {
                (tally.issued, tally.threads) = (0, 0);
            } else if tally.issued > 0 {
                let class = counts.classes.entry(inst.class).or_default();
                class.warps += tally.issued;
                class.threads += tally.threads;
            }
            counts.tally.add(&tally);
        }
        counts
    }

    /// Warp instructions of a class.
    pub fn of(&self, class: Class) -> u64 {
        self.classes.get(&class).map_or(0, |c| c.warps)
    }

    /// All warp instructions.
    pub fn total(&self) -> u64 {
        self.tally.issued
    }

    /// Floating-point operations of matrix instructions, two for each multiply-add.
    pub fn matrix_flops(&self) -> u64 {
        2 * self.tally.matrix_fmas
    }

    /// Results of special functions (`ex2`, `rcp`, `sqrt`, ...), one for each thread.
    pub fn special_functions(&self) -> u64 {
        self.classes
            .get(&Class::SpecialFunction)
            .map_or(0, |c| c.threads)
    }

    /// Barriers and fences, once for each warp that executes them.
    pub fn barriers(&self) -> u64 {
        self.of(Class::Barrier)
    }

    pub fn bank_conflicts(&self) -> u64 {
        self.tally.bank_conflicts()
    }
}

/// The largest number of different words that fall into one bank.
fn passes(lanes: &[u32], words: u32) -> u64 {
    // Each access starts at a multiple of its width, so its first bank tells all of them.
    let (mut taken, mut clash) = (0u32, false);
    for a in lanes {
        let bit = 1u32 << (a / 4 % 32);
        clash |= taken & bit != 0;
        taken |= bit;
    }
    if !clash {
        return 1;
    }
    let mut distinct = [0u32; 32];
    let distinct = &mut distinct[..lanes.len()];
    distinct.copy_from_slice(lanes);
    distinct.iter_mut().for_each(|a| *a /= 4);
    distinct.sort_unstable();
    let mut used = [0u8; 32];
    let mut last = None;
    for word in distinct.iter() {
        for w in *word..word.saturating_add(words) {
            if last.is_none_or(|l| w > l) {
                used[(w % 32) as usize] += 1;
                last = Some(w);
            }
        }
    }
    u64::from(used.into_iter().max().unwrap_or(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conflicts(addresses: impl Iterator<Item = u32>, bytes: u32) -> u64 {
        let mut counts = Tally::default();
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
        // Rows of 128 bytes, one piece of 16 bytes from each: every quarter of the warp meets in four banks.
        assert_eq!(conflicts((0..32).map(|l| 128 * l), 16), 28);
        assert_eq!(conflicts((0..32).map(|l| 16 * (l / 8)), 16), 0);
        assert_eq!(conflicts((0..32).map(|l| 8 * (31 - l)), 8), 0);
        // Two lanes of a half share a word.
        assert_eq!(conflicts((0..32).map(|l| 2 * l), 2), 0);
    }

    #[test]
    fn sectors_of_coalesced_and_scattered_access() {
        let count = |addresses: Vec<u64>, bytes| {
            let mut counts = Tally::default();
            counts.global_access(&addresses, bytes);
            (counts.global_sectors, counts.global_ideal)
        };
        assert_eq!(count((0..32).map(|l| 4 * l).collect(), 4), (4, 4));
        assert_eq!(count((0..32).map(|l| 128 * l).collect(), 4), (32, 4));
        assert_eq!(count((0..32).map(|l| 16 + 4 * l).collect(), 4), (5, 4));
        assert_eq!(count((0..32).map(|l| 4 * (31 - l)).collect(), 4), (4, 4));
        assert_eq!(count(vec![64; 32], 4), (1, 1));
        assert_eq!(count(vec![0, 96, 16, 112], 16), (2, 2));
    }
}
