//! Tunable values: which a program has, and what they are if nothing is asked for.

use crate::Request;
use crate::edit::map_indices;
use crate::roles::fitted;
use crate::template::{Knob, TEMPLATES};
use mixc_ir::{Ix, Program, Stmt, Term};
use std::collections::{BTreeMap, BTreeSet};

/// Values by name.
pub type Knobs = BTreeMap<String, i64>;

/// The knob of a split whose size is this symbol: `C` for `$C`.
fn knob_name(symbol: &str) -> String {
    symbol.trim_start_matches('$').to_string()
}

/// The longest summed axis that stays whole in a scan as written.
pub const WHOLE: &str = "whole";

fn has_scan(program: &Program) -> bool {
    program.body.iter().any(|s| matches!(s, Stmt::Scan(_)))
}

/// The knobs that matter to a program, with the values that they may take: rows and streamed positions
/// of a tile, and one for each kind of split (its size symbol is the knob's name).
pub fn knobs_of(program: &Program) -> Vec<&'static Knob> {
    let symbols: BTreeSet<String> = program
        .splits
        .iter()
        .filter_map(|s| {
            if let Ix::Dim(symbol) = &s.size {
                Some(knob_name(symbol))
            } else {
                None
            }
        })
        .chain(["rows", "stream", "cols"].map(String::from))
        .chain(has_scan(program).then(|| WHOLE.to_owned()))
        .chain(crate::pack::is_possible(program).then(|| crate::pack::KNOB.to_owned()))
        .collect();
    let mut knobs: Vec<&Knob> = vec![];
    for knob in TEMPLATES.iter().flat_map(|t| &t.knobs) {
        if symbols.contains(&knob.name) && knobs.iter().all(|k| k.name != knob.name) {
            knobs.push(knob);
        }
    }
    knobs
}

/// Every knob with its value: the requested one, or the default, no larger than the axis needs. `elementwise` says that
/// decays for every feature are no matrix products.
pub fn choose_knobs(program: &Program, request: &Request, elementwise: bool) -> Knobs {
    let diagonal = elementwise && has_diagonal_decay(program);
    let default = |k: &Knob| {
        if diagonal {
            k.diagonal.unwrap_or(k.default)
        } else {
            k.default
        }
    };
    let mut knobs: Knobs = knobs_of(program)
        .into_iter()
        .map(|k| (k.name.clone(), default(k)))
        .collect();
    for split in &program.splits {
        if let Ix::Dim(symbol) = &split.size
            && !program.dims.contains(symbol)
        {
            let size = program
                .axes
                .get(&split.axis)
                .and_then(|ix| ix.eval_sizes(&request.sizes));
            let name = knob_name(symbol);
            let wanted = knobs.get(&name).copied().unwrap_or(64) as usize;
            knobs.insert(name, fitted(wanted, size.unwrap_or(i64::MAX)) as i64);
        }
    }
    knobs.extend(request.knobs.iter().map(|(k, v)| (knob_name(k), *v)));
    knobs
}

/// Whether some decay varies over an axis that is summed in products with it: then the products inside a chunk are
/// elementwise, and short chunks are cheaper.
pub fn has_diagonal_decay(program: &Program) -> bool {
    let mut found = false;
    for l in program.lets() {
        l.value.visit(&mut |t| {
            if let Term::Sum { axes, factors } = &**t {
                found |= factors.iter().any(|f| {
                    matches!(&**f, Term::Ss { decay, .. } if decay.free_axes().iter().any(|a| axes.contains(a)))
                        && matches!(&**f, Term::Ss { j, .. } if axes.iter().any(|a| a != j))
                });
            }
        });
    }
    found
}

pub fn bind_split_sizes(program: &mut Program, knobs: &Knobs) {
    let dims = program.dims.clone();
    map_indices(program, &|leaf| match leaf {
        Ix::Dim(name) if !dims.contains(name) => knobs.get(&knob_name(name)).map(|v| Ix::Const(*v)),
        _ => None,
    });
}
