//! Arithmetic of one lane, bit by bit as PTX states it.
//!
//! In: operand bits. Out: result bits. It does not know registers, warps or instructions.
//!
//! Rounding: every operation with a rounding mode is computed exactly (as an unevaluated sum of two
//! doubles, see [`round::Exact`]) and rounded once. NaN results are the canonical NaN of the format
//! (PTX ISA, "Floating Point Instructions": `0x7fffffff` for `.f32`, `0x7fff` for 16-bit formats).

pub mod approximate;
pub mod convert;
pub mod float;
pub mod half_precision;
pub mod integer;
pub mod round;
pub mod simd;

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

/// The formula of an arithmetic instruction for a whole warp: sources, then the result.
///
/// Made by [`lanes!`], which picks the version for this processor; [`LaneFn::run`] is the way to call it.
#[derive(Clone, Copy)]
pub enum LaneFn {
    F1(unsafe fn(&Lanes, &mut Lanes)),
    F2(unsafe fn(&Lanes, &Lanes, &mut Lanes)),
    F3(unsafe fn(&Lanes, &Lanes, &Lanes, &mut Lanes)),
    F4(unsafe fn(&Lanes, &Lanes, &Lanes, &Lanes, &mut Lanes)),
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

    /// The result for sources `a`, of which the first [`LaneFn::arity`] are read.
    #[inline(always)]
    pub fn run(self, a: [&Lanes; 4], d: &mut Lanes) {
        // SAFETY: the functions are safe but for the processor features that some are compiled for, and
        // `lanes!` takes those only after `simd::wide` has found the features.
        unsafe {
            match self {
                LaneFn::F1(f) => f(a[0], d),
                LaneFn::F2(f) => f(a[0], a[1], d),
                LaneFn::F3(f) => f(a[0], a[1], a[2], d),
                LaneFn::F4(f) => f(a[0], a[1], a[2], a[3], d),
            }
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
    (|$a:ident: $ta:ty| $e:expr) => {
        $crate::numeric::lanes!(@versions F1, (x: $a: $ta), $e)
    };
    (|$a:ident: $ta:ty, $b:ident: $tb:ty| $e:expr) => {
        $crate::numeric::lanes!(@versions F2, (x: $a: $ta, y: $b: $tb), $e)
    };
    (|$a:ident: $ta:ty, $b:ident: $tb:ty, $c:ident: $tc:ty| $e:expr) => {
        $crate::numeric::lanes!(@versions F3, (x: $a: $ta, y: $b: $tb, z: $c: $tc), $e)
    };
    (|$a:ident: $ta:ty, $b:ident: $tb:ty, $c:ident: $tc:ty, $g:ident: $tg:ty| $e:expr) => {
        $crate::numeric::lanes!(@versions F4, (x: $a: $ta, y: $b: $tb, z: $c: $tc, w: $g: $tg), $e)
    };
    (@versions $arity:ident, ($($x:ident: $v:ident: $t:ty),+), $e:expr) => {{
        use $crate::numeric::{Bits, Lanes, simd};
        simd::versions! {
            fn f, f_wide($($x: &Lanes),+, d: &mut Lanes) {
                for i in 0..32 {
                    $(let $v = <$t as Bits>::of($x[i]);)+
                    d[i] = Bits::bits($e);
                }
            }
        }
        $crate::numeric::LaneFn::$arity(if simd::wide() { f_wide } else { f })
    }};
}
pub(crate) use lanes;
