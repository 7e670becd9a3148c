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

/// Sets of traits kept per class; with more, the first ones found stay.
const MAX_CHOICES: usize = 256;

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
    let root = g.find(root);
    let extractor = Extractor::new(g, sizes, device);
    let first = extractor.tabulate(&Table::new());
    let Some(choices) = first.get(&root) else {
        return vec![];
    };
    let unavoidable = choices
        .keys()
        .copied()
        .reduce(Traits::and)
        .unwrap_or_default();
    let mut chosen: Vec<Chosen> = cheapest_by_name(choices, unavoidable)
        .into_iter()
        .map(|(name, traits)| {
            let plain = extractor.build(root, traits, &first, None);
            let shared = extractor.sharing(root, &name, unavoidable, &first, &plain);
            let best = shared
                .filter(|s| s.cost < plain.cost * (1.0 - 1e-9))
                .unwrap_or(plain);
            Chosen {
                name,
                cost: best.cost,
                expr: best.expr,
            }
        })
        .collect();
    chosen.sort_by(|a, b| a.cost.total_cmp(&b.cost));
    chosen
}

fn cheapest_by_name(
    choices: &BTreeMap<Traits, Choice>,
    unavoidable: Traits,
) -> BTreeMap<String, Traits> {
    let mut by_name: BTreeMap<String, (f64, Traits)> = BTreeMap::new();
    for (traits, choice) in choices {
        if let Some(name) = form_name(*traits, unavoidable) {
            let best = by_name.entry(name).or_insert((choice.cost, *traits));
            if choice.cost < best.0 {
                *best = (choice.cost, *traits);
            }
        }
    }
    by_name
        .into_iter()
        .map(|(name, (_, traits))| (name, traits))
        .collect()
}

struct Extractor<'a> {
    g: &'a Graph,
    sizes: &'a Sizes,
    device: &'a CostModel,
    /// Every node with its class, own traits and own cost.
    nodes: Vec<(Id, &'a Node, Traits, f64)>,
}

/// A term built from a table.
struct Built {
    expr: RecExpr<Node>,
    /// Cost with every shared term counted once.
    cost: f64,
    /// Matrix products that give a value for each pair of positions, and how they were chosen.
    scores: Table,
}

/// Cost of choices that are made already.
const PAID: f64 = 1e-18;

impl<'a> Extractor<'a> {
    fn new(g: &'a Graph, sizes: &'a Sizes, device: &'a CostModel) -> Extractor<'a> {
        let mut nodes = vec![];
        for class in g.classes() {
            for node in &class.nodes {
                let own = node_cost(g, node, class.data.free, sizes)
                    .timed(device)
                    .seconds;
                nodes.push((class.id, node, of_node(g, node, class.data.free), own));
            }
        }
        Extractor {
            g,
            sizes,
            device,
            nodes,
        }
    }

    /// The cheapest choice for every class and set of traits, given the choices in `paid`.
    fn tabulate(&self, paid: &Table) -> Table {
        let mut table = paid.clone();
        let mut changed = true;
        while changed {
            changed = false;
            for (class, node, traits, own) in &self.nodes {
                let Some(combined) = self.combine(&table, node, *traits, *own) else {
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
    fn combine(&self, table: &Table, node: &Node, traits: Traits, own: f64) -> Option<Combined> {
        let mut partial = Combined::from([(traits, (own, vec![]))]);
        for kid in &node.kids {
            let choices = table.get(&self.g.find(*kid))?;
            let mut next = Combined::new();
            for (traits, (cost, kids)) in &partial {
                for (kid_traits, choice) in choices {
                    let all = traits.or(*kid_traits);
                    // Work on parts is better done before they are merged.
                    let late = matches!(choice.node.op, Op::Merge { .. }) && node.op != Op::Roots;
                    let total = cost + choice.cost + if late { own } else { 0.0 };
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

    /// The form of the same name that is best when the scores of `plain` cost nothing more: other
    /// sums (normalisers, say) then use them too.
    fn sharing(
        &self,
        root: Id,
        name: &str,
        unavoidable: Traits,
        first: &Table,
        plain: &Built,
    ) -> Option<Built> {
        if plain.scores.is_empty() {
            return None;
        }
        let second = self.tabulate(&plain.scores);
        let traits = *cheapest_by_name(second.get(&root)?, unavoidable).get(name)?;
        Some(self.build(root, traits, &second, Some((&plain.scores, first))))
    }

    /// The chosen term; choices in the first table of `paid` continue in the second one.
    fn build(
        &self,
        root: Id,
        traits: Traits,
        table: &Table,
        paid: Option<(&Table, &Table)>,
    ) -> Built {
        let mut builder = Builder {
            extractor: self,
            paid,
            done: HashMap::new(),
            nodes: HashMap::new(),
            built: Built {
                expr: RecExpr::default(),
                cost: 0.0,
                scores: Table::new(),
            },
        };
        builder.add(root, traits, table, false);
        builder.built
    }

    fn has_scores(&self, class: Id, node: &Node) -> bool {
        let value = free(self.g, class);
        let pairs = Traits::PAIRS.or(Traits::CHUNK_PAIRS);
        matches!(node.op, Op::Sum(axes) if !axes.is_empty())
            && of_node(self.g, node, value).meets(pairs)
    }
}

/// Traits with their cost and the traits chosen for the children.
type Combined = BTreeMap<Traits, (f64, Vec<Traits>)>;

struct Builder<'a> {
    extractor: &'a Extractor<'a>,
    paid: Option<(&'a Table, &'a Table)>,
    done: HashMap<(Id, Traits, bool), Id>,
    nodes: HashMap<Node, Id>,
    built: Built,
}

impl Builder<'_> {
    fn add(&mut self, class: Id, traits: Traits, table: &Table, below_paid: bool) -> Id {
        if let Some(id) = self.done.get(&(class, traits, below_paid)) {
            return *id;
        }
        if let Some((paid, first)) = self.paid
            && !below_paid
            && paid.get(&class).is_some_and(|c| c.contains_key(&traits))
        {
            let id = self.add(class, traits, first, true);
            self.done.insert((class, traits, below_paid), id);
            return id;
        }
        let Extractor {
            g, sizes, device, ..
        } = *self.extractor;
        let choice = table[&class][&traits].clone();
        let mut kids = choice.kids.iter();
        let node = choice.node.clone().map_children(|kid| {
            let traits = kids.next().expect("bug: a choice for every child");
            self.add(g.find(kid), *traits, table, below_paid)
        });
        let id = match self.nodes.get(&node) {
            Some(id) => *id,
            None => {
                self.built.cost += node_cost(g, &choice.node, free(g, class), sizes)
                    .timed(device)
                    .seconds;
                let id = self.built.expr.add(node.clone());
                self.nodes.insert(node, id);
                id
            }
        };
        if self.extractor.has_scores(class, &choice.node) {
            let scores = self.built.scores.entry(class).or_default();
            scores.insert(
                traits,
                Choice {
                    cost: PAID,
                    ..choice
                },
            );
        }
        self.done.insert((class, traits, below_paid), id);
        id
    }
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
