//! A kernel of the kind that matters: `cp.async` in two stages, `ldmatrix`, `mma`, shuffles, `ex2`.

#[path = "common/attention.rs"]
mod attention;

use attention::Attention;
use mixc_sim::{Class, Options, Profile};

#[test]
fn causal_attention_agrees_with_plain_loops() {
    let mut case = Attention::new(3);
    let report = case.launch(&Options::default());
    assert!(report.findings.is_empty(), "{}", report.findings[0]);
    // Probabilities are rounded to bf16 before the second product: 2^-9 each, relative to values up to 2.
    let (got, want) = (case.output(), case.reference());
    for (n, (g, w)) in got.iter().zip(&want).enumerate() {
        assert!((f64::from(*g) - w).abs() < 8e-3, "element {n}: {g}, {w}");
    }
}

#[test]
fn counts_show_what_the_hot_loop_does() {
    let report = Attention::new(3).launch(&Options::default());
    // Blocks of queries see 1, 2 and 3 blocks of keys; each has 4 warps.
    let steps = (1 + 2 + 3) * 4;
    let hot = report
        .profile
        .hottest_loop()
        .expect("the kernel has a loop");
    assert_eq!((hot.iterations, hot.depth), (steps, 1));
    // Two products of 16 x 64 x 64 a step and warp.
    assert_eq!(hot.counts.tally.matrix_fmas, steps * 2 * 16 * 64 * 64);
    assert_eq!(
        hot.counts.matrix_flops(),
        2 * report.counts.tally.matrix_fmas
    );
    assert_eq!(hot.counts.of(Class::Matrix), steps * 64);
    // One exponential for each score and two for the running maximum.
    assert_eq!(hot.counts.special_functions(), steps * 32 * (32 + 2));
    assert_eq!(hot.counts.barriers(), 2 * steps);
    // The pieces of rows are exchanged so that matrix loads meet no bank twice.
    assert_eq!(report.counts.bank_conflicts(), 0);
    // K and V come in whole sectors. Queries do not: a load of 4 bytes by 4 neighbours uses half a sector.
    assert_eq!(hot.counts.tally.coalescing(), 1.0);
    let queries = 3 * 4 * 16;
    let wasted = report.counts.tally.global_sectors - report.counts.tally.global_ideal;
    assert_eq!(wasted, queries * 8 / 2);
    let lines: u64 = report.profile.lines.iter().map(|l| l.tally.issued).sum();
    assert_eq!(lines, report.counts.total());
    let json = serde_json::to_string(&report.profile).unwrap();
    assert_eq!(
        serde_json::from_str::<Profile>(&json).unwrap(),
        report.profile
    );
}

#[test]
fn a_missing_exchange_of_pieces_costs_wavefronts() {
    let text = include_str!("cuda/attention.ptx");
    // Addresses of matrix rows are `row * 128 + (piece ^ row % 8) * 16`: without the exchange, eight rows
    // begin in one bank.
    let plain = text.replace("xor.b32", "or.b32");
    assert_ne!(text, plain);
    let report = Attention::of_text(&plain, 1).launch(&Options::default());
    assert!(report.counts.bank_conflicts() > 0);
}
