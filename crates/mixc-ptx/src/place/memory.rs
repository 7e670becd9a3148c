//! Gives out shared memory by lifetime.

use super::{Home, Placement, Slot};
use crate::spread;
use crate::visit::{self, Key};
use mixc_layout::WARP;
use mixc_tile::{Kernel, Stmt};
use std::collections::{HashMap, HashSet};

/// Bytes after which the widest swizzle of the hardware repeats; slots of at least this size begin at a multiple of it.
pub(super) const SWIZZLE_REPEAT: usize = 1024;

/// Positions of statements in program order, and the loops around them.
struct Timeline {
    /// By slot: every access as (position, is it a whole write).
    accesses: Vec<Vec<(usize, bool)>>,
    loops: Vec<(usize, usize)>,
}

pub(crate) fn allocate(kernel: &Kernel, placement: &mut Placement) {
    make_slots(kernel, placement);
    let timeline = Timeline::of(kernel, placement);
    let fed = fed_slots(placement);
    let lifetimes: Vec<(usize, usize)> = (0..placement.slots.len())
        .map(|n| match fed.contains(&n) {
            // A producer may be anywhere ahead.
            true => (0, usize::MAX),
            false => timeline.lifetime(n),
        })
        .collect();
    let mut order: Vec<usize> = (0..placement.slots.len()).collect();
    // Large slots first, at multiples of what swizzles repeat after.
    let size = |slot: &Slot| {
        let bytes = slot.bytes * slot.stages;
        bytes.next_multiple_of(if bytes < SWIZZLE_REPEAT {
            128
        } else {
            SWIZZLE_REPEAT
        })
    };
    order.sort_by_key(|n| (std::cmp::Reverse(size(&placement.slots[*n])), *n));
    let mut placed: Vec<usize> = vec![];
    for n in order {
        let bytes = size(&placement.slots[n]);
        let (first, last) = lifetimes[n];
        let mut taken: Vec<(usize, usize)> = placed
            .iter()
            .filter(|p| lifetimes[**p].0 <= last && first <= lifetimes[**p].1)
            .map(|p| {
                let at = placement.slots[*p].offset;
                (at, at + size(&placement.slots[*p]))
            })
            .collect();
        taken.sort_unstable();
        let offset = taken.iter().fold(
            0,
            |at, (lo, hi)| if at + bytes <= *lo { at } else { at.max(*hi) },
        );
        placement.slots[n].offset = offset;
        placement.shared_bytes = placement.shared_bytes.max(offset + bytes);
        placed.push(n);
    }
}

/// The slots that a producer fills.
fn fed_slots(placement: &Placement) -> HashSet<usize> {
    let fed = placement.producer.iter().flat_map(|p| p.of_buf.keys());
    fed.filter_map(|buf| Some(placement.storage[*buf].as_ref()?.slot))
        .collect()
}

/// One slot for each buffer, one for all buffers that a chain of loops prefetches into with the same load, and
/// scratch for reductions across warps.
fn make_slots(kernel: &Kernel, placement: &mut Placement) {
    let mut shared: HashMap<usize, usize> = HashMap::new();
    let mut stmts = vec![];
    visit::each(&kernel.body, &mut |stmt| stmts.push(stmt));
    // In the order of the program, so that the same kernel always comes out.
    let pipelines = stmts.iter().map(|stmt| *stmt as Key);
    for pipeline in pipelines.filter_map(|key| placement.pipelines.get(&key)) {
        for group in &pipeline.groups {
            let slot = placement.slots.len();
            let bytes = group
                .iter()
                .filter_map(|buf| placement.storage[*buf].as_ref())
                .map(|s| s.bytes())
                .max();
            let stages = pipeline.stages as usize;
            placement
                .slots
                .push(Slot::of_stages(bytes.unwrap_or(0), stages));
            shared.extend(group.iter().map(|buf| (*buf, slot)));
        }
    }
    for (buf, storage) in placement.storage.iter_mut().enumerate() {
        let Some(storage) = storage else { continue };
        storage.slot = match shared.get(&buf) {
            Some(slot) => *slot,
            None => {
                let producer = placement.producer.as_ref();
                placement
                    .slots
                    .push(match producer.and_then(|p| p.stages_of(buf)) {
                        Some(stages) => Slot::of_stages(storage.bytes(), stages),
                        None => Slot {
                            bytes: storage.bytes(),
                            stages: 1,
                            offset: 0,
                        },
                    });
                placement.slots.len() - 1
            }
        };
    }
    for stmt in stmts {
        let (Stmt::Reduce { dst, .. } | Stmt::Contract { dst, .. }) = stmt else {
            continue;
        };
        if placement.products.contains_key(&(stmt as Key)) {
            continue;
        }
        let layout = &placement.layouts[&(stmt as Key)];
        let kept = visit::plain_axes(dst);
        let split = (0..layout.in_bits(WARP)).any(|bit| {
            let basis = layout.basis(WARP, bit);
            layout
                .outs()
                .zip(basis)
                .any(|((name, _), v)| v != 0 && !kept.iter().any(|k| **k == *name))
        });
        if split {
            let elements = spread::registers(layout) as usize * 32;
            placement.slots.push(Slot {
                bytes: (elements * 4) << placement.warp_bits,
                stages: 1,
                offset: 0,
            });
            placement
                .scratch
                .insert(stmt as Key, placement.slots.len() - 1);
        }
    }
}

impl Slot {
    /// Every stage begins at a place that suits a swizzle.
    fn of_stages(bytes: usize, stages: usize) -> Slot {
        let bytes = match bytes {
            small if small < SWIZZLE_REPEAT => small.next_multiple_of(128),
            large => large.next_multiple_of(SWIZZLE_REPEAT),
        };
        Slot {
            bytes,
            stages,
            offset: 0,
        }
    }
}

impl Timeline {
    fn of(kernel: &Kernel, placement: &Placement) -> Timeline {
        let mut timeline = Timeline {
            accesses: vec![vec![]; placement.slots.len()],
            loops: vec![],
        };
        let mut at = 0;
        timeline.walk(&kernel.body, placement, &mut at);
        timeline
    }

    fn walk(&mut self, body: &[Stmt], placement: &Placement, at: &mut usize) {
        for stmt in body {
            *at += 1;
            match stmt {
                Stmt::For { body, .. } => {
                    let start = *at;
                    if let Some(pipeline) = placement.pipelines.get(&(stmt as Key)) {
                        // Prefetches begin before the loop; the position of the loop stands for them.
                        self.touch_groups(pipeline, placement, start);
                    }
                    self.walk(body, placement, at);
                    *at += 1;
                    self.loops.push((start, *at));
                }
                Stmt::If {
                    then, otherwise, ..
                } => {
                    self.walk(then, placement, at);
                    self.walk(otherwise, placement, at);
                }
                _ => self.touch(stmt, placement, *at),
            }
        }
    }

    fn touch_groups(&mut self, pipeline: &super::Pipeline, placement: &Placement, at: usize) {
        for buf in pipeline.groups.iter().flatten() {
            if let Some(storage) = &placement.storage[*buf] {
                self.accesses[storage.slot].push((at, false));
            }
        }
    }

    fn touch(&mut self, stmt: &Stmt, placement: &Placement, at: usize) {
        for access in visit::reads(stmt) {
            self.record(visit::index(access.buf), placement, at, false);
        }
        if let Some(dst) = visit::written(stmt) {
            let whole = !visit::accumulates(stmt) && visit::plain(dst).is_some();
            // A buffer in registers keeps its value from one turn to the next without shared memory, but its copy
            // may be read at any time.
            let in_registers = matches!(placement.homes[visit::index(dst.buf)], Home::Registers(_));
            self.record(visit::index(dst.buf), placement, at, whole && !in_registers);
        }
        if let Some(slot) = placement.scratch.get(&(stmt as Key)) {
            self.accesses[*slot].push((at, true));
        }
    }

    fn record(&mut self, buf: usize, placement: &Placement, at: usize, whole: bool) {
        if let Some(storage) = &placement.storage[buf] {
            self.accesses[storage.slot].push((at, whole));
        }
    }

    /// First and last position at which a slot may hold something. A value that enters a loop, or is
    /// read in it before it is written, lives as long as the loop.
    fn lifetime(&self, slot: usize) -> (usize, usize) {
        let accesses = &self.accesses[slot];
        let (Some((mut first, written)), Some((mut last, _))) =
            (accesses.first().copied(), accesses.last().copied())
        else {
            return (0, 0);
        };
        loop {
            let before = (first, last);
            for (start, end) in &self.loops {
                let inside = |at: usize| *start <= at && at <= *end;
                let any = accesses.iter().any(|(at, _)| inside(*at));
                let local = inside(first) && inside(last) && first > *start && written;
                if any && !local {
                    first = first.min(*start);
                    last = last.max(*end);
                }
            }
            if (first, last) == before {
                return before;
            }
        }
    }
}
