//! Exchanges between the lanes of a warp: shuffles, votes, matches, reductions.

use super::atomic::combine;
use super::block::{At, BlockRun};
use super::warp::Warp;
use crate::check::clock::bits;
use crate::check::finding::FindingKind;
use crate::program::*;

impl BlockRun<'_> {
    /// Executes a warp-wide instruction for the lanes of `mask`.
    pub fn exchange(&mut self, warp: &mut Warp, op: &Op, mask: u32, pc: Pc) {
        match op {
            Op::Shuffle { .. } => self.shuffle(warp, op, mask, pc),
            Op::Vote {
                mode, d, p, negate, ..
            } => {
                let yes = warp.predicate(*p, *negate) & mask;
                let value = match mode {
                    VoteMode::All => u64::from(yes == mask),
                    VoteMode::Any => u64::from(yes != 0),
                    VoteMode::Uni => u64::from(yes == mask || yes == 0),
                    VoteMode::Ballot => u64::from(yes),
                };
                warp.write(*d, mask, &[value; 32]);
            }
            Op::Match {
                all, ty, d, p, a, ..
            } => {
                let width = crate::numeric::convert::mask(ty.bits());
                let value = |lane: usize| warp.regs[*a as usize][lane] & width;
                let mut result = [0u64; 32];
                for lane in bits(mask) {
                    result[lane] = bits(mask)
                        .filter(|&o| value(o) == value(lane))
                        .fold(0, |m, o| m | 1 << o);
                }
                if *all {
                    let same = result[mask.trailing_zeros() as usize] == u64::from(mask);
                    if !same {
                        result = [0; 32];
                    }
                    if let Some(p) = p {
                        warp.write(*p, mask, &[u64::from(same); 32]);
                    }
                }
                warp.write(*d, mask, &result);
            }
            Op::Redux { op, ty, d, a, .. } => {
                let mut values = bits(mask).map(|lane| warp.get(*a, lane));
                let first = values.next().unwrap_or(0);
                let value = values.fold(first, |x, y| combine(*op, *ty, x, y, 0));
                warp.write(*d, mask, &[value; 32]);
            }
            Op::Elect { d, p, .. } => {
                // Which lane is elected is not specified; the lowest is what hardware gives.
                let leader = mask.trailing_zeros() as usize;
                let mut elected = [0; 32];
                elected[leader] = 1;
                warp.write(*p, mask, &elected);
                if let Some(d) = d {
                    warp.write(*d, mask, &[leader as u64; 32]);
                }
            }
            _ => {}
        }
    }

    /// PTX ISA, "Data Movement and Conversion Instructions: shfl.sync": `c` holds the clamp value in
    /// bits 0-4 and the segment mask in bits 8-12.
    fn shuffle(&mut self, warp: &mut Warp, op: &Op, mask: u32, pc: Pc) {
        let Op::Shuffle {
            mode,
            d,
            p,
            a,
            b,
            c,
            ..
        } = op
        else {
            return;
        };
        let source = warp.regs[*a as usize];
        let source_valid = warp.valid[*a as usize];
        let (mut out, mut inside, mut valid) = ([0u64; 32], [0u64; 32], 0u32);
        for lane in bits(mask) {
            let (bval, cval) = ((warp.get(*b, lane) & 31) as i32, warp.get(*c, lane) as u32);
            let (clamp, segment) = ((cval & 31) as i32, ((cval >> 8) & 31) as i32);
            let l = lane as i32;
            let max_lane = (l & segment) | (clamp & !segment);
            let min_lane = l & segment;
            let (from, ok) = match mode {
                ShflMode::Up => (l - bval, l - bval >= max_lane),
                ShflMode::Down => (l + bval, l + bval <= max_lane),
                ShflMode::Bfly => (l ^ bval, l ^ bval <= max_lane),
                ShflMode::Idx => {
                    let j = min_lane | (bval & !segment);
                    (j, j <= max_lane)
                }
            };
            let from = if ok { from as usize } else { lane };
            if mask >> from & 1 == 0 {
                let what = format!(
                    "lane {lane} reads from lane {from}, which does not take part in the shuffle"
                );
                self.report(
                    FindingKind::InvalidOperand,
                    At::new(warp.index, lane, pc),
                    None,
                    what,
                );
            }
            out[lane] = source[from] & 0xffff_ffff;
            inside[lane] = u64::from(ok);
            valid |= (source_valid >> from & 1) << lane;
        }
        warp.write(*d, mask, &out);
        warp.valid[*d as usize] &= valid | !mask;
        if let Some(p) = p {
            warp.write(*p, mask, &inside);
        }
    }
}
