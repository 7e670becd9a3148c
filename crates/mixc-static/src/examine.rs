//! From a form to the rows of its kernels.

use crate::chip::{self, Rates};
use crate::classes::classify;
use crate::row::{rounded, rounded_share};
use crate::tools::{Code, CodeLoop};
use crate::{
    Class, Hot, Machine, MatrixUnit, Problem, Row, Share, Table, TileLoop, Tools, cycles, ideal,
    text_hash, tile_loops,
};
use mixc::gpu::{self, Lowered};
use mixc::{Choices, Form, Job};
use mixc_ir::DType;
use mixc_nvtools::{Footprint, Limits, occupancy};
use mixc_ptx::{Room, Target};
use mixc_schedule::Schedule;
use mixc_tile::Kernel;
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Makes rows of forms.
pub struct Examiner<'a> {
    tools: &'a Tools,
    versions: String,
    known: &'a Table,
    choices: &'a Choices,
    assembles: bool,
    reused: AtomicUsize,
}

impl<'a> Examiner<'a> {
    /// `known` is asked before anything is assembled.
    pub fn new(tools: &'a Tools, known: &'a Table, choices: &'a Choices) -> Examiner<'a> {
        Examiner {
            versions: tools.versions(),
            reused: AtomicUsize::new(0),
            tools,
            known,
            choices,
            assembles: true,
        }
    }

    /// The same, but what is not known stays without machine code.
    pub fn only_lowering(self) -> Examiner<'a> {
        Examiner {
            assembles: false,
            ..self
        }
    }

    /// Kernels so far whose machine code was known.
    pub fn reused(&self) -> usize {
        self.reused.load(Ordering::Relaxed)
    }

    /// The rows of a form's kernels; one row with an error if it has none.
    pub fn rows(&self, problem: &Problem, form: &Form, job: &Job, target: Target) -> Vec<Row> {
        let blank = Row {
            mixer: problem.mixer.clone(),
            form: form.name.clone(),
            shape: problem.shape(),
            target: target.to_string(),
            dtype: job.dtype.name().to_owned(),
            ..Row::default()
        };
        let fitted = match gpu::fit(form, job, target, self.choices) {
            Ok(fitted) => fitted,
            Err(e) => {
                return vec![Row {
                    error: Some(format!("lowering: {e}")),
                    ..blank
                }];
            }
        };
        let row = |(index, lowered): (usize, &Lowered)| {
            let kernel = &fitted.schedule.kernels[index];
            let row = Row {
                index,
                kernel: kernel.name.clone(),
                template: template(&fitted.schedule, index),
                knobs: fitted.schedule.knobs.clone(),
                hash: text_hash(lowered),
                tools: self.versions.clone(),
                products: MatrixUnit::asked_for(&lowered.kernel.mlir),
                ..blank.clone()
            };
            self.with_machine(row, kernel, lowered, job)
        };
        fitted.kernels.par_iter().enumerate().map(row).collect()
    }

    /// The row with its machine code: what is known of it, else what the tools make now.
    fn with_machine(&self, row: Row, kernel: &Kernel, lowered: &Lowered, job: &Job) -> Row {
        if let Some(known) = self.known.known(&row) {
            self.reused.fetch_add(1, Ordering::Relaxed);
            return Row {
                machine: Some(known.clone()),
                ..row
            };
        }
        if !self.assembles {
            return row;
        }
        let code = |l: &Lowered| self.tools.code(&l.kernel, &text_hash(l));
        let spilled = |l: &Lowered| {
            let code = code(l);
            Some(code.as_ref().as_ref().ok()?.stats.spilled())
        };
        let settled = gpu::settle(kernel, lowered.clone(), &mut { spilled });
        let (error, machine) = match code(&settled).as_ref() {
            Ok(code) => (None, Some(machine(kernel, &settled, code, job))),
            Err(e) => (Some(e.clone()), None),
        };
        Row {
            error,
            machine,
            ..row
        }
    }
}

/// The template of a kernel, or those of the whole sequence if it is not known which is whose.
fn template(schedule: &Schedule, index: usize) -> String {
    let names: Vec<&str> = schedule.template.split('+').collect();
    let own = (names.len() == schedule.kernels.len()).then(|| names[index]);
    own.unwrap_or(&schedule.template).to_owned()
}

fn machine(kernel: &Kernel, lowered: &Lowered, code: &Code, job: &Job) -> Machine {
    let target = lowered.kernel.target;
    let (threads, shared) = (lowered.kernel.threads, lowered.kernel.shared_bytes);
    let footprint = Footprint {
        threads,
        registers: code.stats.registers,
        shared: shared + code.stats.shared_static,
    };
    let held = Limits::of(target.chip()).map(|limits| occupancy(limits, &footprint));
    let in_units = code.counts.opcodes().filter(|(opcode, _)| {
        matches!(
            classify(opcode),
            Class::Matrix | Class::Ldsm | Class::Copy | Class::Local
        )
    });
    let loops = tile_loops(kernel, &job.sizes);
    let found = Matched::find(&loops, code, threads / 32);
    let rates = chip::rates(target);
    let room = lowered.options.room;
    Machine {
        threads,
        stages: lowered.options.stages,
        room: (room != Room::default()).then(|| room.to_string()),
        registers: code.stats.registers,
        shared: footprint.shared,
        stack: code.stats.stack,
        spill_stores: code.stats.spill_stores,
        spill_loads: code.stats.spill_loads,
        blocks: held.map_or(0, |o| o.blocks),
        warps: held.map_or(0, |o| o.warps),
        bound: held.map_or(String::new(), |o| format!("{:?}", o.bound).to_lowercase()),
        findings: code.findings.iter().map(|f| f.text.clone()).collect(),
        externs: code.externs.clone(),
        units: in_units.map(|(o, n)| (o.to_owned(), n)).collect(),
        instructions: code.counts.total(),
        hot: hot(kernel, lowered, code, found.as_ref(), rates.as_ref()),
        share: rates
            .and_then(|rates| share(kernel, &loops, found.as_ref(), job, threads / 32, &rates)),
    }
}

/// The loop of the tile kernel that does most of its products, and the loops of the machine code that do the same
/// products: the first is the one with the fewest instructions, the last the one with the most. Tiles that a mask
/// cuts take the latter, all others the former.
struct Matched<'a> {
    tile: &'a TileLoop,
    unmasked: &'a CodeLoop,
    masked: &'a CodeLoop,
    /// Turns of the tile loop in one turn of the machine's.
    unrolled: usize,
}

impl<'a> Matched<'a> {
    fn find(loops: &'a [TileLoop], code: &'a Code, warps: u32) -> Option<Matched<'a>> {
        let work = |l: &&TileLoop| l.turns.saturating_mul(l.turn.contract_fmas);
        let tile = loops.iter().max_by_key(work)?;
        let fitting = code.loops.iter().filter(|l| l.innermost == tile.is_flat);
        let mut fitting: Vec<&CodeLoop> = fitting.filter(|l| products(&l.counts) > 0.0).collect();
        fitting.sort_by_key(|l| l.counts.total());
        let unmasked = *fitting.first()?;
        fitting.retain(|l| products(&l.counts) == products(&unmasked.counts));
        let turns = products(&unmasked.counts) * f64::from(warps) / tile.turn.contract_fmas as f64;
        Some(Matched {
            tile,
            unmasked,
            masked: fitting.last().copied().unwrap_or(unmasked),
            // Padding makes it more than a whole number, products outside of the matrix unit less.
            unrolled: (turns.floor() as usize).max(1),
        })
    }

    fn is_flat(&self) -> bool {
        self.tile.is_flat
    }
}

/// Multiply-adds of one warp's matrix instructions, those of f32 factors counted once though they take three.
fn products(counts: &mixc_nvtools::sass::Counts) -> f64 {
    let each = counts.opcodes().filter_map(|(opcode, n)| {
        let (fmas, tf32) = chip::matrix_fmas(opcode)?;
        Some(fmas * n as f64 / if tf32 { 3.0 } else { 1.0 })
    });
    each.sum()
}

fn hot(
    kernel: &Kernel,
    lowered: &Lowered,
    code: &Code,
    found: Option<&Matched>,
    rates: Option<&Rates>,
) -> Option<Hot> {
    let innermost = code.loops.iter().filter(|l| l.innermost);
    let target = lowered.kernel.target;
    let warps = lowered.kernel.threads / 32;
    let longest = innermost.max_by_key(|l| (products(&l.counts) as u64, l.counts.total()));
    let counts = &found.map(|f| f.unmasked).or(longest)?.counts;
    let mut classes: BTreeMap<Class, usize> = BTreeMap::new();
    for (opcode, n) in counts.opcodes() {
        *classes.entry(classify(opcode)).or_default() += n;
    }
    let flat = found.filter(|f| f.is_flat());
    let least = flat.map(|f| ideal(kernel, &f.tile.body, &f.tile.turn, warps, target));
    let unrolled = flat.map(|f| f.unrolled);
    let each = counts.total() as f64 / unrolled.unwrap_or(1) as f64;
    Some(Hot {
        instructions: counts.total(),
        classes,
        unrolled,
        ideal: least.map(|i| i.rounded()),
        ratio: least.map(|i| rounded(each / i.total())),
        prediction: flat
            .zip(rates)
            .map(|(f, rates)| cycles(counts, warps, f.unrolled, rates)),
    })
}

/// The executed products of all loops over the time that their turns should take. The code around the loops, and
/// waiting, are left out.
fn share(
    kernel: &Kernel,
    loops: &[TileLoop],
    found: Option<&Matched>,
    job: &Job,
    warps: u32,
    rates: &Rates,
) -> Option<Share> {
    let found = found.filter(|f| f.is_flat())?;
    let half = kernel
        .tensors
        .iter()
        .any(|t| matches!(t.dtype, DType::Bf16 | DType::F16));
    let peak = rates.half_fmas * if half { 1.0 } else { 0.5 };
    let hot = cycles(&found.unmasked.counts, warps, found.unrolled, rates);
    let masked = cycles(&found.masked.counts, warps, found.unrolled, rates);
    let (mut fmas, mut overlapped, mut in_turns) = (0.0, 0.0, 0.0);
    for l in loops {
        let time = if l == found.tile { &hot } else { &masked };
        fmas += l.turns as f64 * l.turn.contract_fmas as f64;
        overlapped += l.turns as f64 * time.overlapped;
        in_turns += l.turns as f64 * time.in_turns;
    }
    let extents = kernel.grid.iter().map(|g| g.extent.eval_sizes(&job.sizes));
    let blocks = extents.product::<Option<i64>>()?;
    (fmas > 0.0).then(|| Share {
        overlapped: rounded_share(fmas / (overlapped * peak)),
        in_turns: rounded_share(fmas / (in_turns * peak)),
        blocks_per_multiprocessor: rounded(blocks as f64 / f64::from(rates.multiprocessors)),
    })
}
