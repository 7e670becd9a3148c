//! The least number of instructions that the statements of a loop need, for a warp and a turn.
//!
//! A yardstick, not a target that can always be met: products in instructions of full size (`wgmma` of 16-bit
//! factors on sm_90a, else `mma.sync`), every fragment of a
//! tile that the loop loads read from shared memory once for each product by each warp, values that the loop computes taken from
//! registers, every element touched by exactly the operations that its expressions have (a multiplication and an
//! addition in one), copies of 16 bytes a lane, and four instructions to turn the loop. Index arithmetic and
//! anything that moves values between layouts count as nothing.

use mixc_ir::{DType, Name};
use mixc_ptx::Target;
use mixc_tile::counts::Counts;
use mixc_tile::visit::each;
use mixc_tile::{Access, Axis, BufId, Expr, Kernel, Place, Stmt};
use std::collections::BTreeSet;

/// Instructions of one warp in one turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Ideal {
    pub matrix: f64,
    pub ldsm: f64,
    /// Copies from global memory, and stores to it.
    pub memory: f64,
    pub special: f64,
    /// Additions, multiplications, comparisons, selections.
    pub fp32: f64,
    /// Packing to 16 bits; splitting f32 in two tf32 parts.
    pub convert: f64,
    pub shuffle: f64,
    pub turn: f64,
}

impl Ideal {
    /// As results have it.
    pub(crate) fn rounded(self) -> Ideal {
        use crate::row::rounded as r;
        Ideal {
            matrix: r(self.matrix),
            ldsm: r(self.ldsm),
            memory: r(self.memory),
            special: r(self.special),
            fp32: r(self.fp32),
            convert: r(self.convert),
            shuffle: r(self.shuffle),
            turn: r(self.turn),
        }
    }

    pub fn total(&self) -> f64 {
        let Ideal {
            matrix,
            ldsm,
            memory,
            special,
            fp32,
            convert,
            shuffle,
            turn,
        } = self;
        matrix + ldsm + memory + special + fp32 + convert + shuffle + turn
    }
}

const LANES: f64 = 32.0;
/// Bytes of an instruction that moves 16 bytes for each lane.
const WIDE: f64 = 512.0;
/// Below this extent a matrix instruction is mostly padding.
const SMALLEST: usize = 5;
/// Counter, comparison, branch, barrier.
const TURN: f64 = 4.0;

/// The yardstick of one turn with `body`, whose work is `turn`, by a block of `warps` warps. Products of f32 are
/// taken as three products of tf32 parts.
pub fn ideal(kernel: &Kernel, body: &[Stmt], turn: &Counts, warps: u32, target: Target) -> Ideal {
    let half = kernel
        .tensors
        .iter()
        .any(|t| matches!(t.dtype, DType::Bf16 | DType::F16));
    let threads = LANES * f64::from(warps);
    let mut found = Ideal {
        memory: (turn.loaded_bytes + turn.stored_bytes) as f64 / WIDE / f64::from(warps),
        special: turn.special_ops as f64 / threads,
        fp32: turn.simple_ops as f64 / threads,
        turn: TURN,
        ..Ideal::default()
    };
    let mut loaded = BTreeSet::new();
    let mut computed = BTreeSet::new();
    each(body, &mut |stmt| match stmt {
        Stmt::Load { dst, .. } => {
            loaded.insert(dst.buf);
        }
        Stmt::Map { dst, .. }
        | Stmt::Reduce { dst, .. }
        | Stmt::Contract { dst, .. }
        | Stmt::Scan { dst, .. } => {
            computed.insert(dst.buf);
        }
        _ => {}
    });
    each(body, &mut |stmt| match stmt {
        Stmt::Contract {
            axes, dst, a, b, ..
        } => {
            let Some(product) = Product::of(axes, dst, a, b) else {
                let fmas: f64 = axes.iter().map(|x| x.extent as f64).product();
                found.fp32 += fmas / threads;
                return;
            };
            if half && target == Target::Sm90a && product.fits_warpgroups(warps) {
                found.matrix += product.of_warpgroups(warps);
            } else {
                found.matrix += product.instructions(half) / f64::from(warps);
                found.ldsm += product.fragments(half, warps, &|buf| loaded.contains(&buf));
            }
            for (buf, elements) in [
                (a.buf, product.m * product.k),
                (b.buf, product.n * product.k),
            ] {
                found.convert += if half {
                    // Two elements become one register.
                    let packed = computed.contains(&buf) && !loaded.contains(&buf);
                    if packed {
                        elements / 2.0 / threads
                    } else {
                        0.0
                    }
                } else {
                    // Cut, subtract, cut.
                    3.0 * elements / threads
                };
            }
        }
        Stmt::Map { axes, expr, .. }
        | Stmt::Store {
            axes, src: expr, ..
        } => {
            found.fp32 -= elements(axes) * fused(expr) / threads;
        }
        Stmt::Reduce {
            axes, dst, expr, ..
        } => {
            found.fp32 -= elements(axes) * fused(expr) / threads;
            // Rows of an accumulator are spread over four lanes: two rounds of exchange and combination.
            let kept = axes.iter().filter(|x| has(dst, &x.name));
            let results: f64 = kept.map(|x| x.extent as f64).product();
            let rounds = 2.0 * (4.0 * results / threads).max(1.0);
            found.shuffle += rounds;
            found.fp32 += rounds;
        }
        _ => {}
    });
    found
}

fn elements(axes: &[Axis]) -> f64 {
    axes.iter().map(|a| a.extent as f64).product()
}

fn has(access: &Access, axis: &Name) -> bool {
    access.places.contains(&Place::Axis(axis.clone()))
}

/// Additions of an expression that take a multiplication with them.
fn fused(expr: &Expr) -> f64 {
    match expr {
        Expr::Add(a, b) => {
            let takes = matches!(**a, Expr::Mul(..)) || matches!(**b, Expr::Mul(..));
            f64::from(u8::from(takes)) + fused(a) + fused(b)
        }
        Expr::Mul(a, b) => fused(a) + fused(b),
        Expr::Call(_, args) => args.iter().map(fused).sum(),
        _ => 0.0,
    }
}

/// A product with rows, columns and a sum, and where its factors come from.
struct Product {
    m: f64,
    n: f64,
    k: f64,
    a: BufId,
    b: BufId,
}

impl Product {
    /// None where the matrix unit is of no use.
    fn of(axes: &[Axis], dst: &Access, a: &Access, b: &Access) -> Option<Product> {
        let (mut m, mut n, mut k) = (1, 1, 1);
        for axis in axes {
            let side = match (has(dst, &axis.name), has(a, &axis.name), has(b, &axis.name)) {
                (true, true, false) => &mut m,
                (true, false, true) => &mut n,
                (false, true, true) => &mut k,
                _ => return None,
            };
            *side *= axis.extent;
        }
        (m >= SMALLEST && n >= SMALLEST && k >= SMALLEST).then_some(Product {
            m: m as f64,
            n: n as f64,
            k: k as f64,
            a: a.buf,
            b: b.buf,
        })
    }

    /// Instructions of 16 x 8 x 16 for 16-bit factors, three times 16 x 8 x 8 for f32; either factor can give rows.
    fn instructions(&self, half: bool) -> f64 {
        let depth = if half { 16.0 } else { 8.0 };
        let passes = if half { 1.0 } else { 3.0 };
        let tiles = |m: f64, n: f64| (m / 16.0).ceil() * (n / 8.0).ceil();
        passes * tiles(self.m, self.n).min(tiles(self.n, self.m)) * (self.k / depth).ceil()
    }

    /// Whether four warps at a time find 64 rows for themselves (PTX ISA, "wgmma.mma_async": M is 64).
    fn fits_warpgroups(&self, warps: u32) -> bool {
        warps.is_multiple_of(4) && self.m.max(self.n) >= 16.0 * f64::from(warps)
    }

    /// Instructions of 64 x N x 16 with N up to 256, issued by every warp of a group; factors stay in shared memory.
    fn of_warpgroups(&self, warps: u32) -> f64 {
        let groups = f64::from(warps) / 4.0;
        let of = |m: f64, n: f64| (m / 64.0 / groups).ceil() * (n / 256.0).ceil();
        let sides = [(self.m, self.n), (self.n, self.m)];
        let sides = sides.into_iter().filter(|(m, _)| *m >= 64.0 * groups);
        let least = sides.map(|(m, n)| of(m, n)).fold(f64::INFINITY, f64::min);
        least * (self.k / 16.0).ceil()
    }

    /// Loads of fragments by one warp. Where only one factor comes from memory the warps divide the rows of the other
    /// one, so that it stays in registers; else the best division counts.
    fn fragments(&self, half: bool, warps: u32, from_memory: &dyn Fn(BufId) -> bool) -> f64 {
        let bytes = if half { 2.0 } else { 4.0 };
        let warps = f64::from(warps);
        let loads = |rows: f64| rows * self.k * bytes / WIDE;
        let alone = |loaded: f64, kept: f64| {
            let across = warps / warps.min((kept / 16.0).ceil());
            loads(loaded / across)
        };
        match (from_memory(self.a), from_memory(self.b)) {
            (false, false) => 0.0,
            (true, false) => alone(self.m, self.n),
            (false, true) => alone(self.n, self.m),
            (true, true) => {
                let divisions = (0..=warps.log2() as u32).map(|log| f64::from(1u32 << log));
                let each = divisions.map(|down| loads(self.m / down + self.n / (warps / down)));
                each.fold(f64::INFINITY, f64::min)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tile_loops;
    use mixc_tile::parse_kernel;

    /// One block of attention scores and their weighted sum, of a size that is easy to count.
    const SCORES: &str = "kernel k(dims: T) {
        in k: bf16 [$T, 64] unit
        out o: f32 [64, 64]
        shared q: [64, 64]  shared t: [64, 64]  shared s: [64, 64]  shared p: [64, 64]  shared acc: [64, 64]
        shared m: [64]
        grid i0 < 1
        for j0 in 0 .. $T / 64 {
          load [j < 64, d < 64] t[j, d] <- k[j0 * 64 + j, d]
          contract [i < 64, j < 64, d < 64] s[i, j] = q[i, d] * t[j, d]
          reduce max [i < 64, j < 64] m[i] (+)= s[i, j]
          map [i < 64, j < 64] p[i, j] = exp(2.0 * s[i, j] + m[i])
          contract [i < 64, j < 64, d < 64] acc[i, d] (+)= p[i, j] * t[j, d]
        }
        store [i < 64, d < 64] o[i, d] <- acc[i, d]
    }";

    #[test]
    fn the_yardstick_counts_what_a_block_of_attention_needs() {
        let kernel = parse_kernel(&mixc_text::Source::new("test", SCORES)).unwrap();
        let one = &tile_loops(&kernel, &[("T".into(), 128)].into())[0];
        let found = ideal(&kernel, &one.body, &one.turn, 4, Target::Sm80);
        // Two products of 4 x 8 x 4 instructions among four warps.
        assert_eq!(found.matrix, 64.0);
        // q and p stay in registers, a quarter of their rows in each warp; every warp reads all of t, twice.
        assert_eq!(found.ldsm, 2.0 * 64.0 * 64.0 * 2.0 / 512.0);
        assert_eq!(found.special, 32.0);
        // 32 maxima, 32 multiply-adds, two rounds of two rows.
        assert_eq!((found.fp32, found.shuffle), (32.0 + 32.0 + 4.0, 4.0));
        assert_eq!(found.convert, 16.0);
        assert_eq!(found.memory, 4.0);
        assert_eq!(
            found.total(),
            64.0 + 32.0 + 32.0 + 68.0 + 4.0 + 16.0 + 4.0 + 4.0
        );
        // A warpgroup takes 64 x 64 x 16 at once, its factors from shared memory.
        let hopper = ideal(&kernel, &one.body, &one.turn, 4, Target::Sm90a);
        assert_eq!((hopper.matrix, hopper.ldsm), (8.0, 0.0));
    }
}
