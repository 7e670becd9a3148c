//! Every form of a set of definitions computes what the definition says.

mod common;
#[path = "common/mixers.rs"]
mod mixers;

use common::{difference, inputs};
use mixc_rewrite::{NumericClass, Options, derive};

const SIZES: &[(&str, i64)] = &[
    ("K", 3),
    ("V", 2),
    ("G", 3),
    ("N", 2),
    ("C", 6),
    ("C2", 2),
    ("S", 5),
];

fn with_time(t: i64) -> Vec<(&'static str, i64)> {
    SIZES.iter().copied().chain([("T", t)]).collect()
}

#[test]
fn every_form_equals_its_definition() {
    let mut wrong = vec![];
    for (name, program) in mixers::all() {
        let derived = derive(&program, &Options::default());
        for form in &derived.forms {
            for (t, scale) in [(18, 1.0), (19, 1.0), (1, 1.0), (0, 1.0), (19, 200.0)] {
                let inputs = inputs(&program, &with_time(t), scale, 7);
                let error = difference(&program, &form.program, &inputs);
                if error > 1e-10 || error.is_nan() {
                    wrong.push(format!(
                        "{name}, {}: T = {t}, scale {scale}: {error:e}",
                        form.name
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A linear recurrence whose decay is a number, or there is none.
const SCALAR: &[&str] = &[
    "associative-scan",
    "chunkwise",
    "chunkwise-parallel",
    "chunkwise-states",
    "quadratic",
    "recurrent",
];

/// One whose decay varies over an axis that is summed: chunks are cut again.
const DIAGONAL: &[&str] = &[
    "associative-scan",
    "chunkwise",
    "chunkwise-2level",
    "chunkwise-parallel",
    "chunkwise-states",
    "quadratic",
    "recurrent",
];

/// Names of the forms of every definition, without the plain one.
const EXPECTED: &[(&str, &[&str])] = &[
    ("causal softmax", &["online", "split-key", "two-pass"]),
    (
        "window softmax with lse",
        &["online", "split-key", "two-pass"],
    ),
    ("softmax with sink", &["online", "split-key", "two-pass"]),
    (
        "strictly causal softmax",
        &["online", "split-key", "two-pass"],
    ),
    (
        "softmax behind a dense scan",
        &["online", "split-key", "two-pass"],
    ),
    (
        "hybrid",
        &[
            "online+associative-scan",
            "online+chunkwise",
            "online+recurrent",
            "split-key+associative-scan",
            "split-key+chunkwise",
            "split-key+recurrent",
            "two-pass",
            "two-pass+associative-scan",
            "two-pass+chunkwise",
            "two-pass+recurrent",
        ],
    ),
    ("softmax as a ratio", &["online", "split-key"]),
    ("forget-gate softmax", &["online", "split-key", "two-pass"]),
    ("linear attention", SCALAR),
    ("strictly causal linear attention", SCALAR),
    ("normalised linear attention", SCALAR),
    ("retention", SCALAR),
    ("cumsum decay", SCALAR),
    ("scalar gate", SCALAR),
    ("constant decay", SCALAR),
    ("gated linear attention", DIAGONAL),
    ("selective scan", DIAGONAL),
    ("reverse elementwise gate", SCALAR),
    ("momentum", SCALAR),
    ("two statistics", &["quadratic"]),
    ("delta rule", &[]),
];

#[test]
fn every_definition_has_its_family_of_forms() {
    for (name, program) in mixers::all() {
        let derived = derive(
            &program,
            &Options {
                max_forms: 20,
                ..Options::default()
            },
        );
        assert_eq!(derived.forms[0].name, "plain", "{name}");
        let mut found: Vec<&str> = derived.forms[1..].iter().map(|f| f.name.as_str()).collect();
        found.sort();
        let (_, expected) = EXPECTED
            .iter()
            .find(|(n, _)| *n == name)
            .unwrap_or_else(|| panic!("{name}"));
        assert_eq!(found, *expected, "{name}");
    }
}

#[test]
fn every_form_is_a_valid_program_with_a_text() {
    for (name, program) in mixers::all() {
        for form in derive(&program, &Options::default()).forms {
            if let Err(errors) = mixc_ir::verify(&form.program) {
                panic!("{name}, {}: {errors:?}\n{}", form.name, form.program);
            }
            let text = form.program.to_string();
            let parsed = mixc_ir::parse_program(&mixc_text::Source::new("form", &text));
            match parsed {
                Ok(parsed) => assert_eq!(parsed.to_string(), text, "{name}, {}", form.name),
                Err(errors) => panic!("{name}, {}: {errors:?}\n{text}", form.name),
            }
        }
    }
}

#[test]
fn forms_state_their_laws_and_the_worst_numeric_class() {
    for (name, program) in mixers::all() {
        for form in &derive(&program, &Options::default()).forms[1..] {
            let laws: Vec<_> = form
                .rules
                .iter()
                .map(|r| {
                    mixc_rewrite::laws()
                        .find(|l| l.name == r)
                        .unwrap_or_else(|| panic!("{name}: {r}"))
                })
                .collect();
            let worst = laws
                .iter()
                .map(|l| l.class)
                .max()
                .unwrap_or(NumericClass::Exact);
            assert_eq!(form.class, worst, "{name}, {}", form.name);
            if form.name.starts_with("chunkwise") {
                assert!(
                    laws.iter()
                        .any(|l| l.name.starts_with("scan-blocked") || l.name == "merge-hoist"),
                    "{name}"
                );
            }
        }
    }
}

/// Decays that are not known to be at most 1 still have all forms, marked as conditioned.
#[test]
fn unbounded_decays_are_marked() {
    let class = |range| {
        let mut program = mixers::scalar_gate_scan();
        program
            .tensors
            .iter_mut()
            .find(|t| &*t.name == "g")
            .unwrap()
            .range = range;
        let derived = derive(&program, &Options::default());
        derived
            .forms
            .iter()
            .find(|f| f.name == "chunkwise")
            .unwrap()
            .class
    };
    assert_eq!(class((f64::NEG_INFINITY, 0.0)), NumericClass::Reassociates);
    assert_eq!(
        class((f64::NEG_INFINITY, f64::INFINITY)),
        NumericClass::Conditioned
    );
}

#[test]
fn growth_stays_within_the_limits() {
    for (name, program) in mixers::all() {
        let report = derive(&program, &Options::default()).report;
        assert!(report.nodes < 1000, "{name}: {} nodes", report.nodes);
        assert!(
            report.stop_reason.is_empty() || report.stop_reason == "Saturated",
            "{name}: {}",
            report.stop_reason
        );
    }
}

/// The outputs of a scan with an initial and a final state share one recurrence over chunks.
#[test]
fn results_share_their_recurrence() {
    let derived = derive(&mixers::scalar_gate_scan(), &Options::default());
    let chunkwise = derived
        .forms
        .iter()
        .find(|f| f.name == "chunkwise")
        .unwrap();
    let mut steps = vec![];
    for l in chunkwise.program.lets() {
        l.value.visit(&mut |t| match &**t {
            mixc_ir::Term::Scan {
                decay, input, init, ..
            }
            | mixc_ir::Term::Last {
                decay, input, init, ..
            } => {
                steps.push((decay.clone(), input.clone(), init.clone()));
            }
            _ => {}
        });
    }
    assert_eq!(steps.len(), 2);
    assert_eq!(steps[0], steps[1]);
}

#[test]
fn costs_order_the_forms_for_long_and_short_sequences() {
    let program = mixers::causal_softmax();
    let options = Options::default();
    let derived = derive(&program, &options);
    let form = |name: &str| derived.forms.iter().find(|f| f.name == name).unwrap();
    let sizes = [("T".into(), 4096), ("K".into(), 64), ("V".into(), 64)].into();
    let online = form("online").cost(&sizes, &options.device);
    let two_pass = form("two-pass").cost(&sizes, &options.device);
    assert!(online.seconds < two_pass.seconds, "{online:?} {two_pass:?}");
    // Scores and weighted values: 2 T T K and 2 T T V.
    assert_eq!(online.matmul_flops, 2.0 * 4096.0 * 4096.0 * 128.0);

    let linear = derive(&mixers::linear_attention(), &options);
    let form = |name: &str| linear.forms.iter().find(|f| f.name == name).unwrap();
    let quadratic = form("quadratic").cost(&sizes, &options.device).seconds;
    let chunkwise = form("chunkwise").cost(&sizes, &options.device).seconds;
    assert!(chunkwise < quadratic);
}

/// Numerator and normaliser of a chunk use the same scores.
#[test]
fn sums_over_a_chunk_share_their_scores() {
    let derived = derive(&mixers::normalised_linear_attention(), &Options::default());
    let chunkwise = derived
        .forms
        .iter()
        .find(|f| f.name == "chunkwise")
        .unwrap();
    let mut scores = vec![];
    for l in chunkwise.program.lets() {
        l.value.visit(&mut |t| {
            let reads_both = {
                let mut names = std::collections::BTreeSet::new();
                t.visit(&mut |below| {
                    if let mixc_ir::Term::Read { tensor, .. } = &**below {
                        names.insert(tensor.clone());
                    }
                });
                names.contains("q") && names.contains("k") && !names.contains("v")
            };
            let over_features = matches!(&**t, mixc_ir::Term::Sum { axes, .. } if axes.len() == 1);
            let within_a_chunk = t.free_axes().len() == 3;
            if reads_both && over_features && within_a_chunk {
                scores.push(std::sync::Arc::as_ptr(t));
            }
        });
    }
    assert_eq!(scores.len(), 2, "one use each in numerator and normaliser");
    assert_eq!(scores[0], scores[1]);
}
