//! Which modifiers each family of instructions may carry. An unknown one may change what the
//! instruction means, so it makes the instruction unsupported instead of being passed over.

use crate::syntax::ast::{Instr, Ty};

const ROUNDING: &[&str] = &[
    "rn", "rz", "rm", "rp", "rna", "ftz", "sat", "approx", "full",
];
const INTEGER: &[&str] = &[
    "lo", "hi", "wide", "cc", "l", "r", "wrap", "clamp", "shiftamt", "NaN", "relu",
];
const MEMORY: &[&str] = &[
    "weak",
    "relaxed",
    "acquire",
    "release",
    "acq_rel",
    "volatile",
    "mmio",
    "cta",
    "cluster",
    "gpu",
    "sys",
    "global",
    "shared",
    "shared::cta",
    "shared::cluster",
    "local",
    "const",
    "param",
    "param::entry",
    "nc",
    "ca",
    "cg",
    "cs",
    "lu",
    "cv",
    "wb",
    "wt",
    "v2",
    "v4",
    "v8",
    "noftz",
    "unified",
    "to",
];
const COMPARISON: &[&str] = &[
    "eq", "ne", "lt", "le", "gt", "ge", "lo", "ls", "hi", "hs", "equ", "neu", "ltu", "leu", "gtu",
    "geu", "num", "nan", "and", "or", "xor", "ftz",
];
const CONVERSION: &[&str] = &[
    "rn",
    "rz",
    "rm",
    "rp",
    "rna",
    "rni",
    "rzi",
    "rmi",
    "rpi",
    "ftz",
    "sat",
    "relu",
    "satfinite",
];
const MATRIX: &[&str] = &["sync", "aligned", "row", "col", "mma_async"];

/// The first modifier of `i` that its family does not know.
pub fn unknown_modifier(i: &Instr) -> Option<&str> {
    let families: &[&[&str]] = match i.name.as_str() {
        "ld" | "ldu" | "st" | "cvta" | "isspacep" => &[MEMORY],
        "setp" | "set" => &[COMPARISON],
        "cvt" => &[CONVERSION],
        "mma" => &[MATRIX],
        "add" | "sub" | "mul" | "mad" | "fma" | "div" | "rem" | "min" | "max" | "neg" | "abs"
        | "sqrt" | "rcp" | "rsqrt" | "ex2" | "lg2" | "sin" | "cos" | "tanh" | "and" | "or"
        | "xor" | "not" | "cnot" | "shl" | "shr" | "shf" | "popc" | "clz" | "brev" | "bfind"
        | "bfe" | "bfi" | "lop3" | "dp4a" | "dp2a" | "sad" | "mul24" | "mad24" | "bmsk"
        | "szext" | "madc" | "addc" | "subc" | "copysign" | "mov" | "selp" | "slct" => {
            &[ROUNDING, INTEGER]
        }
        _ => return None,
    };
    let known = |m: &str| {
        families.iter().any(|f| f.contains(&m))
            || Ty::from_name(m).is_some()
            // Cache hints, and the shape of a matrix product.
            || m.starts_with("L1::")
            || m.starts_with("L2::")
            || (i.name == "mma" && m.starts_with('m'))
    };
    i.mods.iter().map(String::as_str).find(|m| !known(m))
}
