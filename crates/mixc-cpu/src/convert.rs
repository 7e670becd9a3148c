//! Elements in memory to and from four f32. Rounding is to nearest, ties to even; NaN stays NaN.

use crate::emit::{Emit, Ptr};
use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::types::{
    F32, F32X4, F64, F64X2, I8, I8X16, I16, I32, I32X4, I64, I64X2,
};
use cranelift_codegen::ir::{InstBuilder, Value};
use mixc_ir::DType;

/// Four neighbouring elements.
pub(crate) fn load_vector(e: &mut Emit, dtype: DType, p: Ptr) -> Value {
    match dtype {
        DType::F32 => e.load(F32X4, p),
        DType::Bf16 | DType::F16 => {
            let bits = e.load_u16x4(p);
            widen(e, dtype, bits)
        }
        DType::F64 => {
            let (a, b) = (e.load(F64X2, p), e.load(F64X2, p.plus(16)));
            demote(e, a, b)
        }
        DType::I32 => {
            let v = e.load(I32X4, p);
            e.b.ins().fcvt_from_sint(F32X4, v)
        }
        DType::I64 | DType::Bool => {
            let size = dtype.size_bytes() as i64;
            let lanes: Vec<Value> = (0..4)
                .map(|i| load_one(e, dtype, p.plus(i * size)))
                .collect();
            e.gather(&lanes)
        }
    }
}

/// One element, in all lanes.
pub(crate) fn load_splat(e: &mut Emit, dtype: DType, p: Ptr) -> Value {
    match dtype {
        DType::F32 => e.load_splat(p),
        DType::Bf16 | DType::F16 => {
            let x = e.load(I16, p);
            let x = e.b.ins().uextend(I32, x);
            let bits = e.b.ins().splat(I32X4, x);
            widen(e, dtype, bits)
        }
        _ => {
            let x = load_one(e, dtype, p);
            e.splat(x)
        }
    }
}

fn load_one(e: &mut Emit, dtype: DType, p: Ptr) -> Value {
    match dtype {
        DType::F64 => {
            let x = e.load(F64, p);
            e.b.ins().fdemote(F32, x)
        }
        DType::I64 => {
            let x = e.load(I64, p);
            e.b.ins().fcvt_from_sint(F32, x)
        }
        DType::I32 => {
            let x = e.load(I32, p);
            e.b.ins().fcvt_from_sint(F32, x)
        }
        DType::Bool => {
            let x = e.load(I8, p);
            let x = e.b.ins().uextend(I64, x);
            let zero = e.b.ins().iconst(I64, 0);
            let set = e.b.ins().icmp(IntCC::NotEqual, x, zero);
            let set = e.b.ins().uextend(I64, set);
            e.b.ins().fcvt_from_sint(F32, set)
        }
        DType::F32 | DType::Bf16 | DType::F16 => e.load(F32, p),
    }
}

fn demote(e: &mut Emit, a: Value, b: Value) -> Value {
    let (a, b) = (e.b.ins().fvdemote(a), e.b.ins().fvdemote(b));
    e.shuffle(a, b, [0, 1, 4, 5])
}

fn shift(e: &mut Emit, v: Value, by: i64) -> Value {
    let n = e.b.ins().iconst(I32, by.abs());
    if by > 0 {
        e.b.ins().ishl(v, n)
    } else {
        e.b.ins().ushr(v, n)
    }
}

/// 16-bit floats in the low halves of four i32, as f32.
fn widen(e: &mut Emit, dtype: DType, bits: Value) -> Value {
    if dtype == DType::Bf16 {
        let v = shift(e, bits, 16);
        return e.as_f32(v);
    }
    // Exponent and mantissa in place, then a power of two for the different bias; this also makes
    // subnormal halves right. Infinity and NaN get the largest exponent.
    let mask = e.i32c(0x7fff);
    let size = e.b.ins().band(bits, mask);
    let shifted = shift(e, size, 13);
    let shifted = e.as_f32(shifted);
    let bias = e.f32c(f32::from_bits((127 + 112) << 23));
    let v = e.b.ins().fmul(shifted, bias);
    let largest = e.i32c(0x7bff);
    let special = e.b.ins().icmp(IntCC::SignedGreaterThan, size, largest);
    let exponent = e.i32c(0x7f80_0000);
    let exponent = e.b.ins().band(special, exponent);
    let sign = e.b.ins().isub(bits, size);
    let sign = shift(e, sign, 16);
    let v = e.as_i32(v);
    let v = e.b.ins().bor(v, exponent);
    let v = e.b.ins().bor(v, sign);
    e.as_f32(v)
}

/// f32 rounded to 16-bit floats in the low halves of four i32.
fn narrow(e: &mut Emit, dtype: DType, v: Value) -> Value {
    let nan = e.fcmp(FloatCC::Unordered, v, v);
    let bits = e.as_i32(v);
    let one = e.i32c(1);
    if dtype == DType::Bf16 {
        let upper = shift(e, bits, -16);
        let odd = e.b.ins().band(upper, one);
        let half = e.i32c(0x7fff);
        let r = e.b.ins().iadd(bits, half);
        let r = e.b.ins().iadd(r, odd);
        let r = shift(e, r, -16);
        let quiet = e.i32c(0x40);
        let kept = e.b.ins().bor(upper, quiet);
        return e.b.ins().bitselect(nan, kept, r);
    }
    let mask = e.i32c(0x7fff_ffff);
    let size = e.b.ins().band(bits, mask);
    let sign = e.b.ins().bxor(bits, size);
    let sign = shift(e, sign, -16);
    // Normal halves: round at bit 13 and change the bias. Overflow rounds up to infinity.
    let odd = shift(e, size, -13);
    let odd = e.b.ins().band(odd, one);
    let rebias = e.i32c(0xfff - (112 << 23));
    let r = e.b.ins().iadd(size, rebias);
    let r = e.b.ins().iadd(r, odd);
    let normal = shift(e, r, -13);
    // Subnormal halves: adding 1/2 rounds to multiples of 2^-24.
    let half = e.f32c(0.5);
    let size_f = e.as_f32(size);
    let sum = e.b.ins().fadd(size_f, half);
    let sum = e.as_i32(sum);
    let half = e.i32c(0.5f32.to_bits() as i32);
    let subnormal = e.b.ins().isub(sum, half);
    let least = e.i32c(0x3880_0000);
    let is_small = e.b.ins().icmp(IntCC::SignedLessThan, size, least);
    let r = e.b.ins().bitselect(is_small, subnormal, normal);
    let most = e.i32c(0x477f_ffff);
    let is_large = e.b.ins().icmp(IntCC::SignedGreaterThan, size, most);
    let infinity = e.i32c(0x7c00);
    let r = e.b.ins().bitselect(is_large, infinity, r);
    let quiet = e.i32c(0x7e00);
    let r = e.b.ins().bitselect(nan, quiet, r);
    e.b.ins().bor(r, sign)
}

/// Stores the first `lanes` lanes to neighbouring elements.
pub(crate) fn store_vector(e: &mut Emit, dtype: DType, v: Value, lanes: usize, p: Ptr) {
    let size = dtype.size_bytes() as i64;
    match dtype {
        DType::F32 if lanes == 4 => e.store(v, p),
        DType::Bf16 | DType::F16 if lanes == 4 => {
            let bits = narrow(e, dtype, v);
            let bytes = e.cast(I8X16, bits);
            let low: Vec<u8> = vec![0, 1, 4, 5, 8, 9, 12, 13, 0, 1, 4, 5, 8, 9, 12, 13];
            let mask = e.b.func.dfg.immediates.push(low.as_slice().into());
            let packed = e.b.ins().shuffle(bytes, bytes, mask);
            let packed = e.cast(I64X2, packed);
            let x = e.b.ins().extractlane(packed, 0);
            e.store(x, p);
        }
        DType::F64 if lanes == 4 => {
            let low = e.b.ins().fvpromote_low(v);
            let upper = e.shuffle(v, v, [2, 3, 2, 3]);
            let high = e.b.ins().fvpromote_low(upper);
            e.store(low, p);
            e.store(high, p.plus(16));
        }
        DType::I32 if lanes == 4 => {
            let v = e.b.ins().nearest(v);
            let v = e.b.ins().fcvt_to_sint_sat(I32X4, v);
            e.store(v, p);
        }
        _ => {
            for i in 0..lanes {
                store_lane(e, dtype, v, i, p.plus(i as i64 * size));
            }
        }
    }
}

/// Stores one lane.
pub(crate) fn store_lane(e: &mut Emit, dtype: DType, v: Value, lane: usize, p: Ptr) {
    match dtype {
        DType::F32 => {
            let x = e.lane(v, lane);
            e.store(x, p);
        }
        DType::Bf16 | DType::F16 => {
            let bits = narrow(e, dtype, v);
            let x = e.lane(bits, lane);
            let x = e.b.ins().ireduce(I16, x);
            e.store(x, p);
        }
        DType::F64 => {
            let x = e.lane(v, lane);
            let x = e.b.ins().fpromote(F64, x);
            e.store(x, p);
        }
        DType::I32 | DType::I64 => {
            let v = e.b.ins().nearest(v);
            let x = e.lane(v, lane);
            let ty = if dtype == DType::I32 { I32 } else { I64 };
            let x = e.b.ins().fcvt_to_sint_sat(ty, x);
            e.store(x, p);
        }
        DType::Bool => {
            let x = e.lane(v, lane);
            let zero = e.b.ins().f32const(0.0);
            let set = e.b.ins().fcmp(FloatCC::NotEqual, x, zero);
            e.store(set, p);
        }
    }
}
