//! Machine instructions by what they are for.

use std::fmt;

/// A class of instructions. The order is that of tables.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// Products on the matrix unit: HMMA, HGMMA.
    Matrix,
    /// Fragments of matrices from shared memory: LDSM.
    Ldsm,
    /// Global to shared memory without registers: LDGSTS, UTMALDG.
    Copy,
    Lds,
    Sts,
    Ldg,
    Stg,
    /// Spilled registers and arrays of a thread: LDL, STL.
    Local,
    /// Exponentials, reciprocals, roots: MUFU.
    Mufu,
    /// Arithmetic and comparisons of floating-point numbers.
    Fp32,
    Convert,
    /// Values from other lanes.
    Shuffle,
    /// Integers, addresses, predicates.
    Int,
    /// The same for the whole warp, in the scalar unit.
    Uniform,
    /// Barriers, waits for copies, fences.
    Barrier,
    Control,
}

impl Class {
    pub const ALL: [Class; 16] = [
        Class::Matrix,
        Class::Ldsm,
        Class::Copy,
        Class::Lds,
        Class::Sts,
        Class::Ldg,
        Class::Stg,
        Class::Local,
        Class::Mufu,
        Class::Fp32,
        Class::Convert,
        Class::Shuffle,
        Class::Int,
        Class::Uniform,
        Class::Barrier,
        Class::Control,
    ];
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&format!("{self:?}").to_lowercase())
    }
}

/// The class of an opcode; what is not known counts as work on integers.
pub fn classify(opcode: &str) -> Class {
    let mnemonic = opcode.split('.').next().unwrap_or("");
    match mnemonic {
        m if m.ends_with("MMA") && m != "WARPGROUPMMA" => Class::Matrix,
        "LDSM" => Class::Ldsm,
        "LDGSTS" | "UTMALDG" | "UTMASTG" | "UBLKCP" | "UTMAPF" => Class::Copy,
        "LDS" => Class::Lds,
        "STS" | "STSM" | "ATOMS" => Class::Sts,
        "LDG" | "LD" => Class::Ldg,
        "STG" | "ST" | "RED" | "REDG" | "ATOM" | "ATOMG" => Class::Stg,
        "LDL" | "STL" => Class::Local,
        "MUFU" => Class::Mufu,
        "FADD" | "FMUL" | "FFMA" | "FADD2" | "FMUL2" | "FFMA2" | "FMNMX" | "FMNMX3" | "FSEL"
        | "FSETP" | "FSET" | "FCHK" | "FSWZADD" | "HADD2" | "HMUL2" | "HFMA2" | "HMNMX2"
        | "HSETP2" | "HSET2" | "DADD" | "DMUL" | "DFMA" => Class::Fp32,
        "F2F" | "F2FP" | "F2I" | "F2IP" | "I2F" | "I2FP" | "FRND" => Class::Convert,
        "SHFL" | "MOVM" | "REDUX" | "VOTE" | "VOTEU" | "MATCH" => Class::Shuffle,
        "BAR" | "DEPBAR" | "LDGDEPBAR" | "UTMACMDFLUSH" | "MEMBAR" | "SYNCS" | "ERRBAR"
        | "CCTL" | "ARRIVES" | "FENCE" | "WARPGROUP" | "WARPSYNC" => Class::Barrier,
        "BRA" | "BRX" | "BSSY" | "BSYNC" | "BREAK" | "BMOV" | "EXIT" | "RET" | "CALL" | "JMP"
        | "NOP" | "YIELD" | "NANOSLEEP" | "ELECT" | "KILL" => Class::Control,
        "R2UR" | "S2R" | "S2UR" | "CS2R" => Class::Uniform,
        m if m.starts_with('U') => Class::Uniform,
        _ => Class::Int,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opcodes_fall_into_their_class() {
        for (opcode, class) in [
            ("HMMA.16816.F32.BF16", Class::Matrix),
            ("HGMMA.64x128x16.F32.BF16", Class::Matrix),
            ("UTCHMMA.2CTA", Class::Matrix),
            ("HFMA2.MMA", Class::Fp32),
            ("LDSM.16.MT88.4", Class::Ldsm),
            ("LDGSTS.E.BYPASS.128", Class::Copy),
            ("UTMALDG.2D", Class::Copy),
            ("MUFU.EX2", Class::Mufu),
            ("F2FP.BF16.F32.PACK_AB", Class::Convert),
            ("IMAD.MOV.U32", Class::Int),
            ("UIADD3", Class::Uniform),
            ("BAR.SYNC.DEFER_BLOCKING", Class::Barrier),
            ("BRA", Class::Control),
        ] {
            assert_eq!(classify(opcode), class, "{opcode}");
        }
        assert_eq!(Class::Matrix.to_string(), "matrix");
    }
}
