//! The forms of arithmetic instructions: opcodes, operand types and the accuracy that PTX documents.

use super::values::Domain::{self, *};

/// How close to the exact value PTX promises a result to be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Accuracy {
    /// Defined to the bit.
    Exact,
    /// Units in the last place.
    Ulps(f64),
    /// The larger of a relative (here in units of the last place) and an absolute error.
    Within { ulps: f64, absolute: f64 },
}

/// One row: opcodes, then the types of the result and the sources as a signature.
///
/// Words of a signature: `t` the opcode's last type, `s` the first, `w` the last one twice as wide, a type,
/// or `#` with a constant. Where there are fewer domains than sources, the last one serves the rest.
pub struct Form {
    pub opcodes: &'static str,
    pub signature: &'static str,
    pub domains: &'static [Domain],
    pub accuracy: Accuracy,
    /// Needs `sm_90`.
    pub newer: bool,
}

const fn exact(opcodes: &'static str, signature: &'static str) -> Form {
    with(opcodes, signature, &[Any], Accuracy::Exact)
}

const fn with(
    opcodes: &'static str,
    signature: &'static str,
    domains: &'static [Domain],
    accuracy: Accuracy,
) -> Form {
    Form {
        opcodes,
        signature,
        domains,
        accuracy,
        newer: false,
    }
}

const fn newer(form: Form) -> Form {
    Form {
        newer: true,
        ..form
    }
}

const fn near(opcodes: &'static str, domains: &'static [Domain], accuracy: Accuracy) -> Form {
    with(opcodes, "t t", domains, accuracy)
}

use Accuracy::{Ulps, Within as Error};

/// Shift amounts and field positions, some past the width.
const SHIFT: &[Domain] = &[Any, Below(70)];

const TWO_PI: f64 = std::f64::consts::TAU;

/// 2^-n.
const fn below(n: i32) -> f64 {
    f64::from_bits(((1023 - n) as u64) << 52)
}

/// PTX ISA, sections 9.7.1 to 9.7.8 and the cited instruction for each error bound.
pub const FORMS: &[Form] = &[
    exact("{add,sub}.{u16,s16,u32,s32,u64,s64}", "t t t"),
    exact("{add,sub}.sat.s32", "t t t"),
    exact("mul.{lo,hi}.{u16,s16,u32,s32,u64,s64}", "t t t"),
    exact("mul.wide.{u16,s16,u32,s32}", "w t t"),
    exact("mad.{lo,hi}.{u16,s16,u32,s32,u64,s64}", "t t t t"),
    exact("mad.wide.{u16,s16,u32,s32}", "w t t w"),
    exact("mul24.{lo,hi}.{u32,s32}", "t t t"),
    exact("mad24.{lo,hi}.{u32,s32}", "t t t t"),
    exact("sad.{u16,s16,u32,s32,u64,s64}", "t t t t"),
    with(
        "{div,rem}.{u16,s16,u32,s32,u64,s64}",
        "t t t",
        &[Any, NonZero],
        Accuracy::Exact,
    ),
    exact("{abs,neg}.{s16,s32,s64}", "t t"),
    exact("{min,max}.{u16,s16,u32,s32,u64,s64}", "t t t"),
    newer(exact("{min,max}.relu.s32", "t t t")),
    exact("{and,or,xor}.{pred,b16,b32,b64}", "t t t"),
    exact("not.{pred,b16,b32,b64}", "t t"),
    exact("cnot.{b16,b32,b64}", "t t"),
    with("shl.{b16,b32,b64}", "t t u32", SHIFT, Accuracy::Exact),
    with(
        "shr.{b16,b32,b64,u16,u32,u64,s16,s32,s64}",
        "t t u32",
        SHIFT,
        Accuracy::Exact,
    ),
    with(
        "shf.{l,r}.{wrap,clamp}.b32",
        "t t t u32",
        &[Any, Any, Below(70)],
        Accuracy::Exact,
    ),
    exact("{popc,clz}.{b32,b64}", "u32 t"),
    exact("brev.{b32,b64}", "t t"),
    exact("bfind{,.shiftamt}.{u32,u64,s32,s64}", "u32 t"),
    with(
        "bfe.{u32,u64,s32,s64}",
        "t t u32 u32",
        SHIFT,
        Accuracy::Exact,
    ),
    with(
        "bfi.{b32,b64}",
        "t t t u32 u32",
        &[Any, Any, Below(70)],
        Accuracy::Exact,
    ),
    with(
        "bmsk.{clamp,wrap}.b32",
        "t t t",
        &[Below(70)],
        Accuracy::Exact,
    ),
    with(
        "szext.{clamp,wrap}.{u32,s32}",
        "t t u32",
        SHIFT,
        Accuracy::Exact,
    ),
    exact(
        "prmt.b32{,.f4e,.b4e,.rc8,.ecl,.ecr,.rc16}",
        "b32 b32 b32 b32",
    ),
    exact("lop3.b32", "t t t t #0xe8"),
    exact("lop3.b32", "t t t t #0x1b"),
    exact("dp4a.{u32,s32}.{u32,s32}", "b32 b32 b32 b32"),
    exact("dp2a.{lo,hi}.{u32,s32}.{u32,s32}", "b32 b32 b32 b32"),
    exact(
        "testp.{finite,infinite,number,notanumber,normal,subnormal}.{f32,f64}",
        "pred t",
    ),
    exact("copysign.{f32,f64}", "t t t"),
    exact("{add,sub,mul}{,.rn,.rz,.rm,.rp}{,.ftz}{,.sat}.f32", "t t t"),
    exact("{add,sub,mul}{,.rn,.rz,.rm,.rp}.f64", "t t t"),
    exact("{add,sub,mul}{,.rn}{,.ftz,.sat}.{f16,f16x2}", "t t t"),
    newer(exact("{add,sub,mul}{,.rn}.{bf16,bf16x2}", "t t t")),
    exact("{fma,mad}{.rn,.rz,.rm,.rp}{,.ftz}{,.sat}.f32", "t t t t"),
    exact("{fma,mad}.rn.f64", "t t t t"),
    exact("fma.rn{,.ftz,.sat,.relu}.{f16,f16x2}", "t t t t"),
    exact("fma.rn{,.relu}.{bf16,bf16x2}", "t t t t"),
    exact("div{.rn,.rz,.rm,.rp}{,.ftz}.f32", "t t t"),
    exact("div.rn.f64", "t t t"),
    exact("{rcp,sqrt}{.rn,.rz,.rm,.rp}{,.ftz}.f32", "t t"),
    exact("{rcp,sqrt}.rn.f64", "t t"),
    exact("{neg,abs}{,.ftz}.{f32,f16,f16x2}", "t t"),
    exact("{neg,abs}.{f64,bf16,bf16x2}", "t t"),
    exact("{min,max}{,.ftz}{,.NaN}.f32", "t t t"),
    exact("{min,max}.f64", "t t t"),
    exact("{min,max}{,.ftz}{,.NaN}.{f16,f16x2}", "t t t"),
    exact("{min,max}{,.NaN}.{bf16,bf16x2}", "t t t"),
    // "div": 2 ulp while 2^-126 <= |b| <= 2^126.
    with(
        "div.{approx,full}{,.ftz}.f32",
        "t t t",
        &[Within(-1e9, 1e9), Within(1e-3, 1e6)],
        Ulps(2.0),
    ),
    // "rcp": 1 ulp. "sqrt": relative 2^-23. "rsqrt": relative 2^-22.9. "ex2": relative 2^-22.
    near("rcp.approx{,.ftz}.f32", &[Within(-1e9, 1e9)], Ulps(1.0)),
    near("sqrt.approx{,.ftz}.f32", &[Within(1e-9, 1e9)], Ulps(2.0)),
    near("rsqrt.approx{,.ftz}.f32", &[Within(1e-9, 1e9)], Ulps(3.0)),
    near("ex2.approx{,.ftz}.f32", &[Within(-100.0, 100.0)], Ulps(3.0)),
    // "lg2": absolute 2^-22 between 1/2 and 2, relative 2^-22 elsewhere.
    near(
        "lg2.approx{,.ftz}.f32",
        &[Within(0.5, 2.0)],
        Error {
            ulps: 1.0,
            absolute: below(22),
        },
    ),
    near("lg2.approx{,.ftz}.f32", &[Within(2.0, 1e30)], Ulps(3.0)),
    // "sin", "cos": absolute 2^-20.5 between -2 pi and 2 pi.
    near(
        "{sin,cos}.approx{,.ftz}.f32",
        &[Within(-TWO_PI, TWO_PI)],
        Error {
            ulps: 1.0,
            absolute: 6.8e-7,
        },
    ),
    // "tanh": relative 2^-11; f16 absolute 2^-10.987, bf16 2^-8.
    near("tanh.approx.f32", &[Within(-9.0, 9.0)], Ulps(4100.0)),
    near(
        "tanh.approx.{f16,f16x2}",
        &[Within(-9.0, 9.0)],
        Error {
            ulps: 1.0,
            absolute: 5e-4,
        },
    ),
    newer(near(
        "tanh.approx.{bf16,bf16x2}",
        &[Within(-9.0, 9.0)],
        Error {
            ulps: 1.0,
            absolute: below(8),
        },
    )),
    // "ex2" of halves: relative 2^-9.9 and 2^-7.
    near("ex2.approx.{f16,f16x2}", &[Within(-13.0, 15.0)], Ulps(2.2)),
    newer(near(
        "ex2.approx.ftz.{bf16,bf16x2}",
        &[Within(-100.0, 100.0)],
        Ulps(2.0),
    )),
    // "rcp.approx.ftz.f64": relative 2^-20; "rsqrt.approx": 2^-50.
    near(
        "{rcp,rsqrt}.approx.ftz.f64",
        &[Within(1e-9, 1e9)],
        Ulps(4294967296.0 * 4.0),
    ),
    near("rsqrt.approx.f64", &[Within(1e-9, 1e9)], Ulps(8.0)),
    exact("set.{eq,ne,lt,le,gt,ge}.{u32,s32,f32}.{s32,f32}", "s t t"),
    exact(
        "selp.{b16,b32,b64,u16,u32,u64,s16,s32,s64,f32,f64}",
        "t t t pred",
    ),
    exact("slct.{b16,b32,b64,f32,f64}.s32", "s s s s32"),
    exact("slct.{b32,b64}.f32", "s s s f32"),
    exact(
        "mov.{pred,b16,b32,b64,u16,u32,u64,s16,s32,s64,f32,f64}",
        "t t",
    ),
    // Integers to integers, from and to every width.
    exact(
        "cvt.{u16,s16,u32,s32,u64,s64}.{u8,s8,u16,s16,u32,s32,u64,s64}",
        "s t",
    ),
    exact("cvt.{u8,s8}.{u16,s16,u32,s32,u64,s64}", "s t"),
    exact("cvt.sat.{u8,s8,u16,s16}.{u32,s32,u64,s64}", "s t"),
    exact("cvt.sat.{u32.s64,s32.u64,u32.s32,s32.u32}", "s t"),
    exact(
        "cvt.{rn,rz,rm,rp}.{f32,f64}.{u8,s8,u16,s16,u32,s32,u64,s64}",
        "s t",
    ),
    exact("cvt.{rn,rz}.f16.{u16,s16,u32,s32,u64,s64}", "s t"),
    newer(exact("cvt.rn.bf16.{u16,s16,u32,s32,u64,s64}", "s t")),
    exact(
        "cvt{.rni,.rzi,.rmi,.rpi}{,.ftz}.{u16,s16,u32,s32,u64,s64}.f32",
        "s t",
    ),
    exact(
        "cvt{.rni,.rzi,.rmi,.rpi}.{u32,s32,u64,s64}.{f16,f64}",
        "s t",
    ),
    exact("cvt{.rni,.rzi,.rmi,.rpi}{,.ftz}{,.sat}.f32.f32", "s t"),
    exact("cvt{.rni,.rzi,.rmi,.rpi}.{f64.f64,f16.f16}", "s t"),
    exact("cvt{,.ftz}.f32.f16", "s t"),
    exact("cvt.{f64.f32,f64.f16,f32.bf16}", "s t"),
    exact("cvt.{rn,rz,rm,rp}{,.ftz}.f32.f64", "s t"),
    exact("cvt.{rn,rz}.f16.f64", "s t"),
    exact("cvt.{rn,rz}{,.relu}.{f16,bf16}.f32", "s t"),
    exact("cvt.{rn,rz}{,.relu}.{f16x2,bf16x2}.f32", "s t t"),
    exact("cvt.rna.tf32.f32", "b32 t"),
    newer(exact("cvt.{rn,rz}{,.relu}.tf32.f32", "b32 t")),
];
