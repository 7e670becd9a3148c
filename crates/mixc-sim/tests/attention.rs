//! A kernel of the kind that matters: `cp.async` in two stages, `ldmatrix`, `mma`, shuffles, `ex2`.

#[path = "common/attention.rs"]
mod attention;

use attention::Attention;
use mixc_sim::Options;

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
