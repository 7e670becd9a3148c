//! The pipeline: a program in, its forms out.

use crate::closed::{Closed, close};
use crate::cost::{Cost, CostModel};
use crate::extract::{self, Sizes};
use crate::form::Chunks;
use crate::graph::{Facts, Graph, from_term, representative, to_terms};
use crate::laws::{NumericClass, Phase, by_name};
use crate::node::{Node, Op};
use crate::prefix::extract_prefix_sums;
use crate::saturate::{Outcome, saturate};
use crate::traits::{CHUNKWISE, CHUNKWISE_PARALLEL, CHUNKWISE_STATES, DIRECT};
use crate::work::program_cost;
use crate::{explain, form};
use egg::{Id, RecExpr};
use mixc_ir::{Name, Program, T};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

/// What to derive for.
#[derive(Clone, Debug)]
pub struct Options {
    /// Likely sizes, for the cost model: dims, and chunk lengths `C`, `C2`, `S`.
    pub sizes: BTreeMap<Name, i64>,
    /// Most forms to return, the plain one included; the dearest are left out.
    pub max_forms: usize,
    pub device: CostModel,
    /// Whether forms may split a chunk into chunks of its own (a secondary level).
    pub chunks_of_chunks: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            sizes: BTreeMap::new(),
            max_forms: 9,
            chunks_of_chunks: true,
            device: CostModel::default(),
        }
    }
}

/// One algorithm for a program.
#[derive(Clone, Debug)]
pub struct Form {
    /// From the structure: "plain", "online", "split-key", "two-pass", "quadratic", "recurrent",
    /// "chunkwise", "chunkwise-parallel", "chunkwise-2level", "associative-scan", "global-state", "direct", or two of
    /// them joined by "+".
    pub name: String,
    /// The same inputs and outputs as the definition.
    pub program: Program,
    /// Laws on the way from the definition, in order.
    pub rules: Vec<String>,
    /// The worst class among the laws.
    pub class: NumericClass,
}

impl Form {
    /// Work of the form and the predicted time.
    pub fn cost(&self, sizes: &BTreeMap<Name, i64>, device: &CostModel) -> Cost {
        program_cost(&self.program, sizes, device)
    }
}

/// What the derivation did.
#[derive(Clone, Debug, Default)]
pub struct Report {
    pub classes: usize,
    pub nodes: usize,
    pub iterations: usize,
    pub micros: u128,
    pub stop_reason: String,
    /// Why something was not derived.
    pub notes: Vec<String>,
}

#[derive(Clone, Debug)]
pub struct Derivation {
    /// The plain form first, then the others, cheapest first.
    pub forms: Vec<Form>,
    pub report: Report,
}

/// Derives the forms of a program. `forms[0]` is the program as it is written.
pub fn derive(program: &Program, options: &Options) -> Derivation {
    let start = Instant::now();
    let mut closed = close(program, &options.sizes);
    let mut report = Report {
        notes: closed.notes.clone(),
        ..Report::default()
    };
    let plain = Form {
        name: "plain".to_string(),
        program: program.clone(),
        rules: vec![],
        class: NumericClass::Exact,
    };
    let mut forms = vec![plain];
    match equal_forms(program, &mut closed, options, &mut report) {
        Some(found) => forms.extend(found),
        None => report
            .notes
            .push("the program has too many axes to derive forms".to_string()),
    }
    report.micros = start.elapsed().as_micros();
    Derivation { forms, report }
}

fn equal_forms(
    program: &Program,
    closed: &mut Closed,
    options: &Options,
    report: &mut Report,
) -> Option<Vec<Form>> {
    let terms: Vec<T> = closed.roots().map(|r| r.term.clone()).collect();
    if terms.is_empty() {
        return Some(vec![]);
    }

    let (mut normalising, start) = graph_of(program, closed, &terms)?;
    let outcome = saturate(&mut normalising, Phase::Normalise, &mut |_, _, _, _| {});
    report.count(&normalising, &outcome);
    let normal = representative(&normalising, start);
    let start_expr = normalising.id_to_expr(start);
    let first_rules = explain::laws_between(&mut normalising, &start_expr, &normal);
    let mut normal_terms = root_terms(&normalising, &normal);
    let taken = taken_names(program, closed);
    extract_prefix_sums(closed, &mut normal_terms, &taken);
    // Copies of axes that multiplying sums out has made.
    for a in normalising.analysis.axes.all() {
        let axes = &normalising.analysis.axes;
        let sizes = closed.sizes.entry(axes.name(a).clone());
        sizes.or_insert_with(|| axes.size(a).clone());
    }
    let closed = &*closed;

    let (mut g, root) = graph_of(program, closed, &normal_terms)?;
    let outcome = saturate(&mut g, Phase::Derive, &mut |_, _, _, _| {});
    report.count(&g, &outcome);
    let root_expr = g.id_to_expr(root);
    let sizes = Sizes::of(&g, &options.sizes);
    let chosen = extract::forms(&g, root, &sizes, &options.device);
    let keeps_scans = closed.roots().count() < closed.items.len();
    let mut forms = vec![];
    for choice in chosen {
        // Beside a scan that stays as it is, nothing was found.
        if keeps_scans && choice.name == DIRECT {
            continue;
        }
        let terms = root_terms(&g, &choice.expr);
        let mut rules = first_rules.clone();
        rules.extend(explain::laws_between(&mut g, &root_expr, &choice.expr));
        let class = rules
            .iter()
            .filter_map(|r| by_name(r))
            .map(|l| l.class)
            .max()
            .unwrap_or(NumericClass::Exact);
        let build = |chunks| form::program(program, closed, &g.analysis.axes, &terms, chunks);
        let found = build(Chunks::InOrder);
        if !options.chunks_of_chunks && splits_a_part(&found) {
            report.notes.push(format!(
                "form '{}' is left out: it splits chunks again",
                choice.name
            ));
            continue;
        }
        if choice.name == CHUNKWISE {
            let stored = [
                (CHUNKWISE_STATES, Chunks::Starts),
                (CHUNKWISE_PARALLEL, Chunks::StartsAndStates),
            ];
            forms.extend(stored.map(|(name, chunks)| Form {
                name: name.to_string(),
                program: build(chunks),
                rules: rules.clone(),
                class,
            }));
        }
        forms.push(Form {
            name: choice.name,
            program: found,
            rules,
            class,
        });
    }
    forms.sort_by(|a, b| seconds(a, options).total_cmp(&seconds(b, options)));
    forms.truncate(options.max_forms.saturating_sub(1));
    Some(forms)
}

fn splits_a_part(program: &Program) -> bool {
    let splits = &program.splits;
    splits
        .iter()
        .any(|s| splits.iter().any(|whole| whole.inner == s.axis))
}

fn seconds(form: &Form, options: &Options) -> f64 {
    form.cost(&options.sizes, &options.device).seconds
}

/// Names that a new value must not have.
fn taken_names(program: &Program, closed: &Closed) -> BTreeSet<Name> {
    let tensors = program.tensors.iter().map(|t| t.name.clone());
    let scalars = program.scalars.iter().map(|s| s.name.clone());
    let lets = program.lets().map(|l| l.name.clone());
    let roots = closed.roots().map(|r| r.name.clone());
    tensors.chain(scalars).chain(lets).chain(roots).collect()
}

/// An e-graph with the terms below one node of roots; None if they have too many axes.
fn graph_of(program: &Program, closed: &Closed, terms: &[T]) -> Option<(Graph, Id)> {
    let mut facts = Facts {
        sizes: closed
            .sizes
            .iter()
            .map(|(n, ix)| (n.clone(), ix.clone()))
            .collect(),
        sequence_sizes: closed.sequence_sizes.clone(),
        ..Facts::default()
    };
    facts.axes.declared = program
        .dims
        .iter()
        .cloned()
        .chain(program.scalars.iter().map(|s| s.name.clone()))
        .collect();
    facts
        .ranges
        .extend(program.tensors.iter().map(|t| (t.name.clone(), t.range)));
    facts
        .ranges
        .extend(program.scalars.iter().map(|s| (s.name.clone(), s.range)));
    let mut g = Graph::new(facts).with_explanations_enabled();
    let mut kids = vec![];
    for term in terms {
        kids.push(from_term(&mut g, term)?);
    }
    let root = g.add_uncanonical(Node {
        op: Op::Roots,
        kids,
    });
    g.rebuild();
    Some((g, root))
}

/// The terms below the roots of an expression.
fn root_terms(g: &Graph, expr: &RecExpr<Node>) -> Vec<T> {
    let all = to_terms(&g.analysis, expr);
    let root = expr.as_ref().last().expect("bug: an expression has a root");
    root.kids
        .iter()
        .map(|k| {
            all[usize::from(*k)]
                .clone()
                .expect("bug: roots below roots")
        })
        .collect()
}

impl Report {
    fn count(&mut self, g: &Graph, outcome: &Outcome) {
        self.classes += g.number_of_classes();
        self.nodes += g.total_number_of_nodes();
        self.iterations += outcome.iterations;
        let own = format!("{:?}", outcome.stop);
        if self.stop_reason.is_empty() || self.stop_reason == "Saturated" {
            self.stop_reason = own;
        }
    }
}
