//! Integer and bit instructions that are more than one Rust operator
//! (PTX ISA, "Integer Arithmetic Instructions", "Logic and Shift Instructions").

/// `bfe`: `len` bits from `pos`; signed types repeat the sign of the field's top bit (or of the
/// value's top bit when the field passes the end).
pub fn bit_field_extract(a: u64, pos: u64, len: u64, width: u32, signed: bool) -> u64 {
    let (pos, len, msb) = (pos & 0xff, len & 0xff, u64::from(width) - 1);
    let bit = |i: u64| if i > 63 { 0 } else { (a >> i) & 1 };
    let sbit = if !signed || len == 0 {
        0
    } else {
        bit((pos + len - 1).min(msb))
    };
    let mut d = 0;
    for i in 0..=msb {
        let b = if i < len && pos + i <= msb {
            bit(pos + i)
        } else {
            sbit
        };
        d |= b << i;
    }
    d
}

/// `bfi`: `b` with `len` bits of `a` put in at `pos`.
pub fn bit_field_insert(a: u64, b: u64, pos: u64, len: u64, width: u32) -> u64 {
    let (pos, len, msb) = (pos & 0xff, len & 0xff, u64::from(width) - 1);
    let mut d = b;
    let mut i = 0;
    while i < len && pos + i <= msb {
        d = (d & !(1 << (pos + i))) | (((a >> i) & 1) << (pos + i));
        i += 1;
    }
    d
}

/// `bfind`: the place of the most significant bit that is not a sign, or all ones.
pub fn find_top_bit(a: u64, width: u32, signed: bool, shift_amount: bool) -> u32 {
    let mask = if width == 64 {
        u64::MAX
    } else {
        (1 << width) - 1
    };
    let mut a = a & mask;
    if signed && a >> (width - 1) & 1 == 1 {
        a = !a & mask;
    }
    if a == 0 {
        return u32::MAX;
    }
    let at = 63 - a.leading_zeros();
    if shift_amount { width - 1 - at } else { at }
}

/// `prmt` in its default mode: each selector nibble picks a byte of `{b, a}`, or its sign.
pub fn permute_bytes(a: u32, b: u32, selector: u32) -> u32 {
    let bytes = u64::from(a) | u64::from(b) << 32;
    (0..4).fold(0, |d, i| {
        let nibble = selector >> (4 * i) & 0xf;
        let byte = (bytes >> (8 * (nibble & 7))) as u8;
        let byte = if nibble & 8 != 0 {
            ((byte as i8) >> 7) as u8
        } else {
            byte
        };
        d | u32::from(byte) << (8 * i)
    })
}

/// The other modes of `prmt`: the low two bits of the selector choose a row of four byte numbers, the
/// lowest byte last (PTX ISA, "prmt").
pub const PERMUTE_MODES: [(&str, [u32; 4]); 6] = [
    ("f4e", [0x3210, 0x4321, 0x5432, 0x6543]),
    ("b4e", [0x5670, 0x6701, 0x7012, 0x0123]),
    ("rc8", [0x0000, 0x1111, 0x2222, 0x3333]),
    ("ecl", [0x3210, 0x3211, 0x3222, 0x3333]),
    ("ecr", [0x0000, 0x1110, 0x2210, 0x3210]),
    ("rc16", [0x1010, 0x3232, 0x1010, 0x3232]),
];

/// `bmsk`: `width` ones from bit `at` on. `.clamp` treats larger operands as 32, `.wrap` takes them
/// modulo 32.
pub fn bit_mask(at: u32, width: u32, clamp: bool) -> u32 {
    let (at, width) = if clamp {
        (at.min(32), width.min(32))
    } else {
        (at & 31, width & 31)
    };
    let ones = |n: u32| if n >= 32 { u32::MAX } else { (1 << n) - 1 };
    ones(at + width) & !ones(at)
}

/// `szext`: the low `width` bits, extended by zeros or by the field's sign.
pub fn extend(a: u32, width: u32, clamp: bool, signed: bool) -> u32 {
    let width = if clamp { width.min(32) } else { width & 31 };
    if width == 32 {
        return a;
    }
    let mask = (1u32 << width) - 1;
    let negative = signed && width > 0 && a >> (width - 1) & 1 == 1;
    if negative { a | !mask } else { a & mask }
}

/// The low 24 bits of a factor of `mul24` and `mad24`.
pub fn factor24(a: u32, signed: bool) -> i64 {
    if signed {
        i64::from((a << 8) as i32 >> 8)
    } else {
        i64::from(a & 0xff_ffff)
    }
}

/// `dp2a`: two products of 16-bit and 8-bit numbers; `.hi` takes the upper bytes of `b`.
pub fn dot2(a: u32, b: u32, c: u32, a_signed: bool, b_signed: bool, high: bool) -> u32 {
    (0..2).fold(c, |sum, i| {
        let half = (a >> (16 * i)) as u16;
        let byte = (b >> (8 * i + if high { 16 } else { 0 })) as u8;
        let x = if a_signed {
            i32::from(half as i16)
        } else {
            i32::from(half)
        };
        let y = if b_signed {
            i32::from(byte as i8)
        } else {
            i32::from(byte)
        };
        sum.wrapping_add(x.wrapping_mul(y) as u32)
    })
}

/// `lop3`: the truth table `lut` at every bit, with a = 0xF0, b = 0xCC, c = 0xAA.
pub fn logic3(a: u32, b: u32, c: u32, lut: u32) -> u32 {
    (0..8).fold(0, |d, row| {
        if lut >> row & 1 == 0 {
            return d;
        }
        let pick = |v: u32, bit: u32| if row & bit != 0 { v } else { !v };
        d | (pick(a, 4) & pick(b, 2) & pick(c, 1))
    })
}

/// Shifts clamp their amount (PTX ISA, `shl`, `shr`).
pub fn shift_left(a: u64, by: u32, width: u32) -> u64 {
    if by >= width { 0 } else { a << by }
}

pub fn shift_right(a: u64, by: u32, width: u32) -> u64 {
    if by >= width { 0 } else { a >> by }
}

/// `shf`: a shift through the 64-bit value `{b, a}`.
pub fn funnel_left(a: u32, b: u32, by: u32, wrap: bool) -> u32 {
    let n = if wrap { by & 31 } else { by.min(32) };
    let v = u64::from(b) << 32 | u64::from(a);
    (v << n >> 32) as u32
}

pub fn funnel_right(a: u32, b: u32, by: u32, wrap: bool) -> u32 {
    let n = if wrap { by & 31 } else { by.min(32) };
    let v = u64::from(b) << 32 | u64::from(a);
    (v >> n) as u32
}

/// `dp4a`: four products of bytes, summed.
pub fn dot4(a: u32, b: u32, c: u32, a_signed: bool, b_signed: bool) -> u32 {
    let byte = |v: u32, i: u32, signed: bool| {
        let b = (v >> (8 * i)) as u8;
        if signed {
            i32::from(b as i8)
        } else {
            i32::from(b)
        }
    };
    (0..4).fold(c, |sum, i| {
        sum.wrapping_add((byte(a, i, a_signed) * byte(b, i, b_signed)) as u32)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bit_fields() {
        assert_eq!(bit_field_extract(0xabcd, 4, 8, 32, false), 0xbc);
        assert_eq!(bit_field_extract(0xabcd, 4, 8, 32, true), 0xffff_ffbc);
        assert_eq!(bit_field_extract(0x8000_0000, 28, 8, 32, true), 0xffff_fff8);
        assert_eq!(bit_field_insert(0xf, 0x1000, 4, 4, 32), 0x10f0);
        assert_eq!(find_top_bit(0, 32, false, false), u32::MAX);
        assert_eq!(find_top_bit(0xffff_fffe, 32, true, false), 0);
    }

    #[test]
    fn byte_permutation_and_logic_tables() {
        assert_eq!(permute_bytes(0x3322_1100, 0x7766_5544, 0x5410), 0x5544_1100);
        assert_eq!(permute_bytes(0x80, 0, 0x8888), 0xffff_ffff);
        let (a, b, c) = (0x1234_5678, 0x0f0f_0f0f, 0x3333_3333);
        assert_eq!(logic3(a, b, c, 0xf0 & 0xcc & 0xaa), a & b & c);
        assert_eq!(logic3(a, b, c, 0xf0 ^ 0xcc ^ 0xaa), a ^ b ^ c);
        assert_eq!(
            logic3(a, b, c, (0xf0 & 0xcc) | (!0xf0u32 & 0xff & 0xaa)),
            (a & b) | (!a & c)
        );
    }

    #[test]
    fn masks_and_extensions() {
        assert_eq!(bit_mask(4, 8, true), 0xff0);
        assert_eq!(bit_mask(28, 8, true), 0xf000_0000);
        assert_eq!(bit_mask(40, 8, true), 0);
        assert_eq!(bit_mask(36, 8, false), 0xff0);
        assert_eq!(bit_mask(0, 40, true), u32::MAX);
        assert_eq!(bit_mask(0, 40, false), 0xff);
        assert_eq!(extend(0x1f80, 8, true, true), 0xffff_ff80);
        assert_eq!(extend(0x1f80, 8, true, false), 0x80);
        assert_eq!(extend(0x1f80, 40, true, true), 0x1f80);
        assert_eq!(extend(0x1f80, 40, false, true), 0xffff_ff80);
        assert_eq!(extend(7, 0, true, true), 0);
        assert_eq!(factor24(0x80_0000, true), -0x80_0000);
        assert_eq!(
            dot2(0xffff_0002, 0x0403_0201, 100, true, true, false),
            100 + 2 - 2
        );
        assert_eq!(
            dot2(0xffff_0002, 0x0403_0201, 100, true, true, true),
            100 + 6 - 4
        );
    }

    #[test]
    fn shifts_clamp_and_funnel() {
        assert_eq!(shift_left(1, 32, 32), 0);
        assert_eq!(funnel_left(0x8000_0000, 1, 1, true), 3);
        assert_eq!(funnel_right(0x8000_0000, 1, 1, false), 0xc000_0000);
        assert_eq!(funnel_right(7, 9, 40, false), 9);
        assert_eq!(dot4(0xff01_0203, 0x0101_0101, 10, true, true), 15);
        assert_eq!(dot4(0xff01_0203, 0x0101_0101, 10, false, true), 271);
    }
}
