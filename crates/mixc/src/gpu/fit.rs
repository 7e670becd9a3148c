//! Schedules that fit an architecture: fewer tiles in flight, then smaller tiles, until shared memory holds them.

use super::model;
use crate::execute::schedule_form;
use crate::{Choices, Error, Form, Job};
use mixc_ir::DType;
use mixc_ptx::{LowerError, Options, PtxKernel, Room, Target, live_elements, suggested_warps};
use mixc_schedule::Schedule;
use mixc_tile::visit::each;
use mixc_tile::{Kernel, Stmt, TensorArg, Usage};
use std::collections::{BTreeMap, BTreeSet};

/// A schedule whose kernels an architecture can hold, and their MLIR.
#[derive(Clone, Debug)]
pub struct Fitted {
    pub schedule: Schedule,
    /// In the order of the schedule's kernels.
    pub kernels: Vec<Lowered>,
}

/// A kernel as MLIR.
#[derive(Clone, Debug, PartialEq)]
pub struct Lowered {
    pub kernel: PtxKernel,
    pub options: Options,
}

/// Columns of a recurrent state in one tile: the others go to other processors. Half as many on multiprocessors with
/// half of the shared memory.
const COLS: i64 = 64;
const STAGES: i64 = 2;
const ALONE_STAGES: u32 = 4;
/// Blocks of a multiprocessor that wait for their loads at the same time; more hide each other's waits.
const MOST_AT_ONCE: usize = 4;
/// Tiles of two warpgroups: 64 rows each, and a block of the streamed axis that keeps the matrix unit busy for as long as
/// the other one takes for its elementwise work (Shah et al. 2024, arXiv 2407.08608, section 3.3).
const WARPGROUP_TILE: [(&str, i64); 2] = [("rows", 128), ("stream", 128)];
/// Tiles of warps with 32 rows each, so that what a warp reads of keys and values serves two instructions: with 16 rows,
/// reads of shared memory take longer than the products (Dao 2023, arXiv 2307.08691, has the same tiles).
const TALL_TILE: [(&str, i64); 2] = [("rows", 128), ("stream", 64)];
const TALL_WARPS: u32 = 4;
/// Blocks of such tiles for each multiprocessor: fewer leave some without work.
const TALL_BLOCKS: usize = 2;
/// Registers of a thread for the results of products that live at a time, with warpgroups and without: factors, weights
/// and addresses need the others.
const RESULT_REGISTERS: [usize; 2] = [160, 112];
/// The same in tall tiles, whose factors serve two instructions.
const TALL_REGISTERS: usize = 160;
/// The same where other tiles are computed beside them: those have operands of their own.
const REGISTERS_BESIDE: [usize; 2] = [112, 96];
/// A streamed block is not made shorter than this for them, and where that is not enough, it is this long.
const SHORTEST_STREAM: i64 = 32;
const LONG_STREAM: i64 = 64;
/// Chunks of a kernel that keeps its state and computes scores by halves: longer ones leave too few registers for it.
const CHUNK_OF_HALVES: i64 = 32;
/// The knob of the longest summed axis that a scan as written keeps whole, and the template that it is for.
const WHOLE: &str = "whole";
const SEQUENTIAL: &str = "sequential";
/// The template that [`WARPGROUP_TILE`] and [`TALL_TILE`] are for, and its knob for the length of parts.
const STREAMING: &str = "streaming";
const PARTS: &str = "S";

fn columns(target: Target) -> i64 {
    match target {
        Target::Sm89 => COLS / 2,
        _ => COLS,
    }
}

/// Whether the matrix unit waits for shared memory where a factor that a warp has read serves one instruction: 256 bytes
/// for 2048 multiply-adds, and a multiprocessor reads 128 bytes a clock.
fn waits_for_factors(target: Target) -> bool {
    // At 1024 multiply-adds a clock that is all of them. The multiprocessors of 8.9 have half of the matrix unit, those
    // of 9.0 their warpgroups.
    matches!(target, Target::Sm80 | Target::Sm100a)
}

fn is_half(job: &Job) -> bool {
    matches!(job.dtype, DType::Bf16 | DType::F16)
}

/// The schedule of a form for `job`, and the MLIR of its kernels. What `choices` names stays as it is; of the rest,
/// tiles in flight are given up first and then the larger side of a tile is halved, until every block's shared
/// memory is enough. The result depends on nothing but the arguments.
///
/// # Errors
/// [`Error::Schedule`] if the form has no kernels; [`Error::Lower`] if one of them has no MLIR or fits with no tile.
pub fn fit(form: &Form, job: &Job, target: Target, choices: &Choices) -> Result<Fitted, Error> {
    let job = &job.with_small_integers()?;
    let mut knobs = choices.knobs.clone();
    let (mut warps, stages) = (knobs.remove("warps"), knobs.remove("stages"));
    let producer = knobs.remove("producer");
    let alternate = knobs.remove("alternate") == Some(1);
    let mut asked: BTreeSet<String> = knobs.keys().cloned().collect();
    // The length of a streamed block before it was shortened for the registers.
    let mut roomy: Option<i64> = None;
    let cols = columns(target);
    knobs.entry("cols".to_owned()).or_insert(cols);
    let mut schedule = schedule_form(form, job, &knobs, true)?;
    let in_loop = |k: &Kernel| {
        k.body
            .iter()
            .any(|s| matches!(s, Stmt::For { body, .. } if halves(body)))
    };
    if schedule.kernels.iter().any(in_loop) {
        knobs.entry("C".to_owned()).or_insert(CHUNK_OF_HALVES);
        schedule = schedule_form(form, job, &knobs, true)?;
    }
    let by_halves = schedule.kernels.iter().any(|k| halves(&k.body));
    let wide = schedule.template.contains(STREAMING) && !by_halves;
    if target == Target::Sm90a && is_half(job) && wide {
        for (name, value) in WARPGROUP_TILE {
            knobs.entry(name.to_owned()).or_insert(value);
        }
        schedule = schedule_form(form, job, &knobs, true)?;
    }
    if schedule.knobs.get("pack") == Some(&1) && !asked.contains("pack") {
        knobs.insert("pack".to_owned(), SHORT);
        schedule = schedule_form(form, job, &knobs, true)?;
    }
    if waits_for_factors(target) && is_half(job) && wide && warps.is_none() {
        let options = options(target, choices, TALL_WARPS, stages);
        if let Some(tall) = tall_schedule(form, job, &knobs, &options)? {
            for (name, _) in TALL_TILE {
                asked.insert(name.to_owned());
                knobs.insert(name.to_owned(), tall.knobs[name]);
            }
            warps = Some(i64::from(TALL_WARPS));
            schedule = tall;
        }
    }
    let start = knobs.clone();
    loop {
        let lowered = schedule.kernels.iter().map(|kernel| {
            let mut options = Options {
                aligned: aligned(kernel, job),
                producer: producer != Some(0),
                alternate,
                ..options(target, choices, 4, stages)
            };
            options.warps = match warps {
                Some(warps) => warps as u32,
                None => suggested_warps(kernel, &options),
            };
            let lowered = lower(kernel, options.clone(), stages.is_some())?;
            let alone = lowered.kernel.persistent == Some(1);
            // One warpgroup on a multiprocessor is enough only where there are no more blocks: else two of them without a
            // producer are faster than one with it.
            let points = points(&lowered.kernel, job);
            let few = points <= model::card(target).multiprocessors as usize;
            if alone && lowered.kernel.warps == 4 && !few && producer.is_none() {
                options.producer = false;
                return lower(kernel, options, stages.is_some());
            }
            // Blocks that all run at once load as far ahead as their memory goes.
            if (alone || run_at_once(&lowered.kernel, points)) && stages.is_none() {
                options.stages = ALONE_STAGES;
                return lower(kernel, options, false);
            }
            Ok(lowered)
        });
        let lowered: Result<Vec<Lowered>, LowerError> = lowered.collect();
        match lowered {
            Ok(kernels) => {
                let fitted = Fitted { schedule, kernels };
                let idles = fitted.idles(job) && !asked.contains("cols");
                let crowded = is_half(job) && fitted.is_crowded() && !asked.contains("stream");
                let columns = idles.then(|| fitted.halved("cols", cols / 2)).flatten();
                let shorter = fitted.halved("stream", SHORTEST_STREAM);
                let (name, value) = match (columns, shorter, roomy) {
                    (Some(narrower), ..) => narrower,
                    _ if !crowded => return Ok(fitted),
                    (None, Some(shorter), _) => {
                        roomy = roomy.or(fitted.schedule.knobs.get("stream").copied());
                        shorter
                    }
                    // What does not help is taken back: the accumulators alone fill the registers.
                    (None, None, Some(length)) => {
                        asked.insert("stream".to_owned());
                        ("stream", length.min(LONG_STREAM))
                    }
                    (None, None, None) => return Ok(fitted),
                };
                knobs.insert(name.to_owned(), value);
                schedule = schedule_form(form, job, &knobs, true)?;
            }
            Err(e @ LowerError::SharedMemory { .. }) => {
                let next = smaller(&schedule.template, &schedule.knobs, &asked);
                let packs = schedule.knobs.get("pack") == Some(&0) && !asked.contains("pack");
                let (name, value) = match next {
                    Some(next) => next,
                    // With nothing but single positions, tiles of heads and channels are all that is left.
                    None if packs => {
                        asked.insert("pack".to_owned());
                        knobs = start.clone();
                        ("pack".to_owned(), 1)
                    }
                    None => return Err(e.into()),
                };
                tracing::debug!(form = form.name, %target, name, value, "smaller tiles");
                knobs.insert(name, value);
                schedule = schedule_form(form, job, &knobs, true)?;
            }
            Err(e) => return Err(e.into()),
        }
    }
}

fn options(target: Target, choices: &Choices, warps: u32, stages: Option<i64>) -> Options {
    Options {
        target,
        precision: choices.precision.unwrap_or_default(),
        warps,
        stages: stages.unwrap_or(STAGES).max(1) as u32,
        aligned: BTreeSet::new(),
        producer: true,
        alternate: false,
        room: Room::default(),
    }
}

/// The schedule with the longest [`TALL_TILE`] with which the kernels of a form keep everything in registers and a
/// multiprocessor holds and gets several blocks; none if there is no such tile, or another one was asked for.
fn tall_schedule(
    form: &Form,
    job: &Job,
    knobs: &BTreeMap<String, i64>,
    options: &Options,
) -> Result<Option<Schedule>, Error> {
    if TALL_TILE.iter().any(|(name, _)| knobs.contains_key(*name)) {
        return Ok(None);
    }
    let mut knobs = knobs.clone();
    knobs.extend(TALL_TILE.map(|(name, value)| (name.to_owned(), value)));
    let threads = 32 * TALL_WARPS as usize;
    let target = options.target;
    let blocks = TALL_BLOCKS * model::card(target).multiprocessors as usize;
    let memory = target.limits().shared_per_sm as usize / TALL_BLOCKS;
    while knobs["stream"] >= SHORTEST_STREAM {
        let schedule = schedule_form(form, job, &knobs, true)?;
        // Other templates hold more in registers, and parts of a long axis are for grids with few blocks.
        if schedule.template != STREAMING || schedule.knobs.contains_key(PARTS) {
            return Ok(None);
        }
        let fits = |kernel: &Kernel| {
            let (results, beside) = live_elements(kernel);
            if results > TALL_REGISTERS * threads || (results > 0 && beside > 0) {
                return false;
            }
            let options = Options {
                aligned: aligned(kernel, job),
                ..options.clone()
            };
            let lowered = mixc_ptx::lower(kernel, &options);
            let full =
                |k: &PtxKernel| points(k, job) >= blocks && k.shared_bytes as usize <= memory;
            lowered.is_ok_and(|k| results == 0 || full(&k))
        };
        if schedule.kernels.iter().all(fits) {
            return Ok(Some(schedule));
        }
        knobs.insert("stream".to_owned(), knobs["stream"] / 2);
    }
    Ok(None)
}

impl Fitted {
    /// Whether lone warpgroups leave half of the card idle, which could share their columns with others.
    fn idles(&self, job: &Job) -> bool {
        let idle = |k: &Lowered| {
            let lone = k.kernel.persistent == Some(1) && k.kernel.warps == 4;
            let card = model::card(k.kernel.target).multiprocessors as usize;
            lone && points(&k.kernel, job).saturating_mul(2) <= card
        };
        self.kernels.iter().any(idle)
    }

    /// Whether what a streaming kernel holds in registers leaves too few for the rest.
    fn is_crowded(&self) -> bool {
        let crowded = |(kernel, lowered): (&Kernel, &Lowered)| {
            let (results, beside) = live_elements(kernel);
            let registers = match beside {
                0 => RESULT_REGISTERS,
                _ => REGISTERS_BESIDE,
            };
            let registers = registers[usize::from(!lowered.kernel.warpgroups)];
            results + beside > registers * 32 * lowered.kernel.warps as usize
        };
        let mut kernels = self.schedule.kernels.iter().zip(&self.kernels);
        self.schedule.template.contains(STREAMING) && kernels.any(crowded)
    }

    /// A knob and half of its value, unless that is below the least.
    fn halved(&self, name: &'static str, least: i64) -> Option<(&'static str, i64)> {
        let half = self.schedule.knobs.get(name)? / 2;
        (half >= least).then_some((name, half))
    }
}

/// Whether statements compute scores by halves of their tile, which is a product for every bit of a position.
fn halves(body: &[Stmt]) -> bool {
    let mut found = false;
    each(body, &mut |stmt| {
        found |= matches!(stmt, Stmt::Scan { every: Some(_), .. });
    });
    found
}

/// Whether multiprocessors hold all blocks at the same time, with twice the shared memory.
fn run_at_once(kernel: &PtxKernel, points: usize) -> bool {
    let each = points.div_ceil(model::card(kernel.target).multiprocessors as usize);
    let memory = kernel.target.limits().shared_per_sm as usize;
    each <= 1 || (each <= MOST_AT_ONCE && each * 2 * kernel.shared_bytes as usize <= memory)
}

/// Points of a kernel's grid.
fn points(kernel: &PtxKernel, job: &Job) -> usize {
    let extents = kernel.grid.iter().map(|ix| ix.eval_sizes(&job.sizes));
    // A size that is not known yet counts as many.
    extents
        .map(|n| n.map_or(usize::MAX, |n| n.max(0) as usize))
        .fold(1, usize::saturating_mul)
}

/// MLIR of a kernel, with fewer tiles in flight where shared memory does not hold more, unless their number is fixed.
fn lower(kernel: &Kernel, mut options: Options, fixed: bool) -> Result<Lowered, LowerError> {
    loop {
        match mixc_ptx::lower(kernel, &options) {
            Err(LowerError::SharedMemory { .. }) if options.stages > 1 && !fixed => {
                options.stages -= 1;
            }
            other => {
                return other.map(|kernel| Lowered { kernel, options });
            }
        }
    }
}

/// Sides of tiles, in the order in which equal ones are halved: rows last, for they decide how often a streamed
/// tile is used.
const SIDES: [&str; 4] = ["stream", "C", "cols", "rows"];
/// Matrix instructions work on tiles of this length; shorter sides save little, and fewer packed rows are no product
/// for them.
const SHORT: i64 = 16;

/// What to halve next and its new length: the longest side that nobody asked for, none below the length of a matrix
/// instruction while another is above it; the summed axes that a scan keeps whole before that. None if all are 1.
fn smaller(
    template: &str,
    knobs: &BTreeMap<String, i64>,
    asked: &BTreeSet<String>,
) -> Option<(String, i64)> {
    let whole = || {
        let n = knobs.get(WHOLE).filter(|n| **n > SHORT)?;
        (!asked.contains(WHOLE)).then(|| (WHOLE.to_owned(), n / 2))
    };
    let side = |above| smaller_side(knobs, asked, above);
    // Other sides are nothing to scans as written.
    if template == SEQUENTIAL {
        return whole().or_else(|| side(1));
    }
    side(SHORT).or_else(whole).or_else(|| side(1))
}

/// The longest side of a tile that nobody asked for, halved, if it is above a length.
fn smaller_side(
    knobs: &BTreeMap<String, i64>,
    asked: &BTreeSet<String>,
    above: i64,
) -> Option<(String, i64)> {
    let sides = SIDES.into_iter().filter(|name| !asked.contains(*name));
    let sides: Vec<(&str, i64)> = sides
        .filter_map(|name| Some((name, *knobs.get(name)?)))
        .collect();
    let long = sides.iter().filter(|(_, n)| *n > above);
    // The first of equals: `max_by_key` alone would take the last.
    let (name, n) = long.rev().max_by_key(|(_, n)| *n)?;
    Some(((*name).to_owned(), n / 2))
}

/// The tensors whose rows begin at multiples of 16 bytes, given that the tensors do.
fn aligned(kernel: &Kernel, job: &Job) -> BTreeSet<mixc_ir::Name> {
    let aligned = kernel.tensors.iter().filter(|t| is_aligned(t, job));
    aligned.map(|t| t.name.clone()).collect()
}

fn is_aligned(tensor: &TensorArg, job: &Job) -> bool {
    if !tensor.unit_inner {
        return false;
    }
    let strides: Vec<i64> = match (tensor.usage, job.tensors.get(&tensor.name)) {
        (Usage::In, Some(given)) => given.strides().iter().map(|s| *s as i64).collect(),
        _ => {
            let extents: Option<Vec<i64>> = tensor
                .shape
                .iter()
                .map(|ix| ix.eval_sizes(&job.sizes))
                .collect();
            let Some(extents) = extents else { return false };
            (0..extents.len())
                .map(|d| extents[d + 1..].iter().product())
                .collect()
        }
    };
    let size = tensor.dtype.size_bytes() as i64;
    let outer = &strides[..strides.len().saturating_sub(1)];
    // Bulk copies cannot walk a tensor backwards or stay on one element.
    outer.iter().all(|s| s * size % 16 == 0 && *s > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(template: &str, knobs: &[(&str, i64)], asked: &[&str]) -> Vec<String> {
        let mut knobs: BTreeMap<String, i64> =
            knobs.iter().map(|(n, v)| ((*n).to_owned(), *v)).collect();
        let asked = asked.iter().map(|n| (*n).to_owned()).collect();
        let mut steps = vec![];
        while let Some((name, value)) = smaller(template, &knobs, &asked) {
            steps.push(format!("{name}={value}"));
            knobs.insert(name, value);
        }
        steps
    }

    #[test]
    fn long_sides_shrink_first_and_rows_last() {
        let steps = path(STREAMING, &[("rows", 64), ("stream", 64), ("S", 1024)], &[]);
        let first = ["stream=32", "rows=32", "stream=16", "rows=16", "stream=8"];
        assert_eq!(steps[..5], first);
        assert_eq!(steps.last().unwrap(), "rows=1");
    }

    #[test]
    fn what_was_asked_for_stays() {
        let steps = path(STREAMING, &[("rows", 128), ("C", 32)], &["rows"]);
        assert_eq!(steps, ["C=16", "C=8", "C=4", "C=2", "C=1"]);
        assert!(path(STREAMING, &[("rows", 64)], &["rows"]).is_empty());
    }

    #[test]
    fn sums_of_a_scan_as_written_are_cut_first() {
        let knobs = [("stream", 64), ("whole", 64)];
        let steps = path(SEQUENTIAL, &knobs, &[]);
        assert_eq!(steps[..3], ["whole=32", "whole=16", "stream=32"]);
        let steps = path("sequential+pointwise", &knobs, &[]);
        assert_eq!(
            steps[..4],
            ["stream=32", "stream=16", "whole=32", "whole=16"]
        );
    }
}
