//! What the tests that hold mixers against the f64 interpreter have in common.

use mixc::{Choices, Direction, Mixer, Target, VerifyOptions, verify};
use mixc_ir::DType;
use mixc_tensor::Pattern;
use std::collections::{BTreeMap, BTreeSet};

pub fn options(target: Target, dtypes: &[DType], draws: usize) -> VerifyOptions {
    VerifyOptions {
        target,
        sizes: BTreeMap::new(),
        form: None,
        dtypes: dtypes.to_vec(),
        sets: BTreeMap::new(),
        seed: 1,
        draws,
        patterns: Pattern::ALL.to_vec(),
        direction: Direction::Forward,
        choices: Choices::default(),
    }
}

/// What came of one mixer.
pub struct Checked {
    /// The first failure of each form.
    pub failures: Vec<String>,
    /// What the target could not execute, with the reason.
    pub skipped: Vec<String>,
    /// How many comparisons there were, and problems about which nothing can be said.
    pub cases: usize,
    pub undefined: usize,
}

/// Verifies a mixer. Where it cannot be verified at all, that is the failure.
pub fn check(mixer: &Mixer, options: &VerifyOptions) -> Checked {
    let name = &mixer.program.name;
    let place = |text: String| format!("{name} on {}, {text}", options.target);
    let report = match verify(mixer, options, &mut |_, _| {}) {
        Ok(report) => report,
        Err(e) => {
            return Checked {
                failures: vec![place(e.to_string())],
                skipped: vec![],
                cases: 0,
                undefined: 0,
            };
        }
    };
    let mut seen = BTreeSet::new();
    let failed = report
        .cases
        .iter()
        .filter(|c| !c.ok && seen.insert(c.form.clone()));
    let failures = failed.map(|c| {
        let error = c.error.as_deref().unwrap_or_default();
        place(format!(
            "{} {} {:?} {} {:?}: {error}",
            c.form, c.dtype, c.shape, c.inputs, c.params
        ))
    });
    Checked {
        failures: failures.collect(),
        skipped: report.skipped,
        cases: report.cases.len(),
        undefined: report.undefined,
    }
}

pub fn assert_none(failures: &[String]) {
    assert!(
        failures.is_empty(),
        "{} failures:\n{}",
        failures.len(),
        failures.join("\n")
    );
}
