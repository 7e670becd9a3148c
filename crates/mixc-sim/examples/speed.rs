//! Simulated instructions a second on causal attention, with all checks on.
//!
//! `cargo run -p mixc-sim --example speed [BLOCKS]`

#[path = "../tests/common/attention.rs"]
mod attention;

use attention::Attention;
use mixc_sim::Options;
use std::time::Instant;

fn main() {
    let blocks = std::env::args()
        .nth(1)
        .map_or(8, |n| n.parse().expect("a number of blocks"));
    let variants = [
        (
            "one worker, all checks",
            Options {
                parallel: false,
                ..Options::default()
            },
        ),
        (
            "one worker, no race checks",
            Options {
                parallel: false,
                races: false,
                ..Options::default()
            },
        ),
        ("all workers, all checks", Options::default()),
    ];
    for (name, options) in variants {
        let mut best = f64::INFINITY;
        let mut instructions = 0;
        for _ in 0..5 {
            let mut case = Attention::new(blocks);
            let start = Instant::now();
            let report = case.launch(&options);
            best = best.min(start.elapsed().as_secs_f64());
            assert!(report.findings.is_empty(), "{}", report.findings[0]);
            instructions = report.counts.tally.threads;
        }
        let rate = instructions as f64 / best / 1e6;
        println!(
            "{name}: {instructions} thread instructions in {:.1} ms, {rate:.0} million a second",
            best * 1e3
        );
    }
}
