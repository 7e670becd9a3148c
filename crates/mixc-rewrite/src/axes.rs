//! Axes of one derivation: small numbers instead of names, and the axes that laws derive from
//! them. Derived axes are memoised, so that a law that fires twice finds its old result.

use mixc_ir::{Ix, Name, Split};
use std::collections::{BTreeSet, HashMap};

/// At most this many axes: an [`AxisSet`] is one word of bits.
pub const MAX_AXES: usize = 128;
/// At most this many renamed copies of one axis (`x * x * x` needs two).
const MAX_COPIES: usize = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ax(u8);

impl Ax {
    pub fn number(self) -> usize {
        self.0 as usize
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AxisSet(u128);

impl AxisSet {
    pub const EMPTY: AxisSet = AxisSet(0);

    pub fn of(axes: &[Ax]) -> AxisSet {
        AxisSet(axes.iter().fold(0, |bits, a| bits | 1 << a.0))
    }

    pub fn contains(self, a: Ax) -> bool {
        self.0 >> a.0 & 1 == 1
    }

    pub fn with(self, a: Ax) -> AxisSet {
        AxisSet(self.0 | 1 << a.0)
    }

    pub fn without(self, a: Ax) -> AxisSet {
        AxisSet(self.0 & !(1 << a.0))
    }

    pub fn union(self, other: AxisSet) -> AxisSet {
        AxisSet(self.0 | other.0)
    }

    pub fn minus(self, other: AxisSet) -> AxisSet {
        AxisSet(self.0 & !other.0)
    }

    pub fn intersection(self, other: AxisSet) -> AxisSet {
        AxisSet(self.0 & other.0)
    }

    pub fn meets(self, other: AxisSet) -> bool {
        self.0 & other.0 != 0
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    pub fn iter(self) -> impl Iterator<Item = Ax> {
        let mut bits = self.0;
        std::iter::from_fn(move || {
            (bits != 0).then(|| {
                let a = Ax(bits.trailing_zeros() as u8);
                bits &= bits - 1;
                a
            })
        })
    }
}

/// Why an axis was split; each kind has one symbolic size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Cut {
    /// Chunks of the time axis.
    Chunk,
    /// Chunks within a chunk.
    Sub,
    /// Parts of the key axis that are reduced in parallel.
    Key,
}

impl Cut {
    /// The size symbol; a program that declares it gets one with an underscore more.
    pub fn symbol(self) -> &'static str {
        match self {
            Cut::Chunk => "C",
            Cut::Sub => "C2",
            Cut::Key => "S",
        }
    }
}

/// Where an axis comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// An axis of the program, or a copy of one.
    Whole,
    Outer(Cut),
    Inner(Cut),
}

#[derive(Clone, Debug)]
struct Info {
    name: Name,
    size: Ix,
    origin: Origin,
    /// A position in a sequence, as opposed to a feature, head or batch element.
    sequence: bool,
}

#[derive(Clone, Copy, Debug)]
struct Part {
    axis: Ax,
    outer: Ax,
    inner: Ax,
    cut: Cut,
}

#[derive(Clone, Debug, Default)]
pub struct Axes {
    infos: Vec<Info>,
    parts: Vec<Part>,
    by_name: HashMap<Name, Ax>,
    splits: HashMap<(Ax, Cut), (Ax, Ax)>,
    copies: HashMap<(Ax, usize), Ax>,
    moves: HashMap<(Ax, Ax), Ax>,
    /// Size symbols that the program has itself.
    pub declared: BTreeSet<Name>,
}

impl Axes {
    /// The number of an axis of the program; None if there are too many.
    pub fn intern(&mut self, name: &Name, size: &Ix, sequence: bool) -> Option<Ax> {
        match self.by_name.get(name) {
            Some(a) => Some(*a),
            None => self.add(name.clone(), size.clone(), Origin::Whole, sequence),
        }
    }

    fn add(&mut self, name: Name, size: Ix, origin: Origin, sequence: bool) -> Option<Ax> {
        if self.infos.len() == MAX_AXES {
            return None;
        }
        let a = Ax(self.infos.len() as u8);
        self.by_name.insert(name.clone(), a);
        self.infos.push(Info {
            name,
            size,
            origin,
            sequence,
        });
        Some(a)
    }

    fn fresh_name(&self, wanted: String) -> Name {
        let mut name = wanted;
        while self.by_name.contains_key(name.as_str()) {
            name.push('_');
        }
        name.into()
    }

    pub fn all(&self) -> impl Iterator<Item = Ax> {
        (0..self.infos.len()).map(|n| Ax(n as u8))
    }

    pub fn get(&self, name: &str) -> Option<Ax> {
        self.by_name.get(name).copied()
    }

    pub fn name(&self, a: Ax) -> &Name {
        &self.infos[a.0 as usize].name
    }

    pub fn names(&self, set: AxisSet) -> Vec<Name> {
        set.iter().map(|a| self.name(a).clone()).collect()
    }

    pub fn size(&self, a: Ax) -> &Ix {
        &self.infos[a.0 as usize].size
    }

    pub fn origin(&self, a: Ax) -> Origin {
        self.infos[a.0 as usize].origin
    }

    pub fn is_sequence(&self, a: Ax) -> bool {
        self.infos[a.0 as usize].sequence
    }

    /// The symbolic size of the inner parts.
    pub fn cut_size(&self, cut: Cut) -> Ix {
        let mut symbol = cut.symbol().to_string();
        while self.declared.contains(symbol.as_str()) {
            symbol.push('_');
        }
        Ix::dim(&symbol)
    }

    /// Outer and inner part of an axis.
    pub fn split(&mut self, a: Ax, cut: Cut) -> Option<(Ax, Ax)> {
        if let Some(parts) = self.splits.get(&(a, cut)) {
            return Some(*parts);
        }
        let Info {
            name,
            size,
            sequence,
            ..
        } = self.infos[a.0 as usize].clone();
        let part = self.cut_size(cut);
        let parts_size = size.ceil_div(part.clone());
        let outer = self.add(
            self.fresh_name(format!("{name}0")),
            parts_size,
            Origin::Outer(cut),
            sequence,
        )?;
        let inner = self.add(
            self.fresh_name(format!("{name}1")),
            part,
            Origin::Inner(cut),
            sequence,
        )?;
        self.parts.push(Part {
            axis: a,
            outer,
            inner,
            cut,
        });
        self.splits.insert((a, cut), (outer, inner));
        Some((outer, inner))
    }

    /// The n-th renamed copy of an axis. A copy of an inner part lies in the same outer part.
    pub fn copy(&mut self, a: Ax, n: usize) -> Option<Ax> {
        if let Some(copy) = self.copies.get(&(a, n)) {
            return Some(*copy);
        }
        if n >= MAX_COPIES {
            return None;
        }
        let Info {
            name,
            size,
            origin,
            sequence,
        } = self.infos[a.0 as usize].clone();
        let suffix = if n == 0 {
            "k".to_string()
        } else {
            format!("k{}", n + 1)
        };
        let copy = self.add(
            self.fresh_name(format!("{name}_{suffix}")),
            size,
            origin,
            sequence,
        )?;
        if let Some(part) = self.parts.iter().find(|p| p.inner == a).copied() {
            self.parts.push(Part {
                inner: copy,
                ..part
            });
        }
        self.copies.insert((a, n), copy);
        Some(copy)
    }

    /// The outer part beside an inner part. A reduction over the inner part depends on it even if
    /// what is reduced does not: the last part can be shorter.
    pub fn outer_of(&self, inner: Ax) -> Option<Ax> {
        self.parts
            .iter()
            .find(|p| p.inner == inner)
            .map(|p| p.outer)
    }

    /// An inner part like `inner` that lies in another outer part.
    pub fn moved(&mut self, inner: Ax, outer: Ax) -> Option<Ax> {
        let part = *self.parts.iter().find(|p| p.inner == inner)?;
        if part.outer == outer {
            return Some(inner);
        }
        if let Some(moved) = self.moves.get(&(inner, outer)) {
            return Some(*moved);
        }
        let Info {
            name,
            size,
            origin,
            sequence,
        } = self.infos[inner.0 as usize].clone();
        let moved = self.add(self.fresh_name(format!("{name}_m")), size, origin, sequence)?;
        let axis = self
            .parts
            .iter()
            .find(|p| p.outer == outer)
            .map_or(part.axis, |p| p.axis);
        self.parts.push(Part {
            axis,
            outer,
            inner: moved,
            cut: part.cut,
        });
        self.moves.insert((inner, outer), moved);
        Some(moved)
    }

    /// The first copy of `a` outside `taken`.
    pub fn copy_outside(&mut self, a: Ax, taken: AxisSet) -> Option<Ax> {
        (0..MAX_COPIES).find_map(|n| self.copy(a, n).filter(|copy| !taken.contains(*copy)))
    }

    /// The splits whose both parts are in `used`.
    pub fn splits_among(&self, used: &dyn Fn(&Name) -> bool) -> Vec<Split> {
        let mut splits: Vec<Split> = self
            .parts
            .iter()
            .map(|p| Split {
                axis: self.name(p.axis).clone(),
                outer: self.name(p.outer).clone(),
                inner: self.name(p.inner).clone(),
                size: self.cut_size(p.cut),
            })
            .filter(|s| used(&s.outer) && used(&s.inner))
            .collect();
        splits.dedup();
        splits
    }
}

/// What an axis becomes under a substitution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Image {
    Axis(Ax),
    /// `outer * size + inner`.
    Parts {
        outer: Ax,
        inner: Ax,
        cut: Cut,
    },
}

impl Image {
    pub fn axes(self) -> AxisSet {
        match self {
            Image::Axis(a) => AxisSet::of(&[a]),
            Image::Parts { outer, inner, .. } => AxisSet::of(&[outer, inner]),
        }
    }

    pub fn index(self, axes: &Axes) -> Ix {
        let axis = |a: Ax| Ix::Axis(axes.name(a).clone());
        match self {
            Image::Axis(a) => axis(a),
            Image::Parts { outer, inner, cut } => axis(outer) * axes.cut_size(cut) + axis(inner),
        }
    }
}
