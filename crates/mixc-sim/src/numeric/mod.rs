//! Arithmetic of one lane, bit by bit as PTX states it.
//!
//! In: operand bits. Out: result bits. It does not know registers, warps or instructions.
//!
//! Rounding: every operation with a rounding mode is computed exactly (as an unevaluated sum of two
//! doubles, see [`round::Exact`]) and rounded once. NaN results are the canonical NaN of the format
//! (PTX ISA, "Floating Point Instructions": `0x7fffffff` for `.f32`, `0x7fff` for 16-bit formats).

pub mod convert;
pub mod float;
pub mod half_precision;
pub mod integer;
pub mod round;

/// A value of all lanes of a warp.
pub type Lanes = [u64; 32];

/// A register's bits as a Rust type and back; bits above the type's width are zero.
pub trait Bits: Copy {
    fn of(bits: u64) -> Self;
    fn bits(self) -> u64;
}

macro_rules! int_bits {
    ($($t:ty as $u:ty),*) => {$(
        impl Bits for $t {
            #[inline(always)]
            fn of(bits: u64) -> $t { bits as $t }
            #[inline(always)]
            fn bits(self) -> u64 { u64::from(self as $u) }
        }
    )*};
}
int_bits!(
    u8 as u8, u16 as u16, u32 as u32, u64 as u64, i8 as u8, i16 as u16, i32 as u32, i64 as u64
);

impl Bits for bool {
    #[inline(always)]
    fn of(bits: u64) -> bool {
        bits & 1 != 0
    }
    #[inline(always)]
    fn bits(self) -> u64 {
        u64::from(self)
    }
}

impl Bits for f32 {
    #[inline(always)]
    fn of(bits: u64) -> f32 {
        f32::from_bits(bits as u32)
    }
    #[inline(always)]
    fn bits(self) -> u64 {
        u64::from(self.to_bits())
    }
}

impl Bits for f64 {
    #[inline(always)]
    fn of(bits: u64) -> f64 {
        f64::from_bits(bits)
    }
    #[inline(always)]
    fn bits(self) -> u64 {
        self.to_bits()
    }
}

/// The value one lane at a time, for a whole warp: the compact form of an arithmetic instruction.
#[derive(Clone, Copy)]
pub enum LaneFn {
    F1(fn(&Lanes, &mut Lanes)),
    F2(fn(&Lanes, &Lanes, &mut Lanes)),
    F3(fn(&Lanes, &Lanes, &Lanes, &mut Lanes)),
    F4(fn(&Lanes, &Lanes, &Lanes, &Lanes, &mut Lanes)),
}

impl LaneFn {
    pub fn arity(self) -> usize {
        match self {
            LaneFn::F1(_) => 1,
            LaneFn::F2(_) => 2,
            LaneFn::F3(_) => 3,
            LaneFn::F4(_) => 4,
        }
    }
}

impl std::fmt::Debug for LaneFn {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "LaneFn/{}", self.arity())
    }
}

/// `lanes!(|a: u32, b: u32| a.wrapping_add(b))`: the loop over a warp around one scalar formula.
macro_rules! lanes {
    (|$a:ident: $ta:ty| $e:expr) => {{
        fn f(x: &$crate::numeric::Lanes, d: &mut $crate::numeric::Lanes) {
            for i in 0..32 {
                let $a = <$ta as $crate::numeric::Bits>::of(x[i]);
                d[i] = $crate::numeric::Bits::bits($e);
            }
        }
        $crate::numeric::LaneFn::F1(f)
    }};
    (|$a:ident: $ta:ty, $b:ident: $tb:ty| $e:expr) => {{
        fn f(
            x: &$crate::numeric::Lanes,
            y: &$crate::numeric::Lanes,
            d: &mut $crate::numeric::Lanes,
        ) {
            for i in 0..32 {
                let $a = <$ta as $crate::numeric::Bits>::of(x[i]);
                let $b = <$tb as $crate::numeric::Bits>::of(y[i]);
                d[i] = $crate::numeric::Bits::bits($e);
            }
        }
        $crate::numeric::LaneFn::F2(f)
    }};
    (|$a:ident: $ta:ty, $b:ident: $tb:ty, $c:ident: $tc:ty| $e:expr) => {{
        fn f(
            x: &$crate::numeric::Lanes,
            y: &$crate::numeric::Lanes,
            z: &$crate::numeric::Lanes,
            d: &mut $crate::numeric::Lanes,
        ) {
            for i in 0..32 {
                let $a = <$ta as $crate::numeric::Bits>::of(x[i]);
                let $b = <$tb as $crate::numeric::Bits>::of(y[i]);
                let $c = <$tc as $crate::numeric::Bits>::of(z[i]);
                d[i] = $crate::numeric::Bits::bits($e);
            }
        }
        $crate::numeric::LaneFn::F3(f)
    }};
    (|$a:ident: $ta:ty, $b:ident: $tb:ty, $c:ident: $tc:ty, $g:ident: $tg:ty| $e:expr) => {{
        fn f(
            x: &$crate::numeric::Lanes,
            y: &$crate::numeric::Lanes,
            z: &$crate::numeric::Lanes,
            w: &$crate::numeric::Lanes,
            d: &mut $crate::numeric::Lanes,
        ) {
            for i in 0..32 {
                let $a = <$ta as $crate::numeric::Bits>::of(x[i]);
                let $b = <$tb as $crate::numeric::Bits>::of(y[i]);
                let $c = <$tc as $crate::numeric::Bits>::of(z[i]);
                let $g = <$tg as $crate::numeric::Bits>::of(w[i]);
                d[i] = $crate::numeric::Bits::bits($e);
            }
        }
        $crate::numeric::LaneFn::F4(f)
    }};
}
pub(crate) use lanes;
