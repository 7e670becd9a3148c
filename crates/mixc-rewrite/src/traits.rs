//! What makes two forms different algorithms: trait bits of nodes, and names for sets of them.

use crate::axes::{AxisSet, Cut, Origin};
use crate::graph::{Graph, find_in, free};
use crate::node::{Node, Op};
use mixc_ir::{Func, ReduceOp};

/// A set of traits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Traits(u16);

macro_rules! traits {
    ($($(#[doc = $doc:literal])* $name:ident = $bit:literal;)*) => {
        impl Traits { $($(#[doc = $doc])* pub const $name: Traits = Traits(1 << $bit);)* }
    };
}

traits! {
    /// A softmax or log-sum-exp as such.
    UNEXPANDED = 0;
    /// exp of a score less its maximum, outside a one-pass reduction.
    SHIFTED_EXP = 1;
    /// A one-pass reduction over a whole axis.
    ONLINE = 2;
    /// Reductions over parts of the key axis.
    SPLIT_KEY = 3;
    /// A maximum over a whole axis.
    MAX = 4;
    /// A value for every pair of positions.
    PAIRS = 5;
    /// A sum or product over a whole time axis.
    TIME_SUM = 6;
    /// A recurrence over a whole time axis.
    SCAN = 7;
    /// A recurrence over chunks.
    CHUNK_SCAN = 8;
    /// A recurrence within a chunk.
    INNER_SCAN = 9;
    /// A value for every pair of positions of a chunk.
    CHUNK_PAIRS = 10;
    /// Chunks within a chunk.
    SUB_CHUNKS = 11;
    /// Products of decays over parts of a chunk.
    CHUNK_PRODUCTS = 12;
}

/// The name of a form without any trait: the definition with its lets inlined.
pub const DIRECT: &str = "direct";

/// Matrix products within chunks, a state from chunk to chunk.
pub const CHUNKWISE: &str = "chunkwise";
/// The same in two passes: the first goes from chunk to chunk and stores the states they begin with, the second makes
/// the outputs of all chunks at once (Yang et al. 2023, arXiv 2312.06635, section 4.3: the materialised version).
pub const CHUNKWISE_STATES: &str = "chunkwise-states";
/// In three passes: what chunks add to the state is computed for all of them at once too, and only the scan over it goes
/// from chunk to chunk (Dao & Gu 2024, arXiv 2405.21060, section 6).
pub const CHUNKWISE_PARALLEL: &str = "chunkwise-parallel";

impl Traits {
    pub const NONE: Traits = Traits(0);

    pub const fn or(self, other: Traits) -> Traits {
        Traits(self.0 | other.0)
    }

    pub fn has(self, other: Traits) -> bool {
        self.0 & other.0 == other.0
    }

    pub fn meets(self, other: Traits) -> bool {
        self.0 & other.0 != 0
    }

    pub fn and(self, other: Traits) -> Traits {
        Traits(self.0 & other.0)
    }

    pub fn minus(self, other: Traits) -> Traits {
        Traits(self.0 & !other.0)
    }
}

fn any(g: &Graph, axes: AxisSet, origin: Origin) -> bool {
    axes.iter()
        .any(|a| g.analysis.axes.is_sequence(a) && g.analysis.axes.origin(a) == origin)
}

fn pairs(g: &Graph, axes: AxisSet, origin: Origin) -> bool {
    axes.iter()
        .filter(|a| g.analysis.axes.is_sequence(*a) && g.analysis.axes.origin(*a) == origin)
        .count()
        > 1
}

/// Traits of one node, without those of its children.
pub fn of_node(g: &Graph, node: &Node, value: AxisSet) -> Traits {
    let mut traits = Traits::NONE;
    let mut set = |when: bool, t: Traits| {
        if when {
            traits = traits.or(t);
        }
    };
    let (bound, produced) = (node.op.bound(), node.op.produced());
    let own = bound.union(produced);
    set(pairs(g, value, Origin::Whole), Traits::PAIRS);
    set(
        pairs(g, value, Origin::Inner(Cut::Chunk)),
        Traits::CHUNK_PAIRS,
    );
    set(
        any(g, own, Origin::Inner(Cut::Sub)) || any(g, own, Origin::Outer(Cut::Sub)),
        Traits::SUB_CHUNKS,
    );
    match node.op {
        Op::Softmax(_) | Op::Reduce(ReduceOp::Lse, _) => set(true, Traits::UNEXPANDED),
        Op::Online(_) | Op::Reduce(ReduceOp::Max, _) => {
            let parts =
                any(g, bound, Origin::Outer(Cut::Key)) || any(g, bound, Origin::Inner(Cut::Key));
            let whole = if matches!(node.op, Op::Online(_)) {
                Traits::ONLINE
            } else {
                Traits::MAX
            };
            set(parts, Traits::SPLIT_KEY);
            set(!parts && any(g, bound, Origin::Whole), whole);
        }
        Op::Map(Func::Exp) => set(is_shifted_exp(g, node), Traits::SHIFTED_EXP),
        Op::Scan { .. } | Op::Last { .. } => {
            set(any(g, bound, Origin::Whole), Traits::SCAN);
            set(any(g, bound, Origin::Outer(Cut::Chunk)), Traits::CHUNK_SCAN);
            set(any(g, bound, Origin::Inner(Cut::Chunk)), Traits::INNER_SCAN);
        }
        Op::Sum(_) | Op::Reduce(ReduceOp::Prod, _) | Op::CumProd { .. } | Op::SufProd { .. } => {
            set(any(g, own, Origin::Whole), Traits::TIME_SUM);
        }
        _ => {}
    }
    if matches!(
        node.op,
        Op::Ss { .. } | Op::CumProd { .. } | Op::SufProd { .. }
    ) {
        set(
            any(g, own, Origin::Inner(Cut::Chunk)),
            Traits::CHUNK_PRODUCTS,
        );
    }
    traits
}

/// exp(s - max over j of s'), with s over j.
fn is_shifted_exp(g: &Graph, node: &Node) -> bool {
    let differences = find_in(g, node.kids[0], |x| {
        (x.op == Op::Map(Func::Sub)).then(|| (x.kids[0], x.kids[1]))
    });
    differences.into_iter().any(|(score, shift)| {
        let mut shifts = vec![shift];
        shifts.extend(
            find_in(g, shift, |x| {
                (x.op == Op::Map(Func::Max)).then(|| x.kids.clone())
            })
            .concat(),
        );
        shifts.into_iter().any(|m| {
            let over = find_in(g, m, |x| match x.op {
                Op::Reduce(ReduceOp::Max, axes) => Some(axes),
                _ => None,
            });
            over.into_iter().any(|axes| free(g, score).meets(axes))
        })
    })
}

/// The name of the algorithm with these traits; None if it mixes several for no reason. Traits in
/// `unavoidable` are those of every choice.
pub fn form_name(traits: Traits, unavoidable: Traits) -> Option<String> {
    let extra = traits.minus(unavoidable);
    if extra.meets(Traits::UNEXPANDED) {
        return None;
    }
    let (softmax, softmax_allows) = softmax_part(traits);
    let (recurrence, recurrence_allows) = recurrence_part(traits, !softmax.is_empty());
    let allowed = softmax_allows.or(recurrence_allows);
    if extra.minus(allowed) == Traits::NONE {
        let parts: Vec<&str> = [softmax, recurrence]
            .into_iter()
            .filter(|p| !p.is_empty())
            .collect();
        let name = if parts.is_empty() {
            DIRECT.to_string()
        } else {
            parts.join("+")
        };
        return Some(name);
    }
    None
}

fn softmax_part(t: Traits) -> (&'static str, Traits) {
    if t.has(Traits::SPLIT_KEY) {
        ("split-key", Traits::SPLIT_KEY)
    } else if t.has(Traits::ONLINE) {
        ("online", Traits::ONLINE.or(Traits::MAX).or(Traits::PAIRS))
    } else if t.has(Traits::SHIFTED_EXP) {
        (
            "two-pass",
            Traits::SHIFTED_EXP
                .or(Traits::MAX)
                .or(Traits::PAIRS)
                .or(Traits::TIME_SUM),
        )
    } else {
        ("", Traits::MAX)
    }
}

fn recurrence_part(t: Traits, with_softmax: bool) -> (&'static str, Traits) {
    if t.has(Traits::CHUNK_SCAN) && t.has(Traits::SUB_CHUNKS) {
        let parts = Traits::SUB_CHUNKS
            .or(Traits::CHUNK_PAIRS)
            .or(Traits::CHUNK_PRODUCTS);
        ("chunkwise-2level", Traits::CHUNK_SCAN.or(parts))
    } else if t.has(Traits::CHUNK_SCAN) && t.has(Traits::INNER_SCAN) {
        (
            "associative-scan",
            Traits::CHUNK_SCAN.or(Traits::INNER_SCAN),
        )
    } else if t.has(Traits::CHUNK_SCAN) {
        (
            CHUNKWISE,
            Traits::CHUNK_SCAN
                .or(Traits::CHUNK_PAIRS)
                .or(Traits::CHUNK_PRODUCTS),
        )
    } else if t.has(Traits::SCAN) {
        ("recurrent", Traits::SCAN)
    } else if with_softmax {
        ("", Traits::NONE)
    } else if t.has(Traits::PAIRS) {
        ("quadratic", Traits::PAIRS.or(Traits::TIME_SUM))
    } else if t.has(Traits::TIME_SUM) {
        ("global-state", Traits::TIME_SUM)
    } else {
        ("", Traits::NONE)
    }
}
