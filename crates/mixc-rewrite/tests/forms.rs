//! Every form of a set of definitions computes what the definition says.

mod common;
#[path = "common/mixers.rs"]
mod mixers;

use common::{difference, inputs};
use mixc_rewrite::{Options, derive};

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
            for (t, scale) in [(18, 1.0), (19, 1.0), (1, 1.0), (19, 200.0)] {
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
