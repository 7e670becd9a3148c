//! Loads that a producer warp makes: tiles that bulk tensor copies move, and that consumers wait for at mbarriers
//! (PTX ISA, "Data Movement and Conversion Instructions: cp.async.bulk.tensor").
//!
//! Every fed load has a ring of stages, each with two mbarriers: the copy engine fills `full`, the consumers hand the
//! stage back at `empty`. Loads in loops are fed for every turn, loads outside of loops for every grid point.

use super::memory::SWIZZLE_REPEAT;
use super::{Elem, Pipeline, Placement, Storage};
use crate::visit::{self, Key};
use crate::{BulkMap, Options, Target};
use mixc_ir::{DType, Ix, Name};
use mixc_layout::shared::HardwareSwizzle;
use mixc_tile::{Kernel, LoadIx, Stmt, Usage};
use std::collections::HashMap;

/// Bytes of the two mbarriers of a stage.
pub(crate) const STAGE_BARRIERS: usize = 16;
/// Elements of a box along one dimension (CUDA driver API, `cuTensorMapEncodeTiled`).
const LARGEST_BOX: usize = 256;
/// Where a bulk copy may write in shared memory.
const COPY_ALIGNMENT: usize = 128;

/// How one load moves: a box for every panel of its tile.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct BulkCopy {
    pub map: BulkMap,
    pub panels: usize,
    /// Elements of a panel along the contiguous dimension.
    pub panel_elems: usize,
    pub panel_bytes: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Feed {
    pub copy: BulkCopy,
    pub slot: usize,
    pub ring: usize,
    /// Where its mbarriers are in shared memory: full and empty of each stage.
    pub barriers: usize,
}

/// Turns that advance together: those of a chain of loops, or the grid points.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Ring {
    pub stages: u32,
}

/// What the producer does.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Producer {
    pub feeds: Vec<Feed>,
    pub rings: Vec<Ring>,
    pub of_load: HashMap<Key, usize>,
    pub of_buf: HashMap<usize, usize>,
    /// By loop: its ring.
    pub of_loop: HashMap<Key, usize>,
}

/// The ring of what is loaded once for each grid point.
pub(crate) const ONCE: usize = 0;

/// Chooses what a producer feeds, and takes it out of the pipelines, which only the threads that compute could serve.
pub(super) fn choose(
    kernel: &Kernel,
    options: &Options,
    placement: &Placement,
) -> Option<Producer> {
    let warpgroups = placement.products.values().any(|p| p.warpgroup.is_some());
    if !options.producer || options.target != Target::Sm90a || !warpgroups {
        return None;
    }
    let mut producer = Producer {
        rings: vec![Ring { stages: 1 }],
        ..Producer::default()
    };
    let mut loops = vec![];
    visit::each(&kernel.body, &mut |stmt| {
        if let Some(pipeline) = placement.pipelines.get(&(stmt as Key)) {
            loops.push((stmt, pipeline));
        }
    });
    for (first, pipeline) in loops {
        ring(kernel, options, placement, first, pipeline, &mut producer);
    }
    if producer.feeds.is_empty() {
        // Without loops, the tiles of the next grid point are loaded while this one is computed.
        producer.rings[ONCE].stages = options.stages.clamp(2, 4);
    }
    for stmt in &kernel.body {
        if let Some(copy) = single(kernel, options, placement, stmt) {
            producer.add(&[stmt as Key], copy, ONCE, kernel);
        }
    }
    (!producer.feeds.is_empty()).then_some(producer)
}

/// The loads of one chain of loops that bulk copies can move.
fn ring(
    kernel: &Kernel,
    options: &Options,
    placement: &Placement,
    first: &Stmt,
    pipeline: &Pipeline,
    producer: &mut Producer,
) {
    let ring = producer.rings.len();
    let mut found = false;
    for n in 0..pipeline.groups.len() {
        let keys: Vec<Key> = pipeline.loads.iter().map(|loads| loads[n]).collect();
        let copies: Option<Vec<BulkCopy>> = keys
            .iter()
            .map(|key| bulk(kernel, options, placement, statement(kernel, *key)?))
            .collect();
        // The loops of a chain share the memory, so they must fill it alike.
        if let Some(copies) = copies
            && let Some(copy) = copies.first()
            && copies.iter().all(|c| c == copy)
        {
            producer.add(&keys, copy.clone(), ring, kernel);
            found = true;
        }
    }
    if found {
        producer.rings.push(Ring {
            stages: pipeline.stages,
        });
        let start = first as Key;
        visit::bodies(&kernel.body, &mut |body| {
            if let Some(n) = body.iter().position(|s| std::ptr::eq(s, start)) {
                let chain = body[n..n + pipeline.length].iter();
                producer.of_loop.extend(chain.map(|s| (s as Key, ring)));
            }
        });
    }
}

impl Producer {
    fn add(&mut self, keys: &[Key], copy: BulkCopy, ring: usize, kernel: &Kernel) {
        let feed = self.feeds.len();
        for key in keys {
            self.of_load.insert(*key, feed);
            if let Some(dst) = statement(kernel, *key).and_then(visit::written) {
                self.of_buf.insert(visit::index(dst.buf), feed);
            }
        }
        self.feeds.push(Feed {
            copy,
            slot: usize::MAX,
            ring,
            barriers: usize::MAX,
        });
    }

    /// Stages of a buffer that is fed once for each grid point.
    pub fn stages_of(&self, buf: usize) -> Option<usize> {
        let feed = &self.feeds[*self.of_buf.get(&buf)?];
        Some(self.rings[feed.ring].stages as usize)
    }

    /// Takes over where shared memory was given out, and puts the mbarriers behind it. Returns its new size.
    pub fn settle(&mut self, storage: &[Option<Storage>], shared_bytes: usize) -> usize {
        for (buf, feed) in &self.of_buf {
            if let Some(storage) = &storage[*buf] {
                self.feeds[*feed].slot = storage.slot;
            }
        }
        let mut at = shared_bytes.next_multiple_of(STAGE_BARRIERS);
        for feed in &mut self.feeds {
            feed.barriers = at;
            at += STAGE_BARRIERS * self.rings[feed.ring].stages as usize;
        }
        at
    }
}

fn statement(kernel: &Kernel, key: Key) -> Option<&Stmt> {
    let mut found = None;
    visit::each(&kernel.body, &mut |stmt| {
        if std::ptr::eq(stmt, key) {
            found = Some(stmt);
        }
    });
    found
}

/// A load outside of loops whose tile nothing else writes.
fn single(
    kernel: &Kernel,
    options: &Options,
    placement: &Placement,
    stmt: &Stmt,
) -> Option<BulkCopy> {
    let dst = match stmt {
        Stmt::Load { dst, .. } => dst,
        _ => return None,
    };
    let mut writers = 0;
    visit::each(&kernel.body, &mut |s| {
        writers += usize::from(visit::written(s).is_some_and(|d| d.buf == dst.buf));
    });
    if writers != 1 {
        return None;
    }
    bulk(kernel, options, placement, stmt)
}

/// The bulk copy that makes a load, if there is one: whole boxes of an input, laid down as its tile lies.
fn bulk(
    kernel: &Kernel,
    options: &Options,
    placement: &Placement,
    stmt: &Stmt,
) -> Option<BulkCopy> {
    let Stmt::Load {
        axes,
        dst,
        tensor,
        index,
    } = stmt
    else {
        return None;
    };
    let storage = placement.storage[visit::index(dst.buf)].as_ref()?;
    let declared = kernel.tensors.iter().find(|t| t.name == *tensor)?;
    let copied = matches!(declared.dtype, DType::F32 | DType::Bf16 | DType::F16)
        && declared.usage != Usage::Out
        && visit::only_read(kernel, tensor)
        && declared.unit_inner
        && options.aligned.contains(tensor)
        && storage.elem == Elem::of(declared.dtype)
        && !storage.split
        && index.len() <= 5;
    if !copied {
        return None;
    }
    let extents: HashMap<&Name, usize> = axes.iter().map(|a| (&a.name, a.extent)).collect();
    // The local axes in the order of the tensor's dimensions, and the box over all of them.
    let (mut order, mut box_) = (vec![], vec![]);
    for ix in index {
        let LoadIx::Ix(ix) = ix else { return None };
        let mut locals = ix.axes().into_iter().filter(|n| extents.contains_key(n));
        let Some(axis) = locals.next() else {
            box_.push(1);
            continue;
        };
        let affine = ix.affine()?;
        if locals.next().is_some() || affine.coefficient(&axis) != Ix::Const(1) {
            return None;
        }
        box_.push(*extents.get(&axis)?);
        order.push(axis);
    }
    // The tile's rows follow each other as the tensor's do, and its contiguous dimension is the tensor's.
    let places = visit::plain(dst).filter(|p| !p.is_empty())?;
    let whole = places
        .iter()
        .zip(&storage.shape)
        .all(|(axis, n)| extents.get(axis) == Some(n));
    let mut rows = places.clone();
    rows.push(rows[storage.inner].clone());
    rows.remove(storage.inner);
    let contiguous = index.last().is_some_and(
        |ix| matches!(ix, LoadIx::Ix(ix) if ix.axes().contains(&places[storage.inner])),
    );
    if !whole || rows != order || axes.len() != order.len() || !contiguous {
        return None;
    }
    let swizzle = hardware_swizzle(storage)?;
    let panel_elems = storage.pitch / storage.elem.bytes();
    *box_.last_mut()? = panel_elems;
    let panel_bytes = storage.rows() * storage.pitch;
    let fits = box_.iter().all(|n| *n <= LARGEST_BOX && *n > 0)
        && storage.pitch.is_multiple_of(16)
        && (storage.panels == 1 || panel_bytes.is_multiple_of(COPY_ALIGNMENT))
        // Where the pattern depends on the address, every panel begins where it repeats.
        && (swizzle == HardwareSwizzle::None
            || (panel_bytes.is_multiple_of(swizzle.repeat() as usize)
                && storage.bytes() >= SWIZZLE_REPEAT));
    fits.then(|| BulkCopy {
        map: BulkMap {
            tensor: tensor.clone(),
            box_: box_.iter().rev().map(|n| *n as u32).collect(),
            swizzle,
        },
        panels: storage.panels,
        panel_elems,
        panel_bytes,
    })
}

/// The mode of the hardware that lays a tile down as it is addressed.
fn hardware_swizzle(storage: &Storage) -> Option<HardwareSwizzle> {
    if storage.mask == 0 {
        return Some(HardwareSwizzle::None);
    }
    HardwareSwizzle::ALL.into_iter().find(|mode| {
        let swizzle = mode.swizzle();
        *mode != HardwareSwizzle::None
            && swizzle.pitch as usize == storage.pitch
            && swizzle.shift == storage.shift
            && swizzle.mask == storage.mask
    })
}
