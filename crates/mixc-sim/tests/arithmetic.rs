//! Arithmetic, logic, comparison, selection and conversion instructions, each on lanes of operands with
//! results worked out by hand or by another formula.

mod common;
use common::*;

#[track_caller]
fn check(body: &str, types: &[&str], inputs: &[&[u64]], want: &[u64]) {
    let got = lanes(body, types, inputs);
    assert_eq!(got, want, "`{body}`: got {got:x?}, want {want:x?}");
}

const I2: &[&str] = &["b32", "b32", "b32"];
const I3: &[&str] = &["b32", "b32", "b32", "b32"];
const F2: &[&str] = &["f32", "f32", "f32"];

#[test]
fn integer_sums_and_products() {
    let (x, y) = (
        &[7, u64::from(u32::MAX), s(-5), 1 << 31][..],
        &[3, 2, 3, 2][..],
    );
    check(
        "add.u32 d, a, b;",
        I2,
        &[x, y],
        &[10, 1, s(-2), (1 << 31) + 2],
    );
    check(
        "sub.s32 d, a, b;",
        I2,
        &[x, y],
        &[4, s(-3), s(-8), (1 << 31) - 2],
    );
    check("mul.lo.s32 d, a, b;", I2, &[x, y], &[21, s(-2), s(-15), 0]);
    check("mul.hi.u32 d, a, b;", I2, &[x, y], &[0, 1, 2, 1]);
    check(
        "mul.hi.s32 d, a, b;",
        I2,
        &[x, y],
        &[0, s(-1), s(-1), s(-1)],
    );
    check(
        "mul.wide.s32 d, a, b;",
        &["b64", "b32", "b32"],
        &[x, y],
        &[21, -2i64 as u64, -15i64 as u64, -(1i64 << 32) as u64],
    );
    check(
        "mul.wide.u16 d, a, b;",
        &["b32", "b16", "b16"],
        &[&[0xffff], &[0xffff]],
        &[0xfffe_0001],
    );
    check("mad.lo.u32 d, a, b, 100;", I2, &[x, y], &[121, 98, 85, 100]);
    check("mad.hi.u32 d, a, b, 5;", I2, &[x, y], &[5, 6, 7, 6]);
    check(
        "mad.wide.u32 d, a, b, 1;",
        &["b64", "b32", "b32"],
        &[&[1 << 31], &[4]],
        &[(1 << 33) + 1],
    );
    check(
        "add.sat.s32 d, a, b;",
        I2,
        &[&[0x7fff_ffff, s(-10)], &[1, 4]],
        &[0x7fff_ffff, s(-6)],
    );
    check("sad.s32 d, a, b, 10;", I2, &[&[s(-5)], &[3]], &[18]);
    check(
        "add.s64 d, a, b;",
        &["b64", "b64", "b64"],
        &[&[u64::MAX], &[5]],
        &[4],
    );
    check(
        "mul.hi.u64 d, a, b;",
        &["b64", "b64", "b64"],
        &[&[u64::MAX], &[16]],
        &[15],
    );
}

#[test]
fn division_and_signs() {
    check(
        "div.s32 d, a, b;",
        I2,
        &[&[s(-7), 7], &[2, s(-2)]],
        &[s(-3), s(-3)],
    );
    check(
        "rem.s32 d, a, b;",
        I2,
        &[&[s(-7), 7], &[2, s(-2)]],
        &[s(-1), 1],
    );
    check("div.u32 d, a, b;", I2, &[&[s(-7)], &[2]], &[0x7fff_fffc]);
    check("abs.s32 d, a;", &["b32", "b32"], &[&[s(-9), 9]], &[9, 9]);
    check(
        "neg.s32 d, a;",
        &["b32", "b32"],
        &[&[s(-9), 9]],
        &[9, s(-9)],
    );
    check("min.s32 d, a, b;", I2, &[&[s(-9)], &[3]], &[s(-9)]);
    check("min.u32 d, a, b;", I2, &[&[s(-9)], &[3]], &[3]);
    check(
        "max.s64 d, a, b;",
        &["b64", "b64", "b64"],
        &[&[-9i64 as u64], &[3]],
        &[3],
    );
}

#[test]
fn bits_and_shifts() {
    check("and.b32 d, a, b;", I2, &[&[0b1100], &[0b1010]], &[0b1000]);
    check("or.b32 d, a, b;", I2, &[&[0b1100], &[0b1010]], &[0b1110]);
    check(
        "xor.b64 d, a, b;",
        &["b64", "b64", "b64"],
        &[&[0b1100], &[0b1010]],
        &[0b0110],
    );
    check("not.b32 d, a;", &["b32", "b32"], &[&[0]], &[0xffff_ffff]);
    check("cnot.b32 d, a;", &["b32", "b32"], &[&[0, 7]], &[1, 0]);
    check(
        "shl.b32 d, a, b;",
        I2,
        &[&[1, 1, 1], &[4, 31, 32]],
        &[16, 1 << 31, 0],
    );
    check(
        "shr.u32 d, a, b;",
        I2,
        &[&[1 << 31, 1 << 31], &[4, 40]],
        &[1 << 27, 0],
    );
    check(
        "shr.s32 d, a, b;",
        I2,
        &[&[1 << 31, 1 << 31], &[4, 40]],
        &[0xf800_0000, 0xffff_ffff],
    );
    check(
        "shf.l.wrap.b32 d, a, b, 8;",
        I2,
        &[&[0x1122_3344], &[0x5566_7788]],
        &[0x6677_8811],
    );
    check(
        "shf.r.clamp.b32 d, a, b, 8;",
        I2,
        &[&[0x1122_3344], &[0x5566_7788]],
        &[0x8811_2233],
    );
    check("popc.b32 d, a;", &["b32", "b32"], &[&[0xff0f]], &[12]);
    check("popc.b64 d, a;", &["b32", "b64"], &[&[u64::MAX]], &[64]);
    check("clz.b32 d, a;", &["b32", "b32"], &[&[1, 0]], &[31, 32]);
    check("brev.b32 d, a;", &["b32", "b32"], &[&[1]], &[1 << 31]);
    check(
        "bfind.u32 d, a;",
        &["b32", "b32"],
        &[&[0x100, 0]],
        &[8, 0xffff_ffff],
    );
    check(
        "bfe.u32 d, a, 8, 8;",
        &["b32", "b32"],
        &[&[0x1234_5678]],
        &[0x56],
    );
    check("bfe.s32 d, a, 4, 4;", &["b32", "b32"], &[&[0x80]], &[s(-8)]);
    check(
        "bfi.b32 d, a, b, 8, 8;",
        I2,
        &[&[0xff], &[0x1234_5678]],
        &[0x1234_ff78],
    );
    check(
        "prmt.b32 d, a, b, 0x7632;",
        I2,
        &[&[0x3322_1100], &[0x7766_5544]],
        &[0x7766_3322],
    );
    check(
        "lop3.b32 d, a, b, c, 0x96;",
        I3,
        &[&[0b1100], &[0b1010], &[0b0001]],
        &[0b0111],
    );
    check(
        "dp4a.u32.u32 d, a, b, c;",
        I3,
        &[&[0x0102_0304], &[0x0101_0101], &[5]],
        &[15],
    );
    let carry = "add.cc.u32 %r1, a, b;\naddc.u32 d, 0, 0;";
    check(carry, I2, &[&[u64::from(u32::MAX), 1], &[1, 1]], &[1, 0]);
    let borrow = "sub.cc.u32 %r1, a, b;\nsubc.u32 d, 10, 0;";
    check(borrow, I2, &[&[1, 5], &[2, 2]], &[9, 10]);
}

#[test]
fn single_precision() {
    let third = 1.0f32 / 3.0;
    check("add.f32 d, a, b;", F2, &[&[f(1.5)], &[f(2.25)]], &[f(3.75)]);
    check("add.rn.ftz.f32 d, a, b;", F2, &[&[1], &[0]], &[0]);
    check(
        "sub.f32 d, a, b;",
        F2,
        &[&[f(1.5)], &[f(2.25)]],
        &[f(-0.75)],
    );
    check(
        "mul.sat.f32 d, a, b;",
        F2,
        &[&[f(3.0), f(-3.0)], &[f(2.0), f(2.0)]],
        &[f(1.0), 0],
    );
    check(
        "mul.rp.f32 d, a, b;",
        F2,
        &[&[f(third)], &[f(third)]],
        &[f((third * third).next_up())].map(|v| {
            // The exact product decides whether the nearest lies below.
            let below = f64::from(third * third) < f64::from(third) * f64::from(third);
            if below { v } else { f(third * third) }
        }),
    );
    check(
        "fma.rn.f32 d, a, b, c;",
        &["f32", "f32", "f32", "f32"],
        &[&[f(1.0 + 1e-4)], &[f(1.0 - 1e-4)], &[f(-1.0)]],
        &[f((1.0f32 + 1e-4).mul_add(1.0 - 1e-4, -1.0))],
    );
    check(
        "div.rn.f32 d, a, b;",
        F2,
        &[&[f(1.0)], &[f(3.0)]],
        &[f(third)],
    );
    check(
        "div.full.f32 d, a, b;",
        F2,
        &[&[f(8.0)], &[f(2.0)]],
        &[f(4.0)],
    );
    check(
        "sqrt.rn.f32 d, a;",
        &["f32", "f32"],
        &[&[f(2.0)]],
        &[f(2f32.sqrt())],
    );
    check(
        "rcp.approx.ftz.f32 d, a;",
        &["f32", "f32"],
        &[&[f(4.0), 0]],
        &[f(0.25), f(f32::INFINITY)],
    );
    check(
        "rsqrt.approx.f32 d, a;",
        &["f32", "f32"],
        &[&[f(4.0)]],
        &[f(0.5)],
    );
    check(
        "ex2.approx.ftz.f32 d, a;",
        &["f32", "f32"],
        &[&[f(-3.0), f(f32::NEG_INFINITY)]],
        &[f(0.125), 0],
    );
    check(
        "lg2.approx.f32 d, a;",
        &["f32", "f32"],
        &[&[f(8.0), 0]],
        &[f(3.0), f(f32::NEG_INFINITY)],
    );
    check(
        "tanh.approx.f32 d, a;",
        &["f32", "f32"],
        &[&[0, f(20.0)]],
        &[0, f(1.0)],
    );
    check("sin.approx.f32 d, a;", &["f32", "f32"], &[&[0]], &[0]);
    check("cos.approx.f32 d, a;", &["f32", "f32"], &[&[0]], &[f(1.0)]);
    check(
        "min.f32 d, a, b;",
        F2,
        &[&[f(f32::NAN), f(-0.0)], &[f(1.0), f(0.0)]],
        &[f(1.0), f(-0.0)],
    );
    check(
        "max.NaN.f32 d, a, b;",
        F2,
        &[&[f(f32::NAN)], &[f(1.0)]],
        &[0x7fff_ffff],
    );
    check("neg.f32 d, a;", &["f32", "f32"], &[&[f(1.0)]], &[f(-1.0)]);
    check("abs.f32 d, a;", &["f32", "f32"], &[&[f(-1.0)]], &[f(1.0)]);
    check(
        "copysign.f32 d, a, b;",
        F2,
        &[&[f(-2.0)], &[f(3.0)]],
        &[f(-3.0)],
    );
    check(
        "testp.finite.f32 d, a;",
        &["pred", "f32"],
        &[&[f(1.0), f(f32::INFINITY)]],
        &[1, 0],
    );
}

#[test]
fn double_precision() {
    let t = &["f64", "f64", "f64"][..];
    check(
        "add.rn.f64 d, a, b;",
        t,
        &[&[d(0.1)], &[d(0.2)]],
        &[d(0.1 + 0.2)],
    );
    check(
        "add.rz.f64 d, a, b;",
        t,
        &[&[d(1.0)], &[d(-1e-20)]],
        &[d(1f64.next_down())],
    );
    check(
        "mul.f64 d, a, b;",
        t,
        &[&[d(0.1)], &[d(0.2)]],
        &[d(0.1 * 0.2)],
    );
    check(
        "fma.rn.f64 d, a, b, 1.0;",
        t,
        &[&[d(2.0)], &[d(3.0)]],
        &[d(7.0)],
    );
    check(
        "div.rn.f64 d, a, b;",
        t,
        &[&[d(1.0)], &[d(3.0)]],
        &[d(1.0 / 3.0)],
    );
    check(
        "sqrt.rn.f64 d, a;",
        &["f64", "f64"],
        &[&[d(2.0)]],
        &[d(2f64.sqrt())],
    );
    check(
        "max.f64 d, a, b;",
        t,
        &[&[d(f64::NAN)], &[d(3.0)]],
        &[d(3.0)],
    );
}

#[test]
fn sixteen_bit_formats() {
    let (h2, b2) = (&["b16", "b16", "b16"][..], &["b16", "b16", "b16"][..]);
    check("add.f16 d, a, b;", h2, &[&[h(1.5)], &[h(2.0)]], &[h(3.5)]);
    check(
        "mul.rn.f16 d, a, b;",
        h2,
        &[&[h(1.5)], &[h(-2.0)]],
        &[h(-3.0)],
    );
    check(
        "sub.rn.bf16 d, a, b;",
        b2,
        &[&[b(1.5)], &[b(2.0)]],
        &[b(-0.5)],
    );
    check(
        "fma.rn.relu.bf16 d, a, b, c;",
        &["b16", "b16", "b16", "b16"],
        &[&[b(1.0)], &[b(2.0)], &[b(-3.0)]],
        &[0],
    );
    check("neg.bf16 d, a;", &["b16", "b16"], &[&[b(1.0)]], &[b(-1.0)]);
    check(
        "ex2.approx.f16 d, a;",
        &["b16", "b16"],
        &[&[h(3.0)]],
        &[h(8.0)],
    );
    check("tanh.approx.bf16 d, a;", &["b16", "b16"], &[&[0]], &[0]);
    let pair = |lo: u64, hi: u64| lo | hi << 16;
    check(
        "add.f16x2 d, a, b;",
        I2,
        &[&[pair(h(1.0), h(2.0))], &[pair(h(3.0), h(-5.0))]],
        &[pair(h(4.0), h(-3.0))],
    );
    check(
        "fma.rn.bf16x2 d, a, b, c;",
        I3,
        &[
            &[pair(b(1.0), b(2.0))],
            &[pair(b(3.0), b(4.0))],
            &[pair(b(5.0), b(6.0))],
        ],
        &[pair(b(8.0), b(14.0))],
    );
    check(
        "max.bf16x2 d, a, b;",
        I2,
        &[&[pair(b(1.0), 0x7fc0)], &[pair(b(3.0), b(4.0))]],
        &[pair(b(3.0), b(4.0))],
    );
    check(
        "setp.gt.bf16 d, a, b;",
        &["pred", "b16", "b16"],
        &[&[b(2.0), 0x7fc0], &[b(1.0), b(1.0)]],
        &[1, 0],
    );
}

#[test]
fn pairs_of_f32_are_computed_half_by_half() {
    let pair = |lo: f32, hi: f32| f(lo) | f(hi) << 32;
    let two = &["b64", "b64", "b64"][..];
    let (x, y) = (pair(1.5, -2.0), pair(4.0, 0.5));
    for (name, expected) in [
        ("add.rn", pair(5.5, -1.5)),
        ("sub.rn", pair(-2.5, -2.5)),
        ("mul.rn", pair(6.0, -1.0)),
        ("mul", pair(6.0, -1.0)),
    ] {
        check(
            &format!("{name}.f32x2 d, a, b;"),
            two,
            &[&[x], &[y]],
            &[expected],
        );
    }
    let three = &["b64", "b64", "b64", "b64"][..];
    let z = pair(0.25, 3.0);
    check(
        "fma.rn.f32x2 d, a, b, c;",
        three,
        &[&[x], &[y], &[z]],
        &[pair(6.25, 2.0)],
    );
    // 1 + 2^-24 is half way between 1 and the next number; 2^-149 is flushed.
    let (one, little) = (pair(1.0, 1.0), pair(2f32.powi(-24), f32::from_bits(1)));
    let up = pair(f32::from_bits(0x3f80_0001), f32::from_bits(0x3f80_0001));
    check("add.rp.f32x2 d, a, b;", two, &[&[one], &[little]], &[up]);
    let flushed = pair(f32::from_bits(0x3f80_0001), 1.0);
    check(
        "add.rp.ftz.f32x2 d, a, b;",
        two,
        &[&[one], &[little]],
        &[flushed],
    );
}

#[test]
fn comparisons_and_selection() {
    let p2 = &["pred", "b32", "b32"][..];
    let (x, y) = (&[1, s(-1), 5][..], &[2, 1, 5][..]);
    check("setp.lt.s32 d, a, b;", p2, &[x, y], &[1, 1, 0]);
    check("setp.lo.u32 d, a, b;", p2, &[x, y], &[1, 0, 0]);
    check("setp.ne.b32 d, a, b;", p2, &[x, y], &[1, 1, 0]);
    let pf = &["pred", "f32", "f32"][..];
    let (x, y) = (&[f(1.0), f(f32::NAN)][..], &[f(1.0), f(1.0)][..]);
    check("setp.eq.f32 d, a, b;", pf, &[x, y], &[1, 0]);
    check("setp.ne.f32 d, a, b;", pf, &[x, y], &[0, 0]);
    check("setp.neu.f32 d, a, b;", pf, &[x, y], &[0, 1]);
    check("setp.nan.f32 d, a, b;", pf, &[x, y], &[0, 1]);
    let and = "setp.gt.s32 %p1, b, 0;\nsetp.lt.and.s32 d|%p2, a, b, %p1;";
    check(and, p2, &[&[1, 1, 5], &[2, 0, 3]], &[1, 0, 0]);
    let other = "setp.gt.s32 %p1, b, 0;\nsetp.lt.and.s32 %p2|d, a, b, !%p1;";
    check(other, p2, &[&[1, 1], &[2, 0]], &[0, 1]);
    check(
        "selp.b32 d, a, b, c;",
        &["b32", "b32", "b32", "pred"],
        &[&[1, 1], &[2, 2], &[1, 0]],
        &[1, 2],
    );
    check(
        "slct.f32.s32 d, a, b, c;",
        &["f32", "f32", "f32", "b32"],
        &[&[1, 1], &[2, 2], &[0, s(-1)]],
        &[1, 2],
    );
    check(
        "set.lt.u32.s32 d, a, b;",
        I2,
        &[&[1, 2], &[2, 1]],
        &[0xffff_ffff, 0],
    );
    check(
        "and.pred d, a, b;",
        &["pred", "pred", "pred"],
        &[&[1, 1], &[1, 0]],
        &[1, 0],
    );
    check(
        "@a mov.u32 d, 7;\n@!a mov.u32 d, 8;",
        &["b32", "pred"],
        &[&[1, 0]],
        &[7, 8],
    );
}

#[test]
fn conversions() {
    check(
        "cvt.rn.f32.s32 d, a;",
        &["f32", "b32"],
        &[&[s(-3)]],
        &[f(-3.0)],
    );
    check(
        "cvt.rzi.s32.f32 d, a;",
        &["b32", "f32"],
        &[&[f(-3.7), f(1e20)]],
        &[s(-3), 0x7fff_ffff],
    );
    check(
        "cvt.rni.f32.f32 d, a;",
        &["f32", "f32"],
        &[&[f(2.5), f(3.5)]],
        &[f(2.0), f(4.0)],
    );
    check(
        "cvt.rn.bf16.f32 d, a;",
        &["b16", "f32"],
        &[&[f(1.0 + 1.0 / 256.0), f(1.0 + 3.0 / 256.0)]],
        &[b(1.0), 0x3f82],
    );
    check(
        "cvt.rz.bf16.f32 d, a;",
        &["b16", "f32"],
        &[&[f(1.9999)]],
        &[0x3fff],
    );
    check(
        "cvt.rn.f16.f32 d, a;",
        &["b16", "f32"],
        &[&[f(1e6)]],
        &[0x7c00],
    );
    check(
        "cvt.f32.f16 d, a;",
        &["f32", "b16"],
        &[&[h(0.1)]],
        &[f(half::f16::from_f32(0.1).to_f32())],
    );
    check(
        "cvt.f32.bf16 d, a;",
        &["f32", "b16"],
        &[&[0x3f81]],
        &[0x3f81_0000],
    );
    check(
        "cvt.rn.bf16x2.f32 d, a, b;",
        &["b32", "f32", "f32"],
        &[&[f(2.0)], &[f(1.0)]],
        &[0x4000_3f80],
    );
    check(
        "cvt.rn.relu.f16x2.f32 d, a, b;",
        &["b32", "f32", "f32"],
        &[&[f(-2.0)], &[f(1.0)]],
        &[0x3c00],
    );
    check(
        "cvt.rna.tf32.f32 d, a;",
        &["b32", "f32"],
        &[&[0x3f80_1000]],
        &[0x3f80_2000],
    );
    check(
        "cvt.rn.f32.f64 d, a;",
        &["f32", "f64"],
        &[&[d(0.1)]],
        &[f(0.1)],
    );
    check(
        "cvt.s64.s32 d, a;",
        &["b64", "b32"],
        &[&[s(-2)]],
        &[-2i64 as u64],
    );
    check(
        "cvt.u64.u32 d, a;",
        &["b64", "b32"],
        &[&[s(-2)]],
        &[0xffff_fffe],
    );
    check("cvt.s32.s8 d, a;", &["b32", "b32"], &[&[0x1ff]], &[s(-1)]);
    check(
        "cvt.u32.u16 d, a;",
        &["b32", "b16"],
        &[&[0xffff]],
        &[0xffff],
    );
    check(
        "cvt.sat.u8.s32 d, a;",
        &["b32", "b32"],
        &[&[300, s(-4)]],
        &[255, 0],
    );
    check(
        "mov.b32 {%h1, %h2}, a;\nmov.b32 d, {%h2, %h1};",
        &["b32", "b32"],
        &[&[0x1122_3344]],
        &[0x3344_1122],
    );
    check(
        "mov.b64 d, {a, b};",
        &["b64", "b32", "b32"],
        &[&[1], &[2]],
        &[0x2_0000_0001],
    );
    check(
        "mov.b64 {%r1, d}, a;",
        &["b32", "b64"],
        &[&[0x2_0000_0001]],
        &[2],
    );
}

#[test]
fn rarer_integer_instructions() {
    check(
        "sad.u16 d, a, b, 7;",
        &["b16", "b16", "b16"],
        &[&[3], &[0xffff]],
        &[0x0003],
    );
    check(
        "sad.s64 d, a, b, 1;",
        &["b64"; 3],
        &[&[-5i64 as u64], &[3]],
        &[9],
    );
    check(
        "mul24.lo.u32 d, a, b;",
        I2,
        &[&[0xff00_0003], &[0x0100_0005]],
        &[15],
    );
    check(
        "mul24.hi.u32 d, a, b;",
        I2,
        &[&[0x80_0000], &[0x80_0000]],
        &[1 << 30],
    );
    check(
        "mul24.lo.s32 d, a, b;",
        I2,
        &[&[0x00ff_ffff], &[5]],
        &[s(-5)],
    );
    check(
        "mad24.lo.s32 d, a, b, 100;",
        I2,
        &[&[0x00ff_ffff], &[5]],
        &[95],
    );
    check(
        "bmsk.clamp.b32 d, a, b;",
        I2,
        &[&[4, 28], &[8, 8]],
        &[0xff0, 0xf000_0000],
    );
    check("szext.clamp.s32 d, a, b;", I2, &[&[0x80], &[8]], &[s(-128)]);
    check("szext.wrap.u32 d, a, b;", I2, &[&[0x1ff], &[40]], &[0xff]);
    check(
        "dp2a.lo.s32.u32 d, a, b, c;",
        I3,
        &[&[0xffff_0002], &[0x0403_0201], &[100]],
        &[100],
    );
    check(
        "dp2a.hi.s32.u32 d, a, b, c;",
        I3,
        &[&[0xffff_0002], &[0x0403_0201], &[100]],
        &[102],
    );
    // Each row of a permutation mode, by hand from the bytes 77 66 55 44 33 22 11 00.
    let (a, b) = (&[0x3322_1100; 4][..], &[0x7766_5544; 4][..]);
    let modes: [(&str, [u64; 4]); 6] = [
        ("f4e", [0x3322_1100, 0x4433_2211, 0x5544_3322, 0x6655_4433]),
        ("b4e", [0x5566_7700, 0x6677_0011, 0x7700_1122, 0x0011_2233]),
        ("rc8", [0x0000_0000, 0x1111_1111, 0x2222_2222, 0x3333_3333]),
        ("ecl", [0x3322_1100, 0x3322_1111, 0x3322_2222, 0x3333_3333]),
        ("ecr", [0x0000_0000, 0x1111_1100, 0x2222_1100, 0x3322_1100]),
        ("rc16", [0x1100_1100, 0x3322_3322, 0x1100_1100, 0x3322_3322]),
    ];
    for (mode, want) in modes {
        check(
            &format!("prmt.b32.{mode} d, a, b, c;"),
            I3,
            &[a, b, &[0, 1, 2, 3]],
            &want,
        );
    }
    // A 64-bit product from 32-bit halves, with the carry between them.
    check(
        "{ .reg .b32 x, y, u, v; .reg .b64 p;\n mov.b64 {x, y}, c;\n mad.lo.cc.u32 u, a, b, x;\n madc.hi.u32 v, a, b, y;\n mov.b64 d, {u, v}; }",
        &["b64", "b32", "b32", "b64"],
        &[&[0xffff_ffff], &[0xffff_ffff], &[0x1_ffff_ffff]],
        &[(0xffff_ffffu64 * 0xffff_ffff).wrapping_add(0x1_ffff_ffff)],
    );
}

#[test]
fn comparisons_of_pairs() {
    let pair = |low: f32, high: f32| h(low) | h(high) << 16;
    let body = "{ .reg .pred p, q; .reg .b32 x;\n setp.lt.f16x2 p|q, a, b;\n selp.b32 d, 1, 0, p;\n selp.b32 x, 2, 0, q;\n or.b32 d, d, x; }";
    let a = &[pair(1.0, 3.0), pair(2.0, -1.0), pair(f32::NAN, 0.0)];
    let b = &[pair(2.0, 2.0), pair(2.0, 0.0), pair(1.0, 1.0)];
    check(body, I2, &[a, b], &[1, 2, 2]);
}

#[test]
fn gross_reciprocals_use_the_upper_words() {
    let upper = |v: f64| v.to_bits() >> 32 << 32;
    let x = &[d(3.0), d(-0.7) | 0xffff, d(f64::MIN_POSITIVE / 2.0)];
    let cut = f64::from_bits(upper(f64::from_bits(x[1])));
    check(
        "rcp.approx.ftz.f64 d, a;",
        &["b64", "b64"],
        &[x],
        &[upper(1.0 / 3.0), upper(1.0 / cut), d(f64::INFINITY)],
    );
}
