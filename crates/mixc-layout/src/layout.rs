//! The type: named bits in, named coordinates out.

use crate::gf2::Span;

/// A linear map over GF(2) from input bits to output coordinates.
///
/// Inputs and outputs are named and ordered, and each has a number of bits. Applied to a value for
/// each input it gives for each output the XOR of the vectors of the bits that are set. The order
/// of the inputs matters where a choice between several inputs for one element is made: bits that
/// come first are preferred, see [`Layout::free_bits`].
///
/// Names and values handed to its methods come from the compiler itself. A name that the layout
/// does not have, or a value with too many bits, is a bug and panics.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Layout {
    ins: Vec<Input>,
    outs: Vec<(String, u32)>,
}

/// One input: for each of its bits, lowest first, one value for each output.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Input {
    name: String,
    bits: Vec<Vec<u32>>,
}

impl Layout {
    /// A layout with these outputs `(name, bits)` and no input yet.
    pub fn new(outs: &[(&str, u32)]) -> Layout {
        let mut layout = Layout {
            ins: vec![],
            outs: vec![],
        };
        for (name, bits) in outs {
            assert!(!layout.has_out(name), "bug: output `{name}` is given twice");
            assert!(*bits <= 32, "bug: output `{name}` has {bits} bits");
            layout.outs.push((name.to_string(), *bits));
        }
        assert!(
            layout.total_out_bits() <= 128,
            "bug: more than 128 output bits"
        );
        layout
    }

    /// Makes sure that `input` exists, with no bits where it is new.
    pub fn with_input(mut self, input: &str) -> Layout {
        self.input_place(input);
        self
    }

    /// Appends the next bit of `input`, which moves each named output by XOR with the value given.
    /// No outputs at all make it a broadcast bit: both of its values are the same element.
    pub fn with_bit(mut self, input: &str, vector: &[(&str, u32)]) -> Layout {
        let mut values = vec![0; self.outs.len()];
        for (name, value) in vector {
            let place = self.out_place(name);
            assert!(
                fits(*value, self.outs[place].1),
                "bug: {value} has more bits than output `{name}`"
            );
            values[place] ^= value;
        }
        self.push(input, values);
        self
    }

    /// Sends the bits of one input to the same bits of one output.
    pub fn identity(name_in: &str, name_out: &str, bits: u32) -> Layout {
        let start = Layout::new(&[(name_out, bits)]).with_input(name_in);
        (0..bits).fold(start, |l, b| l.with_bit(name_in, &[(name_out, 1 << b)]))
    }

    /// The layout at zero for an input, without that input.
    pub fn without_input(mut self, input: &str) -> Layout {
        self.ins.retain(|i| i.name != input);
        self
    }

    /// The number of bits of an input; zero where the layout does not have it.
    pub fn in_bits(&self, input: &str) -> u32 {
        let input = self.ins.iter().find(|i| i.name == input);
        input.map_or(0, |i| i.bits.len() as u32)
    }

    /// The number of bits of an output; zero where the layout does not have it.
    pub fn out_bits(&self, out: &str) -> u32 {
        let out = self.outs.iter().find(|(name, _)| name == out);
        out.map_or(0, |(_, bits)| *bits)
    }

    /// The inputs in order, each with its number of bits.
    pub fn ins(&self) -> impl Iterator<Item = (&str, u32)> {
        let ins = self.ins.iter();
        ins.map(|i| (i.name.as_str(), i.bits.len() as u32))
    }

    /// The outputs in order, each with its number of bits.
    pub fn outs(&self) -> impl Iterator<Item = (&str, u32)> {
        self.outs.iter().map(|(name, bits)| (name.as_str(), *bits))
    }

    pub fn total_in_bits(&self) -> u32 {
        self.ins().map(|(_, bits)| bits).sum()
    }

    pub fn total_out_bits(&self) -> u32 {
        self.outs().map(|(_, bits)| bits).sum()
    }

    /// Where one bit of an input goes: one value for each output, in order.
    pub fn basis(&self, input: &str, bit: u32) -> Vec<u32> {
        let found = self.ins.iter().find(|i| i.name == input);
        let found = found.unwrap_or_else(|| panic!("bug: no input `{input}` in\n{self}"));
        let vector = found.bits.get(bit as usize);
        vector
            .unwrap_or_else(|| panic!("bug: no bit {bit} of input `{input}` in\n{self}"))
            .clone()
    }

    /// The coordinates for a value of each input; inputs that are not named are zero.
    pub fn apply(&self, at: &[(&str, u32)]) -> Vec<(String, u32)> {
        let names = self.outs.iter().map(|(name, _)| name.clone());
        names.zip(self.values(at)).collect()
    }

    /// One coordinate for a value of each input; inputs that are not named are zero.
    pub fn apply_to(&self, out: &str, at: &[(&str, u32)]) -> u32 {
        self.values(at)[self.out_place(out)]
    }

    /// [`Layout::apply`] without the names.
    pub fn values(&self, at: &[(&str, u32)]) -> Vec<u32> {
        let mut values = vec![0; self.outs.len()];
        for (name, value) in at {
            assert!(
                fits(*value, self.in_bits(name)),
                "bug: {value} has more bits than input `{name}`"
            );
            for bit in set_bits(*value) {
                for (sum, part) in values.iter_mut().zip(self.basis(name, bit)) {
                    *sum ^= part;
                }
            }
        }
        values
    }

    /// No element is held twice.
    pub fn is_injective(&self) -> bool {
        self.rank() == self.total_in_bits()
    }

    /// Every element is held.
    pub fn is_surjective(&self) -> bool {
        self.rank() == self.total_out_bits()
    }

    /// The number of independent bits: 2^rank elements are reached.
    pub fn rank(&self) -> u32 {
        self.span().rank()
    }

    /// The mask of bits of `input` that are redundant: their vectors are sums of those of bits that
    /// come before them (lower bits of the same input, and inputs in front of it), as the zero
    /// vectors of broadcast bits always are.
    ///
    /// The inputs whose free bits are all zero hold every element exactly once, so a store guarded
    /// by that condition writes each element once.
    pub fn free_bits(&self, input: &str) -> u32 {
        let free = self.span().dependent();
        let mut first = 0;
        for (name, bits) in self.ins() {
            if name == input {
                return ((free >> first) & ((1 << bits) - 1)) as u32;
            }
            first += bits;
        }
        0
    }

    pub(crate) fn has_out(&self, out: &str) -> bool {
        self.outs.iter().any(|(name, _)| name == out)
    }

    fn out_place(&self, out: &str) -> usize {
        let place = self.outs.iter().position(|(name, _)| name == out);
        place.unwrap_or_else(|| panic!("bug: no output `{out}` in\n{self}"))
    }

    fn input_place(&mut self, input: &str) -> usize {
        if let Some(place) = self.ins.iter().position(|i| i.name == input) {
            return place;
        }
        self.ins.push(Input {
            name: input.to_string(),
            bits: vec![],
        });
        self.ins.len() - 1
    }

    /// Appends a bit with one value for each output.
    pub(crate) fn push(&mut self, input: &str, values: Vec<u32>) {
        let place = self.input_place(input);
        self.ins[place].bits.push(values);
        assert!(
            self.ins[place].bits.len() <= 32 && self.total_in_bits() <= 128,
            "bug: too many bits of input `{input}`"
        );
    }

    /// Appends a bit whose vector is given as in [`Layout::columns`].
    pub(crate) fn push_packed(&mut self, input: &str, packed: u128) {
        let values = unpack(packed, self.outs());
        self.push(input, values);
    }

    /// All bits in order as packed vectors, the first output lowest.
    pub(crate) fn columns(&self) -> impl Iterator<Item = u128> {
        let bits = self.ins.iter().flat_map(|i| &i.bits);
        bits.map(|values| pack(values, self.outs()))
    }

    pub(crate) fn span(&self) -> Span {
        Span::of(self.columns())
    }
}

/// Values of named coordinates as one vector, the first one lowest.
pub(crate) fn pack<'a>(values: &[u32], places: impl Iterator<Item = (&'a str, u32)>) -> u128 {
    let (mut packed, mut first) = (0, 0);
    for (value, (_, bits)) in values.iter().zip(places) {
        // A coordinate without bits may come after all 128.
        packed |= u128::from(*value).checked_shl(first).unwrap_or(0);
        first += bits;
    }
    packed
}

/// The inverse of [`pack`].
pub(crate) fn unpack<'a>(packed: u128, places: impl Iterator<Item = (&'a str, u32)>) -> Vec<u32> {
    let mut first = 0;
    let value = |(_, bits): (&str, u32)| {
        let rest = packed.checked_shr(first).unwrap_or(0);
        first += bits;
        (rest & ((1 << bits) - 1)) as u32
    };
    places.map(value).collect()
}

pub(crate) fn fits(value: u32, bits: u32) -> bool {
    u64::from(value) >> bits == 0
}

/// The numbers of the bits that are set, lowest first.
pub(crate) fn set_bits(value: u32) -> impl Iterator<Item = u32> {
    (0..32).filter(move |bit| value >> bit & 1 == 1)
}
