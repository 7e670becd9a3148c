//! Decides where buffers live and how every statement is spread over the threads.
//!
//! 1. Matrix products choose their rows ([`products`], [`orient`]) and so the layout of their accumulators.
//! 2. Elementwise statements and reductions take over the layout of a register operand that has all
//!    their axes, scans that of the statements that read them, and what they write lives in registers as
//!    well ([`homes`]).
//! 3. Everything else is in shared memory. A buffer in registers that some reader cannot use as it lies
//!    has a copy there.
//! 4. Loads at the top of loops are prefetched ([`pipelines`]); shared memory is given out by
//!    lifetime ([`memory`]).

mod feeds;
mod homes;
mod memory;
mod orient;
mod pipelines;
mod products;
mod warpgroup;

use crate::visit::{self, Key};
use crate::{LowerError, Options, Target};
use mixc_ir::{DType, Name};
use mixc_layout::Layout;
use mixc_tile::{Kernel, Stmt};
use std::collections::{HashMap, HashSet};

pub(crate) use feeds::{Feed, ONCE, Producer, STAGE_BARRIERS};
pub(crate) use homes::{composite, rows_operand};
pub(crate) use pipelines::Pipeline;
pub(crate) use products::{Product, Unit};
pub(crate) use warpgroup::{Factor, Warpgroup};

/// Element type in shared memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Elem {
    F32,
    Bf16,
    F16,
}

impl Elem {
    pub fn bytes(self) -> usize {
        match self {
            Elem::F32 => 4,
            Elem::Bf16 | Elem::F16 => 2,
        }
    }

    /// That of a tensor whose values need no more.
    pub fn of(dtype: DType) -> Elem {
        match dtype {
            DType::Bf16 => Elem::Bf16,
            DType::F16 => Elem::F16,
            _ => Elem::F32,
        }
    }
}

/// A buffer in shared memory: rows of the dimension `inner`, one for each point of the others in order.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Storage {
    pub elem: Elem,
    pub shape: Vec<usize>,
    pub inner: usize,
    /// Bytes from row to row within a panel. Rows that are longer go on in the next panel.
    pub pitch: usize,
    pub panels: usize,
    /// The 16-byte chunk of an element is XORed with `(row >> shift) & mask`.
    pub shift: u32,
    pub mask: u32,
    /// Values are held as a rounded part and what it leaves, in a second tile behind the first.
    pub split: bool,
    pub slot: usize,
}

impl Storage {
    pub fn rows(&self) -> usize {
        let others = (0..self.shape.len()).filter(|d| *d != self.inner);
        others.map(|d| self.shape[d]).product()
    }

    pub fn bytes(&self) -> usize {
        self.part_bytes() << u32::from(self.split)
    }

    /// Bytes of one part.
    pub fn part_bytes(&self) -> usize {
        self.rows() * self.pitch * self.panels
    }

    /// Rows between neighbours along a dimension other than `inner`.
    pub fn row_stride(&self, dim: usize) -> usize {
        let after = (dim + 1..self.shape.len()).filter(|d| *d != self.inner);
        after.map(|d| self.shape[d]).product()
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Home {
    /// Spread over the threads; the outputs of the layout are the dimensions `0`, `1`, ...
    Registers(Layout),
    Shared,
}

/// A piece of shared memory, `stages` times `bytes` long.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Slot {
    pub bytes: usize,
    pub stages: usize,
    pub offset: usize,
}

pub(crate) struct Placement {
    /// By buffer.
    pub homes: Vec<Home>,
    /// By buffer: whether it is in registers only until it is computed, and then in shared memory.
    pub only_copied: Vec<bool>,
    /// By buffer: its place in shared memory, if it has one.
    pub storage: Vec<Option<Storage>>,
    pub slots: Vec<Slot>,
    /// How the local axes of a statement are spread.
    pub layouts: HashMap<Key, Layout>,
    pub products: HashMap<Key, Product>,
    /// By the first loop of a chain.
    pub pipelines: HashMap<Key, Pipeline>,
    /// Scratch of reductions across warps.
    pub scratch: HashMap<Key, usize>,
    /// What warps of their own load, if they do.
    pub producer: Option<Producer>,
    pub shared_bytes: usize,
    /// Of the warps that compute.
    pub warp_bits: u32,
}

/// Registers of a multiprocessor, on all targets.
const REGISTERS: usize = 1 << 16;

pub(crate) fn place(kernel: &Kernel, options: &Options) -> Result<Placement, LowerError> {
    let available = options.target.limits().shared_per_block as usize;
    let refused = |needed: usize| LowerError::SharedMemory {
        kernel: kernel.name.clone(),
        needed: u32::try_from(needed).unwrap_or(u32::MAX),
        available: available as u32,
        target: options.target,
    };
    if let Some(elements) = hopeless(kernel, options) {
        return Err(refused(2 * elements));
    }
    let placement = arrange(kernel, options);
    if placement.shared_bytes > available {
        return Err(refused(placement.shared_bytes));
    }
    Ok(placement)
}

/// The elements of the largest tile, if neither registers nor shared memory hold it: to spread it over threads would take
/// long.
fn hopeless(kernel: &Kernel, options: &Options) -> Option<usize> {
    let available = options.target.limits().shared_per_block as usize;
    let elements = kernel.bufs.iter().map(|b| b.shape.iter().product());
    elements.max().filter(|n| *n > REGISTERS.max(available / 2))
}

/// As [`place`], whether or not it fits.
fn arrange(kernel: &Kernel, options: &Options) -> Placement {
    let warp_bits = options.warps.trailing_zeros();
    let products = products::choose(kernel, options);
    let homes = homes::Homes::new(kernel, &products, warp_bits).solve();
    let layouts = homes.statement_layouts();
    let mirrored = homes.mirrored(&layouts);
    let only_copied = homes.only_copied(&layouts);
    let pipelines = pipelines::find(kernel, options, &homes.homes);
    let mut storage = vec![None; kernel.bufs.len()];
    for (n, buf) in kernel.bufs.iter().enumerate() {
        if homes.homes[n] == Home::Shared || mirrored[n].is_some() {
            let (elem, split) = element(kernel, &products, n, mirrored[n].as_deref());
            storage[n] = Some(Storage {
                split,
                ..shape_storage(
                    buf.shape.clone(),
                    elem,
                    inner(kernel, &homes.homes[n], n),
                    options.target >= Target::Sm90a,
                )
            });
        }
    }
    let mut placement = Placement {
        homes: homes.homes,
        only_copied,
        storage,
        slots: vec![],
        layouts,
        products,
        pipelines,
        scratch: HashMap::new(),
        producer: None,
        shared_bytes: 0,
        warp_bits,
    };
    warpgroup::choose(&mut placement, options);
    placement.producer = feeds::choose(kernel, options, &placement);
    if let Some(producer) = &placement.producer {
        pipelines::keep(&mut placement.pipelines, &producer.of_load);
    }
    memory::allocate(kernel, &mut placement);
    if let Some(producer) = &mut placement.producer {
        placement.shared_bytes = producer.settle(&placement.storage, placement.shared_bytes);
    }
    placement
}

/// Warps that should compute, whatever `options` says: where warpgroups can compute products, the number for which
/// most of them can.
pub fn suggested_warps(kernel: &Kernel, options: &Options) -> u32 {
    let usual = usual_warps(kernel);
    if options.target != Target::Sm90a || hopeless(kernel, options).is_some() {
        return usual;
    }
    let products = |warps: &u32| {
        let options = Options {
            warps: *warps,
            ..options.clone()
        };
        let placement = arrange(kernel, &options);
        let all = placement.products.values();
        all.filter(|p| p.warpgroup.is_some()).count()
    };
    let results = result_elements(kernel);
    let fits = |warps: &u32| results <= MOST_RESULTS * 32 * *warps as usize;
    // Of equals, the last.
    let choices = [12 - usual, usual].into_iter();
    let choices = choices.filter(|warps| *warps == usual || fits(warps));
    choices.max_by_key(products).unwrap_or(usual)
}

/// Registers of a thread that results of products can take at all.
const MOST_RESULTS: usize = 256;

/// Warps for which the results of all products that live at a time take at most half of a thread's registers, and the
/// longest scan takes few: 4, or 8 for larger tiles.
fn usual_warps(kernel: &Kernel) -> u32 {
    if result_elements(kernel) > 128 * 128 || scanned_elements(kernel) >= 128 * 32 {
        8
    } else {
        4
    }
}

/// Elements of the largest tile that is scanned in a kernel with products: threads hold its lines.
fn scanned_elements(kernel: &Kernel) -> usize {
    let (mut most, mut products) = (0, false);
    visit::each(&kernel.body, &mut |stmt| {
        products |= matches!(stmt, Stmt::Contract { .. });
        if let Stmt::Scan { axes, .. } = stmt
            && axes.len() == 2
        {
            most = most.max(axes.iter().map(|a| a.extent).product());
        }
    });
    if products { most } else { 0 }
}

/// Elements of the results of all products that live at a time, and of what is computed beside them: factors over other
/// axes (values that a mask cuts) and running products.
pub fn live_elements(kernel: &Kernel) -> (usize, usize) {
    // Where a mask cuts loaded tiles in some blocks only, those are few.
    let loops = kernel.body.iter().filter(|s| has_product(s));
    let cuts_all = loops.into_iter().all(cuts_loaded);
    let computed = kernel
        .body
        .iter()
        .map(|stmt| computed_beside(kernel, stmt, cuts_all));
    (result_elements(kernel), computed.max().unwrap_or(0))
}

fn has_product(stmt: &Stmt) -> bool {
    let mut found = false;
    visit::each(std::slice::from_ref(stmt), &mut |s| {
        found |= matches!(s, Stmt::Contract { .. });
    });
    found
}

/// Whether a statement makes a tile out of loaded ones alone.
fn cuts_loaded(stmt: &Stmt) -> bool {
    let loaded = loaded(stmt);
    let mut found = false;
    visit::each(std::slice::from_ref(stmt), &mut |s| {
        found |= is_cut(s, &loaded)
    });
    found
}

fn loaded(stmt: &Stmt) -> HashSet<mixc_tile::BufId> {
    let mut found = HashSet::new();
    visit::each(std::slice::from_ref(stmt), &mut |s| {
        if let Stmt::Load { dst, .. } = s {
            found.insert(dst.buf);
        }
    });
    found
}

/// Whether a tile is a loaded one that a mask cuts.
fn is_cut(stmt: &Stmt, loaded: &HashSet<mixc_tile::BufId>) -> bool {
    let Stmt::Map { dst, .. } = stmt else {
        return false;
    };
    let reads = visit::reads(stmt);
    let tiles: Vec<_> = reads.iter().filter(|a| a.places.len() >= 2).collect();
    dst.places.len() >= 2 && !tiles.is_empty() && tiles.iter().all(|a| loaded.contains(&a.buf))
}

fn computed_beside(kernel: &Kernel, stmt: &Stmt, cuts: bool) -> usize {
    let axes_of = |access: &mixc_tile::Access| {
        let mut axes = visit::plain_axes(access);
        axes.sort();
        axes
    };
    let (mut results, mut tiles, mut running) = (vec![], HashMap::new(), HashSet::new());
    let loaded = loaded(stmt);
    visit::each(std::slice::from_ref(stmt), &mut |s| match s {
        Stmt::Contract { dst, .. } => results.push(axes_of(dst)),
        Stmt::Map { dst, .. } if dst.places.len() >= 2 && (cuts || !is_cut(s, &loaded)) => {
            tiles.insert(visit::index(dst.buf), axes_of(dst));
        }
        Stmt::Scan { dst, .. } if dst.places.len() >= 2 => {
            running.insert(visit::index(dst.buf));
        }
        _ => {}
    });
    if results.is_empty() {
        return 0;
    }
    // A tile over the axes of a result takes its place.
    tiles.retain(|_, axes| !results.contains(axes));
    let all = tiles.into_keys().chain(running);
    all.map(|buf| kernel.bufs[buf].shape.iter().product::<usize>())
        .sum()
}

fn result_elements(kernel: &Kernel) -> usize {
    // Loops over whole and over ragged blocks hold the same tiles under different names, one after the other.
    let together = |stmt: &Stmt| -> usize {
        let mut results: Vec<usize> = vec![];
        visit::each(std::slice::from_ref(stmt), &mut |s| {
            if let Stmt::Contract { dst, .. } = s
                && dst.places.len() >= 2
            {
                results.push(visit::index(dst.buf));
            }
        });
        results.sort_unstable();
        results.dedup();
        let elements = |buf: &usize| kernel.bufs[*buf].shape.iter().product::<usize>();
        results.iter().map(elements).sum()
    };
    kernel.body.iter().map(together).max().unwrap_or(0)
}

/// Rows that collide in no bank when eight of them are read at the same chunk: either the number of
/// chunks is odd, or the chunk is XORed with row bits.
///
/// With `panels`, 16-bit rows of 32 bytes and more are cut into panels as wide as a swizzling mode of the hardware
/// (PTX ISA, "Swizzling Modes"), so that `wgmma` can read them.
fn shape_storage(shape: Vec<usize>, elem: Elem, inner: usize, panels: bool) -> Storage {
    let shape = if shape.is_empty() { vec![1] } else { shape };
    let row = shape[inner] * elem.bytes();
    let widths = [128, 64, 32];
    let width = widths.into_iter().find(|w| row.is_multiple_of(*w));
    let pitch = width
        .filter(|_| panels && elem != Elem::F32 && row > 0)
        .unwrap_or(row);
    let chunks = pitch / 16;
    let (shift, mask) = match chunks {
        _ if !pitch.is_multiple_of(16) => (0, 0),
        c if c % 8 == 0 => (0, 7),
        c if c % 4 == 0 => (1, 3),
        c if c % 2 == 0 => (2, 1),
        _ => (0, 0),
    };
    let rows: usize = shape.iter().product::<usize>() / shape[inner].max(1);
    let (shift, mask) = if rows > 1 { (shift, mask) } else { (0, 0) };
    Storage {
        elem,
        shape,
        inner,
        pitch,
        panels: row.checked_div(pitch).unwrap_or(1),
        shift,
        mask,
        split: false,
        slot: usize::MAX,
    }
}

/// 16 bits where that loses nothing (loaded from such tensors), or where all readers are matrix products in that type: then
/// in two parts, but for weights and on the way to outputs. Readers of a copy of registers are given, the others find what
/// they need in the registers.
fn element(
    kernel: &Kernel,
    products: &HashMap<Key, Product>,
    buf: usize,
    readers: Option<&[Option<Unit>]>,
) -> (Elem, bool) {
    let mut loaded: Option<Elem> = None;
    let mut only_loaded = true;
    let mut read_by: Vec<Option<Unit>> = vec![];
    visit::each(&kernel.body, &mut |stmt| {
        if let Some(dst) = visit::written(stmt)
            && visit::index(dst.buf) == buf
        {
            match stmt {
                Stmt::Load { tensor, .. } => {
                    let dtype = kernel.tensors.iter().find(|t| t.name == *tensor);
                    let elem = dtype.map_or(Elem::F32, |t| Elem::of(t.dtype));
                    only_loaded &= loaded.is_none_or(|e| e == elem);
                    loaded = Some(elem);
                }
                _ => only_loaded = false,
            }
        }
        if visit::reads(stmt)
            .iter()
            .any(|a| visit::index(a.buf) == buf)
        {
            read_by.push(products.get(&(stmt as Key)).map(|p| p.unit));
        }
    });
    if only_loaded {
        return (loaded.unwrap_or(Elem::F32), false);
    }
    if let Some(readers) = readers {
        read_by = readers.to_vec();
    }
    let first = read_by.first().copied().flatten();
    let lasting = products.values().any(|p| {
        let factors = [p.rows.buf, p.columns.buf];
        !p.passing && factors.iter().any(|b| visit::index(*b) == buf)
    });
    let parts = lasting && !products::are_weights(kernel, mixc_tile::BufId(buf as u32));
    match first {
        Some(Unit::Bf16) if read_by.iter().all(|u| *u == first) => (Elem::Bf16, parts),
        Some(Unit::F16) if read_by.iter().all(|u| *u == first) => (Elem::F16, parts),
        _ => (Elem::F32, false),
    }
}

/// The dimension that is contiguous in shared memory: the one that is contiguous in the tensor it is loaded from,
/// else the one whose neighbours a thread holds.
fn inner(kernel: &Kernel, home: &Home, buf: usize) -> usize {
    let rank = kernel.bufs[buf].shape.len();
    let mut found = None;
    visit::each(&kernel.body, &mut |stmt| {
        if let Stmt::Load {
            dst, tensor, index, ..
        } = stmt
            && visit::index(dst.buf) == buf
            && let Some(axis) = contiguous_axis(kernel, &visit::axes(stmt), tensor, index)
        {
            found = dst
                .places
                .iter()
                .position(|p| *p == mixc_tile::Place::Axis(axis.clone()));
        }
    });
    if let Some(dim) = found {
        return dim;
    }
    if let Home::Registers(layout) = home
        && layout.in_bits(mixc_layout::REGISTER) > 0
    {
        let basis = layout.basis(mixc_layout::REGISTER, 0);
        if let Some(dim) = basis.iter().position(|v| *v == 1) {
            return dim;
        }
    }
    rank.saturating_sub(1)
}

/// The local axis along which a load reads neighbours in memory.
pub(crate) fn contiguous_axis(
    kernel: &Kernel,
    axes: &[(Name, usize)],
    tensor: &Name,
    index: &[mixc_tile::LoadIx],
) -> Option<Name> {
    let declared = kernel.tensors.iter().find(|t| t.name == *tensor)?;
    if !declared.unit_inner {
        return None;
    }
    let mixc_tile::LoadIx::Ix(last) = index.last()? else {
        return None;
    };
    let affine = last.affine()?;
    let mut local = axes
        .iter()
        .filter(|(name, _)| affine.terms.contains_key(name));
    let (first, _) = local.next()?;
    let alone = local.next().is_none() && affine.coefficient(first) == mixc_ir::Ix::Const(1);
    let elsewhere = index[..index.len() - 1].iter().any(|ix| match ix {
        mixc_tile::LoadIx::Ix(ix) => ix.axes().contains(first),
        mixc_tile::LoadIx::Gather(access) => visit::plain_axes(access).contains(first),
    });
    (alone && !elsewhere).then(|| first.clone())
}

/// Whether an index is a multiple of `n` whatever its leaves are.
pub(crate) fn multiple_of(index: &mixc_ir::Ix, n: i64) -> bool {
    use mixc_ir::Ix;
    match index {
        Ix::Const(value) => value % n == 0,
        Ix::Mul(a, b) => multiple_of(a, n) || multiple_of(b, n),
        Ix::Add(a, b) | Ix::Sub(a, b) | Ix::Min(a, b) | Ix::Max(a, b) => {
            multiple_of(a, n) && multiple_of(b, n)
        }
        _ => n == 1,
    }
}

/// Whether a load is one word, which an asynchronous copy can move by itself.
pub(crate) fn is_word(kernel: &Kernel, axes: &[(Name, usize)], tensor: &Name) -> bool {
    let declared = kernel.tensors.iter().find(|t| t.name == *tensor);
    axes.is_empty() && declared.is_some_and(|t| t.dtype == DType::F32)
}

/// Elements in 16 bytes, if a load can move its tile in pieces of that size: neighbours in the tensor are
/// neighbours in the tile, and every piece begins at a multiple of 16 bytes.
pub(crate) fn pieces(
    kernel: &Kernel,
    options: &Options,
    axes: &[(Name, usize)],
    tensor: &Name,
    index: &[mixc_tile::LoadIx],
) -> Option<(Name, usize)> {
    let declared = kernel.tensors.iter().find(|t| t.name == *tensor)?;
    if !matches!(declared.dtype, DType::F32 | DType::Bf16 | DType::F16)
        || !options.aligned.contains(tensor)
    {
        return None;
    }
    let axis = contiguous_axis(kernel, axes, tensor, index)?;
    let (_, extent) = axes.iter().find(|(name, _)| *name == axis)?;
    let piece = 16 / Elem::of(declared.dtype).bytes();
    let mixc_tile::LoadIx::Ix(last) = index.last()? else {
        return None;
    };
    let affine = last.affine()?;
    let aligned = multiple_of(&affine.rest, piece as i64)
        && affine
            .terms
            .iter()
            .all(|(name, c)| *name == axis || multiple_of(c, piece as i64));
    (extent % piece == 0 && aligned).then_some((axis, piece))
}
