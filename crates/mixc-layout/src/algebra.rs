//! Layouts made of layouts.

use crate::gf2::Span;
use crate::layout::{pack, unpack};
use crate::{LANE, Layout, LayoutError, REGISTER, WARP};

impl Layout {
    /// `outer(self(x))`: the outputs of this layout go into the inputs of `outer` with the same
    /// names. Inputs of `outer` that this layout does not give are zero.
    ///
    /// # Errors
    /// [`LayoutError::MissingInput`] when `outer` lacks one of the names, [`LayoutError::TooWide`]
    /// when an output has more bits than the input that it goes to.
    pub fn compose(&self, outer: &Layout) -> Result<Layout, LayoutError> {
        for (name, bits) in self.outs() {
            let Some((_, limit)) = outer.ins().find(|(n, _)| *n == name) else {
                let name = name.to_string();
                return Err(LayoutError::MissingInput { name });
            };
            if bits > limit {
                return Err(LayoutError::TooWide {
                    name: name.to_string(),
                    found: bits,
                    limit,
                });
            }
        }
        let names: Vec<&str> = self.outs().map(|(name, _)| name).collect();
        Ok(self.map_vectors(outer.outs(), |vector| {
            let at: Vec<_> = names.iter().copied().zip(vector.iter().copied()).collect();
            outer.values(&at)
        }))
    }

    /// The layout that undoes this one.
    ///
    /// # Errors
    /// When this layout is not a bijection.
    pub fn invert(&self) -> Result<Layout, LayoutError> {
        let (rank, bits) = (self.rank(), self.total_in_bits());
        if rank < bits {
            return Err(LayoutError::NotInjective { rank, bits });
        }
        self.pseudo_invert()
    }

    /// For every element a place that holds it: `self(result(y)) = y`. Of several places it is the
    /// one whose [free bits](Layout::free_bits) are zero, which is the smallest when the inputs are
    /// read as one number whose lowest bits are those of the first input.
    ///
    /// # Errors
    /// [`LayoutError::NotSurjective`] when some element has no place.
    pub fn pseudo_invert(&self) -> Result<Layout, LayoutError> {
        let span = self.span();
        let (rank, bits) = (span.rank(), self.total_out_bits());
        if rank < bits {
            return Err(LayoutError::NotSurjective { rank, bits });
        }
        let ins: Vec<_> = self.ins().collect();
        let mut inverse = Layout::new(&ins);
        let mut at = 0;
        for (name, bits) in self.outs() {
            inverse = inverse.with_input(name);
            for _ in 0..bits {
                let place = span.solve(1 << at);
                let place = place.expect("bug: a full-rank layout reaches every vector");
                inverse.push_packed(name, place);
                at += 1;
            }
        }
        Ok(inverse)
    }

    /// For each place the smallest place that holds the same element, in the order of
    /// [`Layout::pseudo_invert`]: a layout from the inputs to themselves.
    pub fn smallest_places(&self) -> Layout {
        let span = self.span();
        let ins: Vec<_> = self.ins().collect();
        let mut smallest = Layout::new(&ins);
        let mut at = 0;
        for (name, bits) in ins {
            smallest = smallest.with_input(name);
            for _ in 0..bits {
                smallest.push_packed(name, span.smallest(1 << at));
                at += 1;
            }
        }
        smallest
    }

    /// Keeps only these outputs, in the order given. Bits that moved nothing else become broadcast
    /// bits: the layout of a slice, or of what a reduction over the other outputs leaves.
    pub fn project(&self, outs: &[&str]) -> Layout {
        let places: Vec<usize> = outs.iter().map(|name| self.place_of(name)).collect();
        let kept = outs.iter().map(|name| (*name, self.out_bits(name)));
        self.map_vectors(kept, |vector| places.iter().map(|p| vector[*p]).collect())
    }

    pub fn rename_out(&self, from: &str, to: &str) -> Layout {
        self.place_of(from);
        let outs = self.outs();
        let outs = outs.map(|(name, bits)| (if name == from { to } else { name }, bits));
        self.map_vectors(outs, |vector| vector.to_vec())
    }

    /// Renames an input; a layout that does not have it is unchanged.
    pub fn rename_in(&self, from: &str, to: &str) -> Layout {
        let outs: Vec<_> = self.outs().collect();
        let mut renamed = Layout::new(&outs);
        for (name, bits) in self.ins() {
            let new = if name == from { to } else { name };
            assert!(
                renamed.ins().all(|(n, _)| n != new),
                "bug: there is an input `{new}` already"
            );
            renamed = renamed.with_input(new);
            for bit in 0..bits {
                renamed.push(new, self.basis(name, bit));
            }
        }
        renamed
    }

    /// The direct product. Bits of inputs with the same name are concatenated, those of `self`
    /// first. Of an output that both have, the bits of `other` come above those of `self`: a tile
    /// of `self`'s tiles, arranged as `other` says.
    pub fn product(&self, other: &Layout) -> Layout {
        let mut outs: Vec<(&str, u32)> = self.outs().collect();
        // For each output of `other`: its place in the product, and how far its bits go up.
        let mut places = vec![];
        for (name, bits) in other.outs() {
            match outs.iter().position(|(n, _)| *n == name) {
                Some(place) => {
                    places.push((place, outs[place].1));
                    outs[place].1 += bits;
                }
                None => {
                    places.push((outs.len(), 0));
                    outs.push((name, bits));
                }
            }
        }
        let mut product = self.map_vectors(outs.iter().copied(), |vector| {
            let mut values = vector.to_vec();
            values.resize(outs.len(), 0);
            values
        });
        for (name, bits) in other.ins() {
            product = product.with_input(name);
            for bit in 0..bits {
                let mut values = vec![0; outs.len()];
                for (value, (place, up)) in other.basis(name, bit).iter().zip(&places) {
                    // An output of 32 bits leaves nothing to shift.
                    values[*place] = value.checked_shl(*up).unwrap_or(0);
                }
                product.push(name, values);
            }
        }
        product
    }

    /// For each place of `to`, a place of `self` that holds the same element:
    /// `self(result(x)) = to(x)`. The result takes the inputs of `to` and gives those of `self`.
    ///
    /// Where an element is held in several places, the choice is the one that moves least: first
    /// the warps stay the same wherever they can, then the lanes, then the registers.
    ///
    /// # Errors
    /// [`LayoutError::DifferentTiles`] when the outputs differ, [`LayoutError::NotHeld`] when `to`
    /// has an element that `self` lacks.
    pub fn conversion(&self, to: &Layout) -> Result<Layout, LayoutError> {
        let mut tile: Vec<_> = self.outs().collect();
        let mut wanted: Vec<_> = to.outs().collect();
        tile.sort_unstable();
        wanted.sort_unstable();
        if tile != wanted {
            let show = |l: &Layout| Layout::new(&l.outs().collect::<Vec<_>>()).to_string();
            return Err(LayoutError::DifferentTiles {
                left: show(self),
                right: show(to),
            });
        }
        let order: Vec<&str> = self.outs().map(|(name, _)| name).collect();
        let to = to.project(&order);

        // Costly inputs get the high bits, so that the numerically smallest difference between
        // source and destination is the one that moves least.
        let mut ins: Vec<_> = self.ins().collect();
        ins.sort_by_key(|(name, _)| cost(name));
        let columns = ins
            .iter()
            .flat_map(|(name, bits)| (0..*bits).map(|bit| self.basis(name, bit)));
        let span = Span::of(columns.map(|values| pack(&values, self.outs())));

        let outs: Vec<_> = self.ins().collect();
        let mut conversion = Layout::new(&outs);
        for (name, bits) in to.ins() {
            conversion = conversion.with_input(name);
            for bit in 0..bits {
                let element = pack(&to.basis(name, bit), to.outs());
                let Some(place) = span.solve(element) else {
                    let input = name.to_string();
                    return Err(LayoutError::NotHeld { input, bit });
                };
                let stay = ins.iter().map(|(n, size)| {
                    let same = *n == name && bit < *size;
                    if same { 1 << bit } else { 0 }
                });
                let stay = pack(&stay.collect::<Vec<_>>(), ins.iter().copied());
                let place = unpack(stay ^ span.smallest(place ^ stay), ins.iter().copied());
                let moved: Vec<_> = ins.iter().map(|(n, _)| *n).zip(place).collect();
                conversion = conversion.with_bit(name, &moved);
            }
        }
        Ok(conversion)
    }

    /// The same inputs with other vectors.
    fn map_vectors<'a>(
        &self,
        outs: impl Iterator<Item = (&'a str, u32)>,
        map: impl Fn(&[u32]) -> Vec<u32>,
    ) -> Layout {
        let mut mapped = Layout::new(&outs.collect::<Vec<_>>());
        for (name, bits) in self.ins() {
            mapped = mapped.with_input(name);
            for bit in 0..bits {
                mapped.push(name, map(&self.basis(name, bit)));
            }
        }
        mapped
    }

    fn place_of(&self, out: &str) -> usize {
        let place = self.outs().position(|(name, _)| name == out);
        place.unwrap_or_else(|| panic!("bug: no output `{out}` in\n{self}"))
    }

    /// Whether some bit of `input` moves `out`.
    pub fn depends_on(&self, out: &str, input: &str) -> bool {
        let place = self.place_of(out);
        (0..self.in_bits(input)).any(|bit| self.basis(input, bit)[place] != 0)
    }
}

/// How costly it is to fetch an element from another value of an input.
fn cost(input: &str) -> u32 {
    match input {
        REGISTER => 0,
        LANE => 1,
        WARP => 2,
        _ => 3,
    }
}
