//! PTX as written: directives, declarations, instructions with all their modifiers.

use mixc_text::{Diagnostic, Span};
use std::fmt;

/// Where something stands: a byte range and a 1-based line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    pub span: Span,
    pub line: u32,
}

#[derive(Clone, Debug, Default)]
pub struct Module {
    /// `.version`, as (major, minor).
    pub version: (u32, u32),
    /// `.target`: the architecture and any options.
    pub target: Vec<String>,
    pub address_size: u32,
    /// Module-scope `.global`, `.const`, `.shared` variables.
    pub variables: Vec<Variable>,
    pub entries: Vec<Entry>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Space {
    Reg,
    Param,
    Global,
    Shared,
    Local,
    Const,
    Generic,
}

/// Storage types (PTX ISA, "Fundamental Types", "Packed Data Types", "Alternate formats").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ty {
    Pred,
    B8,
    B16,
    B32,
    B64,
    B128,
    U8,
    U16,
    U32,
    U64,
    S8,
    S16,
    S32,
    S64,
    F16,
    F16x2,
    Bf16,
    Bf16x2,
    Tf32,
    F32,
    F32x2,
    F64,
}

impl Ty {
    pub fn from_name(name: &str) -> Option<Ty> {
        use Ty::*;
        Some(match name {
            "pred" => Pred,
            "b8" => B8,
            "b16" => B16,
            "b32" => B32,
            "b64" => B64,
            "b128" => B128,
            "u8" => U8,
            "u16" => U16,
            "u32" => U32,
            "u64" => U64,
            "s8" => S8,
            "s16" => S16,
            "s32" => S32,
            "s64" => S64,
            "f16" => F16,
            "f16x2" => F16x2,
            "bf16" => Bf16,
            "bf16x2" => Bf16x2,
            "tf32" => Tf32,
            "f32" => F32,
            "f32x2" => F32x2,
            "f64" => F64,
            _ => return None,
        })
    }

    pub fn bits(self) -> u32 {
        use Ty::*;
        match self {
            Pred => 1,
            B8 | U8 | S8 => 8,
            B16 | U16 | S16 | F16 | Bf16 => 16,
            B32 | U32 | S32 | F16x2 | Bf16x2 | Tf32 | F32 => 32,
            B64 | U64 | S64 | F32x2 | F64 => 64,
            B128 => 128,
        }
    }

    pub fn bytes(self) -> u32 {
        self.bits().div_ceil(8)
    }

    pub fn signed(self) -> bool {
        matches!(self, Ty::S8 | Ty::S16 | Ty::S32 | Ty::S64)
    }

    pub fn float(self) -> bool {
        matches!(
            self,
            Ty::F16 | Ty::F16x2 | Ty::Bf16 | Ty::Bf16x2 | Ty::Tf32 | Ty::F32 | Ty::F32x2 | Ty::F64
        )
    }
}

impl fmt::Display for Ty {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, ".{}", format!("{self:?}").to_ascii_lowercase())
    }
}

/// A declared name: `.shared .align 16 .b8 tile[1024];`, `.reg .b32 %r<9>;`, a parameter.
#[derive(Clone, Debug)]
pub struct Variable {
    pub place: Place,
    pub space: Space,
    pub ty: Ty,
    pub name: String,
    /// `%r<9>` declares `%r0` .. `%r8`.
    pub count: Option<u32>,
    /// Number of elements; `None` for an array without a size (`.extern .shared`).
    pub elements: Option<u64>,
    pub align: u32,
    /// The initial bytes, shorter than the variable when the rest is zero.
    pub init: Vec<u8>,
}

impl Variable {
    pub fn bytes(&self) -> u64 {
        self.elements.unwrap_or(0) * u64::from(self.ty.bytes())
    }
}

#[derive(Clone, Debug, Default)]
pub struct Entry {
    pub name: String,
    pub place: Place,
    pub params: Vec<Variable>,
    /// `.maxntid` / `.reqntid`, where present.
    pub max_threads: Option<[u32; 3]>,
    pub required_threads: Option<[u32; 3]>,
    /// `.maxnreg` and `.minnctapersm`, where present.
    pub max_registers: Option<u32>,
    pub min_blocks: Option<u32>,
    pub body: Vec<Statement>,
}

#[derive(Clone, Debug)]
pub enum Statement {
    Variable(Variable),
    /// One declaration of several names.
    Many(Vec<Statement>),
    Label(String, Place),
    /// `name: .branchtargets a, b, c;`
    BranchTargets(String, Vec<String>),
    Instr(Instr),
    /// `{ ... }`: names declared inside are not visible outside.
    Block(Vec<Statement>),
}

#[derive(Clone, Debug)]
pub struct Instr {
    pub place: Place,
    pub guard: Option<Guard>,
    /// The first word of the instruction: `ld`, `mma`, `cp`.
    pub name: String,
    /// Everything after it, without dots: `["async", "ca", "shared::cta", "global"]`.
    pub mods: Vec<String>,
    pub operands: Vec<Operand>,
    /// Why the operands could not be read. Matters only if the instruction is known otherwise.
    pub malformed: Option<Diagnostic>,
}

#[derive(Clone, Debug)]
pub struct Guard {
    pub negated: bool,
    pub pred: String,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Operand {
    /// A register, special register (`%tid.x`), variable or label.
    Name(String),
    Int(i64),
    F32(u32),
    F64(f64),
    Vector(Vec<Operand>),
    Address {
        base: Box<Operand>,
        offset: i64,
    },
    /// `[map, {x, y}]` of the bulk tensor instructions; further operands after the coordinates.
    Tensor {
        map: Box<Operand>,
        rest: Vec<Operand>,
    },
    /// `p|q`
    Pair(Box<Operand>, Box<Operand>),
    /// `!p`
    Not(Box<Operand>),
    /// `_`: the result is not wanted.
    Sink,
}

impl Instr {
    pub fn has(&self, modifier: &str) -> bool {
        self.mods.iter().any(|m| m == modifier)
    }

    /// The name with its modifiers, as written.
    pub fn opcode(&self) -> String {
        let mut out = self.name.clone();
        for m in &self.mods {
            out.push('.');
            out.push_str(m);
        }
        out
    }

    /// The data types among the modifiers, in order.
    pub fn types(&self) -> Vec<Ty> {
        self.mods.iter().filter_map(|m| Ty::from_name(m)).collect()
    }
}
