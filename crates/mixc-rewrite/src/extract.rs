//! Extraction of different forms: for every class the cheapest term of each set of traits,
//! relaxed to a fixpoint; at the root the cheapest of each name.

use crate::axes::AxisSet;
use crate::cost::{Cost, CostModel, Kind, Shape, is_special, size_of, work};
use crate::graph::{Graph, free, is_const};
use crate::node::{Node, Op};
use crate::traits::{Traits, form_name, of_node};
use egg::{Id, Language, RecExpr};
use mixc_ir::{Name, ReduceOp};
use std::collections::{BTreeMap, HashMap};

/// Sets of traits kept per class; the cheapest ones if there are more.
const MAX_CHOICES: usize = 48;

#[derive(Clone)]
struct Choice {
    cost: f64,
    node: Node,
    kids: Vec<Traits>,
}

type Table = HashMap<Id, BTreeMap<Traits, Choice>>;

/// A form as chosen in the e-graph.
pub struct Chosen {
    pub name: String,
    pub cost: f64,
    pub expr: RecExpr<Node>,
}

/// Sizes of axes, by number.
pub struct Sizes(Vec<f64>);

impl Sizes {
    pub fn of(g: &Graph, sizes: &BTreeMap<Name, i64>) -> Sizes {
        let axes = &g.analysis.axes;
        Sizes(
            axes.all()
                .map(|a| size_of(axes.size(a), axes.is_sequence(a), sizes))
                .collect(),
        )
    }

    fn points(&self, axes: &AxisSet) -> f64 {
        axes.iter().map(|a| self.0[a.number()]).product()
    }
}

/// The different forms of a class, cheapest first.
pub fn forms(g: &Graph, root: Id, sizes: &Sizes, device: &CostModel) -> Vec<Chosen> {
    let table = tabulate(g, sizes, device);
    let Some(choices) = table.get(&g.find(root)) else {
        return vec![];
    };
    let unavoidable = choices
        .keys()
        .copied()
        .reduce(Traits::and)
        .unwrap_or_default();
    let mut by_name: BTreeMap<String, (f64, Traits)> = BTreeMap::new();
    for (traits, choice) in choices {
        if let Some(name) = form_name(*traits, unavoidable) {
            let best = by_name.entry(name).or_insert((choice.cost, *traits));
            if choice.cost < best.0 {
                *best = (choice.cost, *traits);
            }
        }
    }
    let mut chosen: Vec<Chosen> = by_name
        .into_iter()
        .map(|(name, (cost, traits))| Chosen {
            name,
            cost,
            expr: expression(g, &table, root, traits),
        })
        .collect();
    chosen.sort_by(|a, b| a.cost.total_cmp(&b.cost));
    chosen
}

fn tabulate(g: &Graph, sizes: &Sizes, device: &CostModel) -> Table {
    let mut nodes: Vec<(Id, &Node, Traits, f64)> = vec![];
    for class in g.classes() {
        for node in &class.nodes {
            let value = class.data.free;
            let traits = of_node(g, node, value);
            nodes.push((
                class.id,
                node,
                traits,
                node_cost(g, node, value, sizes).timed(device).seconds,
            ));
        }
    }
    let mut table: Table = HashMap::new();
    let mut changed = true;
    while changed {
        changed = false;
        for (class, node, traits, own) in &nodes {
            let Some(combined) = combine(g, &table, node, *traits, *own) else {
                continue;
            };
            let choices = table.entry(*class).or_default();
            for (traits, (cost, kids)) in combined {
                let better = choices
                    .get(&traits)
                    .is_none_or(|old| cost < old.cost * (1.0 - 1e-9));
                if better && (choices.len() < MAX_CHOICES || choices.contains_key(&traits)) {
                    choices.insert(
                        traits,
                        Choice {
                            cost,
                            node: (*node).clone(),
                            kids,
                        },
                    );
                    changed = true;
                }
            }
        }
    }
    table
}

/// Every set of traits that a node can have, with the cheapest choice for its children.
fn combine(
    g: &Graph,
    table: &Table,
    node: &Node,
    traits: Traits,
    own: f64,
) -> Option<BTreeMap<Traits, (f64, Vec<Traits>)>> {
    let mut partial = BTreeMap::from([(traits, (own, vec![]))]);
    for kid in &node.kids {
        let choices = table.get(&g.find(*kid))?;
        let mut next: BTreeMap<Traits, (f64, Vec<Traits>)> = BTreeMap::new();
        for (traits, (cost, kids)) in &partial {
            for (kid_traits, choice) in choices {
                let all = traits.or(*kid_traits);
                let total = cost + choice.cost;
                if next.get(&all).is_none_or(|(old, _)| total < *old) {
                    let kids = kids.iter().copied().chain([*kid_traits]).collect();
                    next.insert(all, (total, kids));
                }
            }
        }
        partial = next;
    }
    Some(partial)
}

fn expression(g: &Graph, table: &Table, root: Id, traits: Traits) -> RecExpr<Node> {
    let mut expr = RecExpr::default();
    build(
        g,
        table,
        g.find(root),
        traits,
        &mut expr,
        &mut HashMap::new(),
        &mut HashMap::new(),
    );
    expr
}

fn build(
    g: &Graph,
    table: &Table,
    class: Id,
    traits: Traits,
    expr: &mut RecExpr<Node>,
    done: &mut HashMap<(Id, Traits), Id>,
    nodes: &mut HashMap<Node, Id>,
) -> Id {
    if let Some(id) = done.get(&(class, traits)) {
        return *id;
    }
    let choice = &table[&class][&traits];
    let mut kids = choice.kids.iter();
    let node = choice.node.clone().map_children(|kid| {
        let traits = kids.next().expect("bug: a choice for every child");
        build(g, table, g.find(kid), *traits, expr, done, nodes)
    });
    let id = *nodes.entry(node.clone()).or_insert_with(|| expr.add(node));
    done.insert((class, traits), id);
    id
}

/// Work of one node alone.
pub fn node_cost(g: &Graph, node: &Node, value: AxisSet, sizes: &Sizes) -> Cost {
    let operands: Vec<AxisSet> = node.kids.iter().map(|k| free(g, *k)).collect();
    let size = |a: &AxisSet| sizes.points(a);
    let shape = Shape {
        free: value,
        bound: node.op.bound(),
        operands: &operands,
        size: &size,
        union: &|a, b| a.union(*b),
        meets: &|a, b| a.meets(*b),
        minus: &|a, b| a.minus(*b),
    };
    let kind = match node.op {
        Op::Roots => return Cost::default(),
        // A little more than nothing, so that shorter terms win among equals.
        Op::Leaf(_) => {
            return Cost {
                vector_flops: 0.01,
                ..Cost::default()
            };
        }
        Op::Map(f) if is_special(f) => Kind::Special,
        Op::Map(_) => Kind::Elementwise,
        Op::Add => Kind::Add,
        Op::Sum(_) => Kind::Sum,
        Op::Softmax(_) | Op::Reduce(ReduceOp::Lse, _) => Kind::Softmax,
        Op::Online(_) => Kind::Online,
        Op::Reduce(..) => Kind::Reduce,
        Op::Ss { .. } if is_const(g, node.kids[0], 1.0) => Kind::Predicate,
        Op::Ss { .. } => Kind::Mask,
        Op::Scan { .. } => Kind::Scan,
        Op::Last { .. } => Kind::Last,
        Op::CumProd { .. } | Op::SufProd { .. } | Op::CumSum { .. } | Op::Merge { .. } => {
            Kind::Elementwise
        }
    };
    work(kind, &shape)
}
