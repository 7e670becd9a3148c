//! What must move so that a tile held in one layout is held in another.
//!
//! Both layouts go from [`REGISTER`], [`LANE`] and [`WARP`] to the same tile. [`plan`] finds the
//! cheapest kind of movement; [`Shuffle::new`] and [`Exchange::new`] can be asked for directly where
//! an emitter wants to weigh one against the other.

pub use crate::exchange::{Exchange, Transfer};
pub use crate::shuffle::{PASS, ROUND, Shuffle};
use crate::{LANE, Layout, LayoutError, REGISTER, WARP};

/// A way from one register layout to another, from cheap to costly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Conversion {
    /// Every thread holds what it wants, register by register.
    Nothing,
    /// Every thread holds what it wants: destination register `r` is source register `[r]`. No
    /// instructions, only other names.
    Registers(Vec<u32>),
    /// Every thread holds what it wants, but in which register depends on the thread.
    Select(Select),
    /// What a thread wants is held in its warp.
    Shuffle(Shuffle),
    /// What a thread wants may be held in another warp.
    Shared(Exchange),
}

/// The source register by destination register, lane and warp.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Select {
    /// [`REGISTER`], [`LANE`], [`WARP`] to [`REGISTER`], all of them numbers of units.
    pub source: Layout,
    /// The elements of one unit: consecutive registers that stay together in a 32-bit word.
    pub unit: u32,
}

/// Plans the conversion of elements of `elem_bytes` from `from` to `to`.
///
/// # Errors
/// When the layouts are over different tiles, `to` wants an element that `from` does not hold, or the
/// size of an element is not a power of two up to 16.
pub fn plan(from: &Layout, to: &Layout, elem_bytes: u32) -> Result<Conversion, LayoutError> {
    let moved = from.conversion(to)?;
    if !stays(&moved, WARP) {
        return Ok(Conversion::Shared(Exchange::new(from, to, elem_bytes)?));
    }
    if !stays(&moved, LANE) {
        return Ok(Conversion::Shuffle(Shuffle::new(from, to, elem_bytes)?));
    }
    if moved.depends_on(REGISTER, LANE) || moved.depends_on(REGISTER, WARP) {
        let (moved, unit) = units(&moved, elem_bytes);
        let source = moved.project(&[REGISTER]);
        return Ok(Conversion::Select(Select { source, unit }));
    }
    let registers = 0..1 << to.in_bits(REGISTER);
    let source = |r| moved.apply_to(REGISTER, &[(REGISTER, r)]);
    let sources: Vec<u32> = registers.map(source).collect();
    if stays(&moved, REGISTER) && from.in_bits(REGISTER) == to.in_bits(REGISTER) {
        Ok(Conversion::Nothing)
    } else {
        Ok(Conversion::Registers(sources))
    }
}

/// Whether a conversion fetches from the same value of this input everywhere.
pub(crate) fn stays(moved: &Layout, name: &str) -> bool {
    let place = moved.outs().position(|(out, _)| out == name);
    let mut bits = moved
        .ins()
        .flat_map(|(n, bits)| (0..bits).map(move |b| (n, b)));
    bits.all(|(input, bit)| {
        let source = place.map_or(0, |place| moved.basis(input, bit)[place]);
        source == if input == name { 1 << bit } else { 0 }
    })
}

/// For each register of a layout the smallest one of the same thread that always holds the same
/// element.
pub(crate) fn same_registers(layout: &Layout) -> Layout {
    let others = layout
        .ins()
        .map(|(name, _)| name)
        .filter(|n| *n != REGISTER);
    let others: Vec<&str> = others.collect();
    let alone = others
        .iter()
        .fold(layout.clone(), |l, name| l.without_input(name));
    alone.with_input(REGISTER).smallest_places()
}

/// Takes low register bits that stay as they are out of a conversion, as long as the elements that
/// they number fit a 32-bit word; also gives the number of these elements. The outputs are the
/// register and the lane.
pub(crate) fn units(moved: &Layout, elem_bytes: u32) -> (Layout, u32) {
    let outs = [REGISTER, LANE].map(|name| (name, moved.out_bits(name)));
    let source = |input: &str, bit: u32| {
        let values = moved.basis(input, bit);
        let value = |name| {
            moved
                .outs()
                .position(|(out, _)| out == name)
                .map_or(0, |p| values[p])
        };
        (value(REGISTER), value(LANE))
    };
    let all = || {
        moved
            .ins()
            .flat_map(|(n, bits)| (0..bits).map(move |b| (n, b)))
    };
    let alone = |low: u32| {
        let has = low < moved.in_bits(REGISTER) && source(REGISTER, low) == (1 << low, 0);
        let others = all().filter(|at| *at != (REGISTER, low));
        has && others
            .into_iter()
            .all(|(n, b)| source(n, b).0 >> low & 1 == 0)
    };
    let word = (4 / elem_bytes.max(1)).max(1).ilog2();
    let together = (0..word).take_while(|low| alone(*low)).count() as u32;

    let outs = outs.map(|(n, bits)| (n, if n == REGISTER { bits - together } else { bits }));
    let mut rest = Layout::new(&outs);
    for input in [REGISTER, LANE, WARP] {
        rest = rest.with_input(input);
        let first = if input == REGISTER { together } else { 0 };
        for bit in first..moved.in_bits(input) {
            let (register, lane) = source(input, bit);
            rest = rest.with_bit(input, &[(REGISTER, register >> together), (LANE, lane)]);
        }
    }
    (rest, 1 << together)
}
