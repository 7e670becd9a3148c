//! Simulated instructions a second, with and without race checks.
//!
//! `cargo run -p mixc-sim --example speed [BLOCKS]`

#[path = "../tests/common/attention.rs"]
mod attention;

use attention::Attention;
use mixc_sim::{Arg, Memory, Module, Options, Report};
use std::time::{Duration, Instant};

fn main() {
    let blocks = std::env::args()
        .nth(1)
        .map_or(8, |n| n.parse().expect("a number of blocks"));
    let one = Options {
        parallel: false,
        ..Options::default()
    };
    let unchecked = Options {
        races: false,
        block_races: false,
        ..one.clone()
    };
    println!("causal attention with matrix instructions, {blocks} blocks of 128 threads:");
    for (name, options) in [
        ("one worker", &one),
        ("one worker, no race checks", &unchecked),
        ("all workers", &Options::default()),
    ] {
        measure(name, || {
            let mut case = Attention::new(blocks);
            timed(options, || case.launch(options))
        });
    }
    println!("tiled f32 product through shared memory, 16 blocks of 256 threads:");
    measure("one worker", || product(&one));
    measure("one worker, no race checks", || product(&unchecked));
}

/// The best of five runs.
fn measure(name: &str, run: impl Fn() -> (Duration, Report)) {
    let runs: Vec<(Duration, Report)> = (0..5).map(|_| run()).collect();
    let (time, report) = runs.iter().min_by_key(|r| r.0).expect("five runs");
    assert!(report.findings.is_empty(), "{}", report.findings[0]);
    let (instructions, seconds) = (report.counts.tally.threads, time.as_secs_f64());
    let rate = instructions as f64 / seconds / 1e6;
    let ms = seconds * 1e3;
    println!(
        "  {name}: {instructions} thread instructions in {ms:.1} ms, {rate:.0} million a second"
    );
}

fn product(options: &Options) -> (Duration, Report) {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cuda/matmul.ptx");
    let module =
        Module::parse(&std::fs::read_to_string(path).expect("the PTX")).expect("it parses");
    let n = 64;
    let mut memory = Memory::new();
    let a = memory.alloc_f32("a", &vec![0.5; n * n]);
    let b = memory.alloc_f32("b", &vec![0.25; n * n]);
    let c = memory.alloc_uninit("c", n * n * 4);
    let mut args = vec![Arg::Buffer(a), Arg::Buffer(b), Arg::Buffer(c)];
    args.extend((0..3).map(|_| Arg::I32(n as i32)));
    let entry = module.entries()[0].name.clone();
    let (grid, block) = ([n as u32 / 16, n as u32 / 16, 1], [16, 16, 1]);
    timed(options, || {
        module
            .launch(&entry, grid, block, 0, &args, &mut memory, options)
            .expect("the arguments fit")
    })
}

/// Processor time of this thread where all blocks run in it, so that other programs matter less.
fn timed(options: &Options, run: impl FnOnce() -> Report) -> (Duration, Report) {
    let (start, busy) = (Instant::now(), processor_time());
    let report = run();
    match (busy, processor_time()) {
        (Some(from), Some(to)) if !options.parallel => (to - from, report),
        _ => (start.elapsed(), report),
    }
}

fn processor_time() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    Some(Duration::from_nanos(text.split(' ').next()?.parse().ok()?))
}
