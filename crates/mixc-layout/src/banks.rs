//! The model of shared memory's banks.

use crate::{LANE, Layout, REGISTER};

const BANKS: u32 = 32;
const WORD_BYTES: u32 = 4;
/// The widest access of one thread.
const WIDEST: u32 = 16;

/// Wavefronts beyond the minimum for one access with these byte offsets, one for each lane.
pub(crate) fn conflicts(offsets: &[u32], bytes_per_lane: u32) -> u32 {
    let extra = |lanes: &[u32]| {
        let mut words: Vec<u32> = lanes
            .iter()
            .flat_map(|at| at / WORD_BYTES..(at + bytes_per_lane).div_ceil(WORD_BYTES))
            .collect();
        words.sort_unstable();
        words.dedup();
        let mut load = [0; BANKS as usize];
        for word in words {
            load[(word % BANKS) as usize] += 1;
        }
        load.into_iter().max().unwrap_or(0u32).saturating_sub(1)
    };
    offsets
        .chunks(lanes_together(bytes_per_lane))
        .map(extra)
        .sum()
}

/// As many lanes as fill the banks.
fn lanes_together(bytes_per_lane: u32) -> usize {
    (BANKS * WORD_BYTES / bytes_per_lane.max(WORD_BYTES)) as usize
}

/// The (row, col) of each lane for the instructions that an access takes.
pub(crate) struct Access {
    instructions: Vec<Vec<(u32, u32)>>,
    bytes_per_lane: u32,
    /// How many instructions each of the listed ones stands for.
    weight: u64,
}

impl Access {
    /// Lists the instructions of an access, or with `only_first` the first one for all.
    pub fn new(access: &Layout, elem_bytes: u32, only_first: bool) -> Access {
        let vector = vector_bits(access, elem_bytes);
        // The values of all inputs but lanes and the vector's registers number the instructions.
        let mut places = vec![];
        for (name, bits) in access.ins() {
            let other = |bit: &u32| name != REGISTER || !vector.contains(bit);
            if name != LANE {
                let bits = (0..bits).filter(other);
                places.extend(bits.map(|bit| access.basis(name, bit)));
            }
        }
        let row_col = |values: &[u32]| {
            let value = |out| {
                let place = access.outs().position(|(name, _)| name == out);
                place.map_or(0, |place| values[place])
            };
            (value("row"), value("col"))
        };
        let all: u64 = 1 << places.len();
        let listed = if only_first { 1 } else { all };
        let instruction = |number: u64| {
            let moved = places.iter().enumerate();
            let moved = moved.filter(|(bit, _)| number >> bit & 1 == 1);
            let (row, col) = moved.fold((0, 0), |(row, col), (_, vector)| {
                let by = row_col(vector);
                (row ^ by.0, col ^ by.1)
            });
            let lanes = 0..1 << access.in_bits(LANE);
            let at = lanes.map(|lane| row_col(&access.values(&[(LANE, lane)])));
            at.map(|(r, c)| (r ^ row, c ^ col)).collect()
        };
        Access {
            instructions: (0..listed).map(instruction).collect(),
            bytes_per_lane: elem_bytes << vector.len(),
            weight: all / listed,
        }
    }

    /// The wavefronts of all instructions together.
    pub fn wavefronts(&self, offset: impl Fn(u32, u32) -> u32) -> u64 {
        let least = |lanes: &Vec<_>| {
            (lanes.len() as u32).div_ceil(lanes_together(self.bytes_per_lane) as u32)
        };
        let least: u64 = self.instructions.iter().map(|i| u64::from(least(i))).sum();
        self.weight * least + self.conflicts(offset)
    }

    /// The conflicts of all instructions together.
    pub fn conflicts(&self, offset: impl Fn(u32, u32) -> u32) -> u64 {
        let of = |lanes: &Vec<(u32, u32)>| {
            let offsets: Vec<u32> = lanes.iter().map(|(row, col)| offset(*row, *col)).collect();
            u64::from(conflicts(&offsets, self.bytes_per_lane))
        };
        self.weight * self.instructions.iter().map(of).sum::<u64>()
    }
}

/// The register bits, from the lowest place on, that are the lowest bits of the column and that no
/// other bit touches, up to the widest access: the elements that a thread accesses at once.
pub(crate) fn vector_bits(access: &Layout, elem_bytes: u32) -> Vec<u32> {
    let Some(col) = access.outs().position(|(name, _)| name == "col") else {
        return vec![];
    };
    let all = access
        .ins()
        .flat_map(|(n, bits)| (0..bits).map(move |b| (n, b)));
    let all: Vec<_> = all.map(|(n, b)| (n, b, access.basis(n, b))).collect();
    let register = |low: u32| {
        let mut touching = all.iter().filter(|(_, _, v)| v[col] >> low & 1 == 1);
        let (name, bit, vector) = touching.next()?;
        let alone = touching.next().is_none() && vector.iter().sum::<u32>() == 1 << low;
        (*name == REGISTER && alone).then_some(*bit)
    };
    (0..(WIDEST / elem_bytes).trailing_zeros())
        .map_while(register)
        .collect()
}
