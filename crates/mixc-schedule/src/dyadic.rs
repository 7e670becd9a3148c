//! Scores with a decay for every feature, as matrix products.
//!
//! s[i, j] = sum over a of q[i, a] k[j, a] L[i, j, a], where L is a product of decays f[m, a] over j < m <= i: as it stands, a
//! tile [i, j, a] of decays and no matrix product. But two positions of a chunk are first told apart by one bit: there is one
//! width w, a power of 2, for which j lies in the lower and i in the upper half of the same 2 w positions. With the
//! start c of the upper half,
//!
//! ```text
//! L[i, j, a] = (product of f over c <= m <= i) * (product of f over j < m < c)
//! ```
//!
//! is a factor of the row times a factor of the column, so that the scores of one width are a product of matrices, and all
//! scores are taken from as many as a chunk has bits, and one for i = j. Every factor is a product of decays: nothing
//! overflows, nothing is divided. (Yang et al. 2023, arXiv 2312.06635, section 4.3 do this for one width, with elementwise
//! work below it; the halves are those of hierarchical matrices.)

use crate::ScheduleError;
use crate::builder::{Binding, Builder, Running, places};
use crate::contract::operand;
use crate::lower::{guarded, own_decays};
use mixc_ir::{Func, Ix, Name, T, Term};
use mixc_tile::visit::each;
use mixc_tile::{Access, Expr, Kernel, Place, ScanKind, Stmt};
use std::collections::BTreeSet;

/// Below this length elementwise work is cheaper than products that are mostly thrown away.
const SHORTEST: usize = 16;

/// A sum of this kind.
pub struct Scores {
    j: Name,
    i: Name,
    strict: bool,
    decay: T,
    /// Factors of the row and of the column.
    rows: Vec<T>,
    columns: Vec<T>,
}

impl Scores {
    /// The scores that a sum over `over` with the free axes `free` has, if its decay varies over what is summed and over
    /// nothing else but the position.
    pub fn of(b: &Builder, over: &[Name], free: &[Name], factors: &[T]) -> Option<Scores> {
        if !b.matrix_units {
            return None;
        }
        let diagonal = |f: &&T| match &***f {
            Term::Ss { decay, .. } => b.tile_axes(decay).iter().any(|a| over.contains(a)),
            _ => false,
        };
        let mut decays = factors.iter().filter(diagonal);
        let (Some(only), None) = (decays.next(), decays.next()) else {
            return None;
        };
        let Term::Ss {
            j,
            i,
            strict,
            decay,
        } = &**only
        else {
            return None;
        };
        let own = |a: &Name| a == j || over.contains(a);
        let square = free.len() == 2 && free.contains(i) && free.contains(j);
        if !square || !b.tile_axes(decay).iter().all(own) || !same_positions(b, j, i) {
            return None;
        }
        let mut scores = Scores {
            j: j.clone(),
            i: i.clone(),
            strict: *strict,
            decay: decay.clone(),
            rows: vec![],
            columns: vec![],
        };
        for factor in factors.iter().filter(|f| *f != only) {
            let axes = b.tile_axes(factor);
            let side = match (axes.contains(i), axes.contains(j)) {
                // Rewriting takes it out of the sum if it can.
                (true, true) => return None,
                (false, true) => &mut scores.columns,
                (_, false) => &mut scores.rows,
            };
            side.push(factor.clone());
        }
        let is_operand = |side: &[T]| {
            let axes: BTreeSet<Name> = side.iter().flat_map(|f| b.tile_axes(f)).collect();
            over.iter().all(|a| axes.contains(a)) && side.iter().any(|f| !f.is_guard())
        };
        (is_operand(&scores.rows) && is_operand(&scores.columns)).then_some(scores)
    }

    /// The scores in a buffer.
    pub fn lower(
        &self,
        b: &mut Builder,
        over: &[Name],
        level: usize,
    ) -> Result<Access, ScheduleError> {
        let extent = b.tile(&self.i).expect("bug: rows are in the tile");
        let ix = |a: &Name| Ix::Axis(a.clone());
        let compare = |f: Func, x: Ix, y: Ix| {
            let value = |ix: Ix| Expr::Index(ix);
            Expr::Call(f, vec![value(x), value(y)])
        };
        let all = b.buffer("s", &[self.i.clone(), self.j.clone()]);
        let mut known = Expr::Const(0.0);
        if !self.strict {
            let same = compare(Func::Eq, ix(&self.j), ix(&self.i));
            let rows = operand(b, &self.rows, over, true)?;
            let columns = operand(b, &self.columns, over, false)?;
            let product = self.product(b, over, level, [rows, columns]);
            known = guarded(vec![same], Expr::Elem(product), known);
        }
        b.emit_map(level, all.clone(), known);
        // Computed once and not for every width. Not the tile that other products of the chunk share: both would be live
        // until the last of those.
        let on_rows = [(self.j.clone(), ix(&self.i))].into();
        let decays = own_decays(b, &self.i, &self.decay.substitute(&on_rows))?;
        let mut width = extent.next_power_of_two() / 2;
        while width > 0 {
            let w = width as i64;
            // One side after the other, so that the products of decays of only one are live at a time.
            let running = self.running(b, &self.i, &decays, width, self.strict, false);
            let rows = operand(b, &with(&self.rows, running), over, true)?;
            let running = self.running(b, &self.j, &decays, width, true, true);
            let columns = operand(b, &with(&self.columns, running), over, false)?;
            let product = self.product(b, over, level, [rows, columns]);
            let next = compare(Func::Eq, ix(&self.j) / w + 1, ix(&self.i) / w);
            let upper = compare(Func::Eq, ix(&self.i) / w % 2, Ix::Const(1));
            let chosen = Expr::Call(
                Func::Select,
                vec![
                    Expr::Call(Func::And, vec![upper, next]),
                    Expr::Elem(product),
                    Expr::Elem(all.clone()),
                ],
            );
            b.emit_map(level, all.clone(), chosen);
            width /= 2;
        }
        Ok(all)
    }

    /// Products of decays within segments, as a term; None if each is 1.
    fn running(
        &self,
        b: &mut Builder,
        axis: &Name,
        (decays, level): &(Access, usize),
        width: usize,
        exclusive: bool,
        reverse: bool,
    ) -> Option<T> {
        let on_axis = |n: Name| if n == self.i { axis.clone() } else { n };
        let names: Vec<Name> = places(decays).into_iter().map(on_axis).collect();
        let decays = Access {
            buf: decays.buf,
            places: names.iter().cloned().map(Place::Axis).collect(),
        };
        let level = *level;
        if width == 1 {
            return (!exclusive).then(|| b.as_term(&decays, &names, level));
        }
        let dst = b.buffer("c", &names);
        let running = Running {
            along: axis.clone(),
            kind: ScanKind::Prod,
            every: Some(width),
            exclusive,
            reverse,
        };
        b.emit_scan(level, dst.clone(), Expr::Elem(decays), running);
        Some(b.as_term(&dst, &names, level))
    }

    /// The sum of rows times columns.
    fn product(&self, b: &mut Builder, over: &[Name], level: usize, sides: [Access; 2]) -> Access {
        let dst = b.buffer("s", &[self.i.clone(), self.j.clone()]);
        b.emit_contract(level, over, false, dst.clone(), sides);
        dst
    }
}

fn with(factors: &[T], decays: Option<T>) -> Vec<T> {
    factors.iter().cloned().chain(decays).collect()
}

/// Whether two axes are at the same positions, and at enough of them.
fn same_positions(b: &Builder, j: &Name, i: &Name) -> bool {
    let tile = |a: &Name| match &b.axes.get(a)?.binding {
        Binding::Tile { base, extent, .. } => Some((base.clone(), *extent)),
        Binding::At(_) => None,
    };
    tile(j).is_some_and(|(_, n)| n >= SHORTEST) && tile(j) == tile(i)
}

/// Whether a kernel has decays over rows, columns and features as a tile.
pub fn is_left_out(kernel: &Kernel) -> bool {
    let mut found = false;
    each(&kernel.body, &mut |stmt| {
        found |= matches!(stmt, Stmt::Scan { axes, .. } if axes.len() > 2);
    });
    found
}
