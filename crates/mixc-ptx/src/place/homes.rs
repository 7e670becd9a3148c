//! Which buffers live in registers, in which layout, and how statements are spread.

use super::{Home, Product, Unit, contiguous_axis};
use crate::scans::Form;
use crate::spread::{self, Bit};
use crate::visit::{self, Key};
use mixc_ir::Name;
use mixc_layout::Layout;
use mixc_tile::{Access, BufId, Kernel, Stmt};
use std::collections::HashMap;

/// A statement holds at most this many points of its tile in a thread's registers at a time, where it
/// can loop over the others.
const UNROLL: u32 = 32;

/// Values of a scan that a thread keeps in registers at most.
const MOST_OF_A_LINE: u32 = 64;

pub(crate) struct Homes<'k> {
    kernel: &'k Kernel,
    products: &'k HashMap<Key, Product>,
    warp_bits: u32,
    pub homes: Vec<Home>,
    /// Buffers of which some access is not the whole tile: they stay in shared memory.
    fixed: Vec<bool>,
}

impl<'k> Homes<'k> {
    pub fn new(
        kernel: &'k Kernel,
        products: &'k HashMap<Key, Product>,
        warp_bits: u32,
    ) -> Homes<'k> {
        let mut fixed = vec![false; kernel.bufs.len()];
        visit::each(&kernel.body, &mut |stmt| {
            let extents: HashMap<Name, usize> = visit::axes(stmt).into_iter().collect();
            let mut accesses = visit::reads(stmt);
            accesses.extend(visit::written(stmt));
            for access in accesses {
                let shape = &kernel.bufs[visit::index(access.buf)].shape;
                let whole = visit::plain(access).is_some_and(|names| {
                    let distinct = names
                        .iter()
                        .enumerate()
                        .all(|(n, a)| !names[..n].contains(a));
                    distinct
                        && names
                            .iter()
                            .zip(shape)
                            .all(|(a, n)| extents.get(a) == Some(n))
                });
                fixed[visit::index(access.buf)] |= !whole;
            }
            if let Stmt::Load { dst, .. } = stmt {
                fixed[visit::index(dst.buf)] = true;
            }
        });
        Homes {
            kernel,
            products,
            warp_bits,
            homes: vec![Home::Shared; kernel.bufs.len()],
            fixed,
        }
    }

    pub fn solve(mut self) -> Homes<'k> {
        let mut stmts = vec![];
        visit::each(&self.kernel.body, &mut |stmt| stmts.push(stmt));
        for stmt in &stmts {
            if let Some(product) = self.products.get(&(*stmt as Key)) {
                let layout = accumulator(product, self.warp_bits);
                self.settle(&product.dst, &layout);
            }
        }
        self.scalars(&stmts);
        self.spread_from_operands(&stmts);
        self.spread_from_readers(&stmts);
        self.spread_from_operands(&stmts);
        self.lines_of_scans(&stmts);
        self.spread_from_operands(&stmts);
        for stmt in &stmts {
            if let Some(product) = self.products.get(&(*stmt as Key))
                && product.unit.is_matrix()
                && self.only_rows(product.rows.buf, &stmts)
            {
                let layout = rows_operand(product, self.warp_bits);
                self.settle(&product.rows, &layout);
            }
        }
        self.spread_from_operands(&stmts);
        self
    }

    /// Elementwise statements and reductions write to registers if they read a tile that covers all their axes there.
    fn spread_from_operands(&mut self, stmts: &[&'k Stmt]) {
        loop {
            let before = self.registers();
            for stmt in stmts {
                if let Stmt::Map { dst, .. } | Stmt::Reduce { dst, .. } = stmt
                    && let Some(layout) = self.operand_layout(stmt)
                {
                    self.settle(dst, &layout);
                }
            }
            if self.registers() == before {
                return;
            }
        }
    }

    /// Every thread computes a single number for itself, and finds one that a warp reduced a tile to.
    fn scalars(&mut self, stmts: &[&'k Stmt]) {
        for stmt in stmts {
            if let Stmt::Map { dst, .. } | Stmt::Reduce { dst, .. } = stmt
                && dst.places.is_empty()
                && stmts.iter().all(|s| is_scalar_work(s, dst.buf))
            {
                let layout = spread::blocked(&[], &[], 0, self.warp_bits);
                self.settle(dst, &layout);
            }
        }
    }

    /// Scans write to registers if all that read them have a layout from other operands, the same one, in
    /// which the scan can be computed.
    fn spread_from_readers(&mut self, stmts: &[&'k Stmt]) {
        for stmt in stmts {
            if let Stmt::Scan { dst, .. } = stmt
                && let Some(held) = self.readers_layout(dst.buf, stmts)
                && let Some(places) = visit::plain(dst)
                && let layout = spread::of_statement(&held, &places, &visit::axes(stmt))
                && Form::of(stmt, &layout).is_some()
            {
                self.settle(dst, &layout);
            }
        }
    }

    /// Scans of tiles that elementwise statements go on with stay in the registers in which they are computed, and so
    /// does what is computed elementwise for such scans.
    fn lines_of_scans(&mut self, stmts: &[&'k Stmt]) {
        for stmt in stmts {
            let Stmt::Scan { dst, .. } = stmt else {
                continue;
            };
            let layout = self.lines_of(stmt);
            let elementwise = self.all_readers(dst.buf, stmts, |reader| {
                matches!(reader, Stmt::Map { .. }) && visit::axes(reader).len() == dst.places.len()
            });
            if elementwise && dst.places.len() > 1 && spread::registers(&layout) <= MOST_OF_A_LINE {
                self.settle(dst, &layout);
            }
        }
        let is_scan = |s: &&&Stmt| matches!(s, Stmt::Scan { .. });
        let scans: Vec<&Stmt> = stmts.iter().filter(is_scan).copied().collect();
        for stmt in stmts {
            let Stmt::Map { dst, .. } = stmt else {
                continue;
            };
            let in_registers = |scan: &Stmt| {
                let by = visit::written(scan).map(|by| visit::index(by.buf));
                by.is_some_and(|by| self.homes[by] != Home::Shared)
            };
            let scanned = self.all_readers(dst.buf, stmts, |reader| match reader {
                Stmt::Scan { .. } => in_registers(reader),
                _ => matches!(reader, Stmt::Map { .. } | Stmt::Reduce { .. }),
            });
            if let Some(layout) = self.layout_for_readers(dst.buf, &scans)
                && let Some(places) = visit::plain(dst)
                && scanned
            {
                let layout = spread::of_statement(&layout, &places, &visit::axes(stmt));
                self.settle(dst, &layout);
            }
        }
    }

    /// Threads over the lines of a scan; where there are few, lanes share one rather than warps doing the same.
    fn lines_of(&self, stmt: &Stmt) -> Layout {
        let axes = visit::axes(stmt);
        let (outer, inner) = split_bits(&axes, |name| match stmt {
            Stmt::Scan { along, .. } => name != along,
            _ => true,
        });
        let lanes = outer.len().saturating_sub(self.warp_bits as usize).min(5);
        spread::lines(&axes, &outer, &inner, lanes, self.warp_bits)
    }

    /// Whether a buffer has readers, and all of them are such.
    fn all_readers(&self, buf: BufId, stmts: &[&Stmt], such: impl Fn(&Stmt) -> bool) -> bool {
        let reads = |s: &&&Stmt| visit::reads(s).iter().any(|a| a.buf == buf);
        let mut readers = stmts.iter().filter(reads).peekable();
        readers.peek().is_some() && readers.all(|s| such(s))
    }

    /// The layout in which all readers of a buffer want it.
    fn readers_layout(&self, buf: BufId, stmts: &[&'k Stmt]) -> Option<Layout> {
        let elementwise = self.all_readers(buf, stmts, |reader| {
            matches!(
                reader,
                Stmt::Map { .. } | Stmt::Reduce { .. } | Stmt::Store { .. }
            )
        });
        elementwise.then(|| self.layout_for_readers(buf, stmts))?
    }

    /// The same, for readers of any kind.
    fn layout_for_readers(&self, buf: BufId, stmts: &[&Stmt]) -> Option<Layout> {
        let shape = &self.kernel.bufs[visit::index(buf)].shape;
        let mut found = None;
        for stmt in stmts {
            for access in visit::reads(stmt).into_iter().filter(|a| a.buf == buf) {
                let places = visit::plain(access)?;
                let wanted = spread::of_buffer(&self.register_layout(stmt)?, &places, shape);
                if *found.get_or_insert_with(|| wanted.clone()) != wanted {
                    return None;
                }
            }
        }
        found
    }

    fn registers(&self) -> usize {
        self.homes.iter().filter(|h| **h != Home::Shared).count()
    }

    /// Puts a buffer into registers unless it has a home there already or cannot be.
    fn settle(&mut self, access: &Access, layout: &Layout) {
        let buf = visit::index(access.buf);
        if self.fixed[buf] || self.homes[buf] != Home::Shared {
            return;
        }
        if let Some(places) = visit::plain(access) {
            let shape = &self.kernel.bufs[buf].shape;
            self.homes[buf] = Home::Registers(spread::of_buffer(layout, &places, shape));
        }
    }

    /// The layout of a statement that works on tiles in registers: that of its result, else of an operand.
    fn register_layout(&self, stmt: &Stmt) -> Option<Layout> {
        if let Stmt::Map { dst, .. } | Stmt::Scan { dst, .. } = stmt
            && let Home::Registers(held) = &self.homes[visit::index(dst.buf)]
        {
            return Some(spread::of_statement(
                held,
                &visit::plain(dst)?,
                &visit::axes(stmt),
            ));
        }
        self.operand_layout(stmt)
    }

    /// The layout of the first register operand that has all axes of the statement.
    fn operand_layout(&self, stmt: &Stmt) -> Option<Layout> {
        let axes = visit::axes(stmt);
        visit::reads(stmt).into_iter().find_map(|access| {
            let Home::Registers(held) = &self.homes[visit::index(access.buf)] else {
                return None;
            };
            let places = visit::plain(access)?;
            let covers = axes
                .iter()
                .all(|(name, n)| *n == 1 || places.contains(name));
            covers.then(|| spread::of_statement(held, &places, &axes))
        })
    }

    /// Whether a buffer is computed elementwise, and nothing but the rows of products reads it.
    fn only_rows(&self, buf: BufId, stmts: &[&Stmt]) -> bool {
        stmts.iter().all(|stmt| {
            let written = visit::written(stmt).is_some_and(|dst| dst.buf == buf);
            let reads = visit::reads(stmt).iter().filter(|a| a.buf == buf).count();
            let product = self.products.get(&(*stmt as Key));
            let as_rows = product.is_some_and(|p| p.rows.buf == buf && p.columns.buf != buf);
            (!written || matches!(stmt, Stmt::Map { .. })) && (reads == 0 || as_rows)
        })
    }

    /// How every computing statement is spread over the threads.
    pub fn statement_layouts(&self) -> HashMap<Key, Layout> {
        let mut found = HashMap::new();
        visit::each(&self.kernel.body, &mut |stmt| {
            if let Some(layout) = self.statement(stmt) {
                found.insert(stmt as Key, layout);
            }
        });
        found
    }

    fn statement(&self, stmt: &Stmt) -> Option<Layout> {
        let axes = visit::axes(stmt);
        Some(match stmt {
            Stmt::For { .. } | Stmt::If { .. } => return None,
            Stmt::Contract { .. } if let Some(product) = self.products.get(&(stmt as Key)) => {
                accumulator(product, self.warp_bits)
            }
            Stmt::Load { tensor, index, .. } => {
                let fast =
                    self.fast_axes(&axes, contiguous_axis(self.kernel, &axes, tensor, index));
                let layout = spread::blocked(&axes, &fast, 0, self.warp_bits);
                spread::with_loop(&layout, UNROLL, &|_| true)
            }
            Stmt::Store { tensor, index, .. } => match self.operand_layout(stmt) {
                Some(layout) => layout,
                None => {
                    let index: Vec<_> = index
                        .iter()
                        .map(|ix| mixc_tile::LoadIx::Ix(ix.clone()))
                        .collect();
                    let fast =
                        self.fast_axes(&axes, contiguous_axis(self.kernel, &axes, tensor, &index));
                    let layout = spread::blocked(&axes, &fast, 0, self.warp_bits);
                    spread::with_loop(&layout, UNROLL, &|_| true)
                }
            },
            Stmt::Map { .. } => match self.register_layout(stmt) {
                Some(layout) => layout,
                None => {
                    let last = axes.last().map(|(n, _)| n.clone());
                    let fast = self.fast_axes(&axes, last);
                    let layout = spread::blocked(&axes, &fast, 0, self.warp_bits);
                    spread::with_loop(&layout, UNROLL, &|_| true)
                }
            },
            Stmt::Reduce { dst, .. } | Stmt::Contract { dst, .. } => {
                match self.operand_layout(stmt) {
                    Some(layout) => layout,
                    None => {
                        let kept = visit::plain_axes(dst);
                        let (outer, inner) = split_bits(&axes, |name| kept.contains(name));
                        let layout = spread::lines(&axes, &outer, &inner, 5, self.warp_bits);
                        spread::with_loop(&layout, UNROLL, &|name| {
                            !kept.iter().any(|k| **k == *name)
                        })
                    }
                }
            }
            Stmt::Scan { dst, .. } => match &self.homes[visit::index(dst.buf)] {
                Home::Registers(_) => self.register_layout(stmt)?,
                Home::Shared => self.lines_of(stmt),
            },
        })
    }

    /// All axes, `first` first, then from the last to the first.
    fn fast_axes(&self, axes: &[(Name, usize)], first: Option<Name>) -> Vec<Name> {
        let first = first.filter(|f| axes.iter().any(|(n, _)| n == f));
        let mut order: Vec<Name> = first.iter().cloned().collect();
        order.extend(
            axes.iter()
                .rev()
                .map(|(n, _)| n.clone())
                .filter(|n| Some(n) != first.as_ref()),
        );
        order
    }

    /// By buffer: if it is in registers and some reader, or a writer with another layout, needs it in shared memory,
    /// who; the unit for factors of products.
    pub fn mirrored(&self, layouts: &HashMap<Key, Layout>) -> Vec<Option<Vec<Option<Unit>>>> {
        let mut mirrored: Vec<Option<Vec<Option<Unit>>>> = vec![None; self.homes.len()];
        let mut note = |access: &Access, needed: bool, unit: Option<Unit>| {
            if needed {
                mirrored[visit::index(access.buf)]
                    .get_or_insert_default()
                    .push(unit);
            }
        };
        visit::each(&self.kernel.body, &mut |stmt| {
            let Some(layout) = layouts.get(&(stmt as Key)) else {
                return;
            };
            let misplaced = |access: &Access, layout: &Layout| self.misplaced(access, layout);
            let in_registers = |a: &Access| self.homes[visit::index(a.buf)] != Home::Shared;
            match self.products.get(&(stmt as Key)) {
                Some(p) => {
                    let rows = rows_operand(p, self.warp_bits);
                    // Factors of multiply-adds, and columns in any case, are read from shared memory.
                    let shared_rows =
                        in_registers(&p.rows) && (!p.unit.is_matrix() || misplaced(&p.rows, &rows));
                    note(&p.rows, shared_rows, Some(p.unit));
                    note(&p.columns, in_registers(&p.columns), Some(p.unit));
                    note(&p.dst, misplaced(&p.dst, layout), None);
                }
                None => {
                    let form = Form::of(stmt, layout);
                    let reads = form
                        .as_ref()
                        .map_or_else(|| visit::reads(stmt), Form::reads);
                    for access in reads {
                        note(access, misplaced(access, layout), None);
                    }
                    if let Some(dst) = visit::written(stmt) {
                        note(dst, self.made_elsewhere(dst, layout), None);
                    }
                }
            }
        });
        mirrored
    }

    /// Whether a buffer is in registers, but not in those in which a layout wants it.
    fn misplaced(&self, access: &Access, layout: &Layout) -> bool {
        match &self.homes[visit::index(access.buf)] {
            Home::Registers(held) => visit::plain(access)
                .and_then(|places| spread::same_thread(held, &places, layout))
                .is_none(),
            Home::Shared => false,
        }
    }

    /// By buffer: whether it is computed elementwise in registers, and all that read it find it in shared memory.
    pub fn only_copied(&self, layouts: &HashMap<Key, Layout>) -> Vec<bool> {
        let mut only: Vec<bool> = self.homes.iter().map(|h| *h != Home::Shared).collect();
        visit::each(&self.kernel.body, &mut |stmt| {
            let Some(layout) = layouts.get(&(stmt as Key)) else {
                return;
            };
            if let Some(dst) = visit::written(stmt) {
                only[visit::index(dst.buf)] &= matches!(stmt, Stmt::Map { .. });
            }
            let product = self.products.get(&(stmt as Key));
            for access in visit::reads(stmt) {
                let copied = match product {
                    Some(p) if p.columns.buf == access.buf => true,
                    Some(p) => self.misplaced(&p.rows, &rows_operand(p, self.warp_bits)),
                    None => self.misplaced(access, layout),
                };
                only[visit::index(access.buf)] &= copied;
            }
        });
        only
    }

    /// A result that is not computed where the buffer's registers are goes through shared memory.
    fn made_elsewhere(&self, dst: &Access, layout: &Layout) -> bool {
        let buf = visit::index(dst.buf);
        let (Home::Registers(held), Some(places)) = (&self.homes[buf], visit::plain(dst)) else {
            return false;
        };
        let made = spread::of_buffer(layout, &places, &self.kernel.bufs[buf].shape);
        !covers(&made, held)
    }
}

/// Whether a statement that writes a buffer can leave the same number in all threads.
fn is_scalar_work(stmt: &Stmt, buf: BufId) -> bool {
    let writes = visit::written(stmt).is_some_and(|dst| dst.buf == buf);
    !writes || matches!(stmt, Stmt::Map { .. } | Stmt::Reduce { .. })
}

/// Whether each thread holds in `made` what `held` wants in it.
pub(crate) fn covers(made: &Layout, held: &Layout) -> bool {
    let places: Vec<Name> = made.outs().map(|(n, _)| n.into()).collect();
    spread::same_thread(made, &places, held).is_some()
}

fn split_bits(axes: &[(Name, usize)], outer: impl Fn(&Name) -> bool) -> (Vec<Bit>, Vec<Bit>) {
    let side = |wanted: bool| -> Vec<Bit> {
        // The last axis is the contiguous one as a rule.
        let chosen: Vec<(Name, usize)> = axes
            .iter()
            .rev()
            .filter(|(n, _)| outer(n) == wanted)
            .cloned()
            .collect();
        spread::bits_of(&chosen)
    };
    (side(true), side(false))
}

fn all_axes(parts: [&[(Name, usize)]; 2]) -> Vec<(Name, usize)> {
    parts.concat()
}

/// Bits of composite rows, columns or sums: the last axis is the fastest.
pub(crate) fn composite(axes: &[(Name, usize)]) -> Vec<Bit> {
    let reversed: Vec<(Name, usize)> = axes.iter().rev().cloned().collect();
    spread::bits_of(&reversed)
}

/// Layout of a product's result over its axes m and n.
pub(crate) fn accumulator(product: &Product, warp_bits: u32) -> Layout {
    let axes = all_axes([&product.m, &product.n]);
    let (m, n) = (composite(&product.m), composite(&product.n));
    if product.unit.is_matrix() {
        spread::accumulator(&axes, &m, &n, warp_bits)
    } else {
        spread::outer_product(&axes, &m, &n, warp_bits)
    }
}

/// Layout of a product's rows over its axes m and k. Warps that share the columns of the result hold copies.
pub(crate) fn rows_operand(product: &Product, warp_bits: u32) -> Layout {
    let axes = all_axes([&product.m, &product.k]);
    let (m, k) = (composite(&product.m), composite(&product.k));
    spread::a_operand(&axes, &m, &k, product.unit.is_half(), warp_bits)
}
