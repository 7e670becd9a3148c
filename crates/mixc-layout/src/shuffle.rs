//! Conversions within a warp, by shuffles.

use crate::convert::{same_registers, stays, units};
use crate::gf2::Span;
use crate::{LANE, Layout, LayoutError, REGISTER, WARP};

/// The input that numbers the rounds of a [`Shuffle`].
pub const ROUND: &str = "round";
/// The input that numbers the passes of a round.
pub const PASS: &str = "pass";

/// A conversion in rounds. In each, every lane gives one word, reads the word of one lane and keeps it
/// as one destination register:
///
/// ```text
/// for round in 0..rounds, pass in 0..passes:
///     word = source[give(round, pass, lane, warp)]
///     got  = shfl.idx(word, read(round, lane, warp))
///     if accept(lane) == pass: destination[take(round, lane)] = got
/// for register: destination[register] = destination[same(register)]
/// ```
///
/// Which destination register a round fills differs between the lanes where that lets every lane give
/// a word to one reader only; each is filled once. There is more than one pass only where lanes read
/// different registers of the same lane and no such choice avoids it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shuffle {
    /// The number of rounds: one for each destination register that [`Shuffle::same`] keeps.
    pub rounds: u32,
    pub passes: u32,
    /// The elements of one word: consecutive registers that stay together. Registers below are
    /// numbers of such words.
    pub unit: u32,
    /// [`ROUND`], [`PASS`], [`LANE`], [`WARP`] to the source [`REGISTER`] that the lane gives.
    pub give: Layout,
    /// [`ROUND`], [`LANE`], [`WARP`] to the [`LANE`] that the lane reads.
    pub read: Layout,
    /// [`ROUND`], [`LANE`] to the destination [`REGISTER`].
    pub take: Layout,
    /// [`LANE`] to the [`PASS`] whose word the lane keeps.
    pub accept: Layout,
    /// [`REGISTER`] to [`REGISTER`] of the destination, as numbers of elements: the first of the
    /// registers of a thread that hold the same element everywhere. The rounds fill only these
    /// and what shares a word with them.
    pub same: Layout,
}

impl Shuffle {
    /// Plans a conversion within warps.
    ///
    /// # Errors
    /// As [`crate::convert::plan`], and [`LayoutError::OtherWarp`] when elements must go from warp to
    /// warp.
    pub fn new(from: &Layout, to: &Layout, elem_bytes: u32) -> Result<Shuffle, LayoutError> {
        let moved = from.conversion(to)?;
        if !stays(&moved, WARP) {
            return Err(LayoutError::OtherWarp);
        }
        let (moved, unit) = units(&moved, elem_bytes);
        let same = same_registers(to);
        let kept = unit.ilog2()..to.in_bits(REGISTER);
        let kept = kept.filter(|bit| same.basis(REGISTER, *bit) == [1 << bit]);
        let kept: Vec<u32> = kept.map(|bit| bit - unit.ilog2()).collect();
        Ok(schedule(&Moved::new(&moved, &kept), &kept, unit, same))
    }

    /// Whether every lane reads its own word in this round, so that it takes no shuffle.
    pub fn is_local(&self, round: u32) -> bool {
        stays(&self.read.clone().without_input(ROUND), LANE)
            && self.read.apply_to(LANE, &[(ROUND, round)]) == 0
    }

    /// The number of shuffle instructions.
    pub fn shuffles(&self) -> u32 {
        let rounds = (0..self.rounds).filter(|round| !self.is_local(*round));
        rounds.count() as u32 * self.passes
    }
}

/// The parts of a conversion as maps given by the images of bits: source register and source lane by
/// destination register, lane and warp.
struct Moved {
    register: [Vec<u32>; 3],
    lane: [Vec<u32>; 3],
    register_bits: u32,
    register_bits_to: u32,
    lane_bits: u32,
}

impl Moved {
    /// `kept` are the bits of the destination register that matter.
    fn new(moved: &Layout, kept: &[u32]) -> Moved {
        let part = |place: usize| {
            [REGISTER, LANE, WARP].map(|input| {
                let bits = 0..moved.in_bits(input);
                let bits = bits.filter(|bit| input != REGISTER || kept.contains(bit));
                bits.map(|bit| moved.basis(input, bit)[place]).collect()
            })
        };
        Moved {
            register: part(0),
            lane: part(1),
            register_bits: moved.out_bits(REGISTER),
            register_bits_to: moved.in_bits(REGISTER),
            lane_bits: moved.out_bits(LANE),
        }
    }
}

/// Finds rounds for a conversion `source register = A r + B l + G w`, `source lane = D r + E l + H w`.
///
/// In round `i` lane `l` fills register `i + F l`, with `F` chosen below. It reads lane
/// `D i + M l + H w` with `M = D F + E`, which has to give register `A i + N l + G w` with
/// `N = A F + B`.
///
/// The destination registers here are numbered by their bits that are `kept`.
fn schedule(moved: &Moved, kept: &[u32], unit: u32, same: Layout) -> Shuffle {
    let [a, b, g] = &moved.register;
    let [d, e, h] = &moved.lane;
    let (registers, lanes) = (a.len() as u32, b.len() as u32);
    let fill = choose_registers(b, d, e);
    let through = |map: &[u32], plus: &[u32]| -> Vec<u32> {
        let bits = fill.iter().zip(plus);
        bits.map(|(f, p)| image(map, *f) ^ p).collect()
    };
    let (m, n) = (through(d, e), through(a, b));

    // Lanes that read the same lane differ by the kernel of M. Where they want different registers
    // they take turns: `accept` numbers the differences.
    let readers = Span::of(m.iter().map(|v| u128::from(*v)));
    let mut wanted = Span::default();
    let mut differences: Vec<u32> = vec![];
    let mut accept = vec![0; lanes as usize];
    for alike in readers.kernel() {
        let difference = image(&n, *alike as u32);
        if wanted.solve(difference.into()).is_none() {
            wanted.insert(difference.into());
            differences.push(difference);
        }
        let turn = wanted.solve(difference.into());
        accept[alike.ilog2() as usize] = turn.expect("bug: just inserted") as u32;
    }
    let passes = differences.len() as u32;

    // One of the lanes that read a lane, none in particular where nobody does.
    let mut sources = readers;
    (0..moved.lane_bits).for_each(|bit| {
        sources.insert(1 << bit);
    });
    let given = |source: u32| {
        let reader = sources.solve(source.into());
        let reader = reader.expect("bug: unit vectors span everything") as u32;
        image(&n, reader & (((1u64 << lanes) - 1) as u32))
    };

    let kept_bits: Vec<u32> = kept.iter().map(|bit| 1 << bit).collect();
    let mut give = Layout::new(&[(REGISTER, moved.register_bits)]);
    let mut read = Layout::new(&[(LANE, moved.lane_bits)]);
    let mut take = Layout::new(&[(REGISTER, moved.register_bits_to)]);
    let mut turn = Layout::new(&[(PASS, passes)]);
    for (bit, (a, d)) in a.iter().zip(d).enumerate() {
        give = give.with_bit(ROUND, &[(REGISTER, a ^ given(*d))]);
        read = read.with_bit(ROUND, &[(LANE, *d)]);
        take = take.with_bit(ROUND, &[(REGISTER, kept_bits[bit])]);
    }
    for difference in differences {
        give = give.with_bit(PASS, &[(REGISTER, difference)]);
    }
    for bit in 0..moved.lane_bits {
        give = give.with_bit(LANE, &[(REGISTER, given(1 << bit))]);
    }
    for bit in 0..lanes as usize {
        read = read.with_bit(LANE, &[(LANE, m[bit])]);
        take = take.with_bit(LANE, &[(REGISTER, image(&kept_bits, fill[bit]))]);
        turn = turn.with_bit(LANE, &[(PASS, accept[bit])]);
    }
    for (g, h) in g.iter().zip(h) {
        give = give.with_bit(WARP, &[(REGISTER, g ^ given(*h))]);
        read = read.with_bit(WARP, &[(LANE, *h)]);
    }
    Shuffle {
        rounds: 1 << registers,
        passes: 1 << passes,
        unit,
        give,
        read,
        take,
        accept: turn,
        same,
    }
}

/// The map `F` from lanes to registers. Lanes that would read different registers of the same lane in
/// one round (they differ by the kernel of `E` and not of `B`) fill registers that come from different
/// lanes, as far as there are such registers.
fn choose_registers(b: &[u32], d: &[u32], e: &[u32]) -> Vec<u32> {
    let mut fill = vec![0; e.len()];
    let lanes = Span::of(e.iter().map(|v| u128::from(*v)));
    let mut reached = lanes.clone();
    // Differences of wanted registers so far, and the register bit that keeps each apart.
    let mut wanted = Span::default();
    let mut chosen = vec![];
    for alike in lanes.kernel() {
        let difference = image(b, *alike as u32).into();
        let free = alike.ilog2() as usize;
        match wanted.solve(difference) {
            // What differs as earlier ones do is kept apart as they are, or is a true broadcast.
            Some(sum) => fill[free] = image(&chosen, sum as u32),
            None => {
                let apart = (0..d.len()).find(|bit| reached.insert(d[*bit].into()));
                let Some(bit) = apart else { continue };
                wanted.insert(difference);
                chosen.push(1 << bit);
                fill[free] = 1 << bit;
            }
        }
    }
    fill
}

/// The image of a value under a map given by the images of bits.
fn image(map: &[u32], value: u32) -> u32 {
    let bits = map.iter().enumerate();
    let set = bits.filter(|(bit, _)| value >> bit & 1 == 1);
    set.fold(0, |sum, (_, v)| sum ^ v)
}
