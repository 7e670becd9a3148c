//! Writes one kernel as MLIR text in the llvm, nvvm, scf and arith dialects.
//!
//! Values are SSA; everything that changes lives in stack slots, which LLVM turns into registers.
//! Constants and slots go to the head of the function, so that they dominate every use.

use std::collections::HashMap;
use std::fmt::Write;

/// Type of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Ty {
    I1,
    I16,
    I32,
    I64,
    F32,
    /// Pointer to global memory.
    Global,
    /// Pointer to shared memory.
    Shared,
    /// Pointer to a stack slot.
    Slot,
}

impl Ty {
    pub fn text(self) -> &'static str {
        match self {
            Ty::I1 => "i1",
            Ty::I16 => "i16",
            Ty::I32 => "i32",
            Ty::I64 => "i64",
            Ty::F32 => "f32",
            Ty::Global => "!llvm.ptr<1>",
            Ty::Shared => "!llvm.ptr<3>",
            Ty::Slot => "!llvm.ptr",
        }
    }
}

/// An SSA value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Val {
    id: u32,
    pub ty: Ty,
}

impl std::fmt::Display for Val {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "%v{}", self.id)
    }
}

/// Integer comparisons are signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Cmp {
    Lt,
    Le,
    Eq,
    Ne,
}

/// The function under construction.
#[derive(Default)]
pub(crate) struct Emit {
    head: String,
    body: String,
    indent: usize,
    next: u32,
    constants: HashMap<(Ty, u64), Val>,
    /// The values of integer constants, for folding.
    known: HashMap<u32, i64>,
}

impl Emit {
    pub fn new() -> Emit {
        Emit {
            indent: 1,
            ..Emit::default()
        }
    }

    /// The text of the function's body.
    pub fn finish(self) -> String {
        self.head + &self.body
    }

    /// A new value that the caller defines.
    pub fn fresh(&mut self, ty: Ty) -> Val {
        self.next += 1;
        Val { id: self.next, ty }
    }

    pub fn line(&mut self, text: &str) {
        for _ in 0..self.indent {
            self.body.push_str("  ");
        }
        self.body.push_str(text);
        self.body.push('\n');
    }

    fn head_line(&mut self, text: &str) {
        self.head.push_str("  ");
        self.head.push_str(text);
        self.head.push('\n');
    }

    /// `%v = op operands : type of the operands`
    fn op(&mut self, ty: Ty, op: &str, args: &[Val], suffix: &str) -> Val {
        let v = self.fresh(ty);
        let args: Vec<String> = args.iter().map(Val::to_string).collect();
        self.line(&format!("{v} = {op} {}{suffix}", args.join(", ")));
        v
    }

    // Constants.

    pub fn i32(&mut self, value: i32) -> Val {
        self.integer(Ty::I32, i64::from(value))
    }

    pub fn i64(&mut self, value: i64) -> Val {
        self.integer(Ty::I64, value)
    }

    pub fn bool(&mut self, value: bool) -> Val {
        self.integer(Ty::I1, i64::from(value))
    }

    fn integer(&mut self, ty: Ty, value: i64) -> Val {
        if let Some(v) = self.constants.get(&(ty, value as u64)) {
            return *v;
        }
        let v = self.fresh(ty);
        let text = match ty {
            Ty::I1 => format!("{v} = arith.constant {}", value != 0),
            _ => format!("{v} = arith.constant {value} : {}", ty.text()),
        };
        self.head_line(&text);
        self.constants.insert((ty, value as u64), v);
        self.known.insert(v.id, value);
        v
    }

    pub fn f32(&mut self, value: f32) -> Val {
        let key = (Ty::F32, u64::from(value.to_bits()));
        if let Some(v) = self.constants.get(&key) {
            return *v;
        }
        let v = self.fresh(Ty::F32);
        // Bits, so that infinities, NaN and -0 come out as they are.
        self.head_line(&format!(
            "{v} = arith.constant 0x{:08X} : f32",
            value.to_bits()
        ));
        self.constants.insert(key, v);
        v
    }

    /// The value of an integer constant.
    pub fn constant(&self, v: Val) -> Option<i64> {
        self.known.get(&v.id).copied()
    }

    // Integers.

    pub fn add(&mut self, a: Val, b: Val) -> Val {
        match (self.constant(a), self.constant(b)) {
            (Some(x), Some(y)) if let Some(sum) = fold(a.ty, x.checked_add(y)) => {
                self.integer(a.ty, sum)
            }
            (Some(0), _) => b,
            (_, Some(0)) => a,
            _ => self.int_op("arith.addi", a, b),
        }
    }

    pub fn sub(&mut self, a: Val, b: Val) -> Val {
        match (self.constant(a), self.constant(b)) {
            (Some(x), Some(y)) if let Some(difference) = fold(a.ty, x.checked_sub(y)) => {
                self.integer(a.ty, difference)
            }
            (_, Some(0)) => a,
            _ => self.int_op("arith.subi", a, b),
        }
    }

    pub fn mul(&mut self, a: Val, b: Val) -> Val {
        match (self.constant(a), self.constant(b)) {
            (Some(x), Some(y)) if let Some(product) = fold(a.ty, x.checked_mul(y)) => {
                self.integer(a.ty, product)
            }
            (Some(0), _) | (_, Some(1)) => a,
            (Some(1), _) | (_, Some(0)) => b,
            _ => self.int_op("arith.muli", a, b),
        }
    }

    /// Quotient rounded down. The divisor may be any value but 0.
    pub fn div(&mut self, a: Val, b: Val) -> Val {
        match (self.constant(a), self.constant(b)) {
            (Some(x), Some(y)) if y > 0 => return self.integer(a.ty, x.div_euclid(y)),
            (_, Some(1)) => return a,
            (_, Some(y)) if y > 0 && y.count_ones() == 1 => {
                let shift = self.integer(a.ty, i64::from(y.trailing_zeros()));
                return self.int_op("arith.shrsi", a, shift);
            }
            _ => {}
        }
        let zero = self.integer(a.ty, 0);
        let q = self.int_op("arith.divsi", a, b);
        let product = self.int_op("arith.muli", q, b);
        let inexact = self.icmp(Cmp::Ne, product, a);
        let a_negative = self.icmp(Cmp::Lt, a, zero);
        let b_negative = self.icmp(Cmp::Lt, b, zero);
        let differ = self.op(Ty::I1, "arith.xori", &[a_negative, b_negative], " : i1");
        let down = self.and(inexact, differ);
        let one = self.integer(a.ty, 1);
        let less = self.int_op("arith.subi", q, one);
        self.select(down, less, q)
    }

    /// Quotient of values that are not negative.
    pub fn div_natural(&mut self, a: Val, b: Val) -> Val {
        match (self.constant(a), self.constant(b)) {
            (Some(_), Some(y)) if y > 0 => self.div(a, b),
            (_, Some(y)) if y > 0 && y.count_ones() == 1 => self.div(a, b),
            _ => self.int_op("arith.divui", a, b),
        }
    }

    /// Remainder with the sign of the divisor.
    pub fn rem(&mut self, a: Val, b: Val) -> Val {
        if let Some(y) = self.constant(b)
            && y > 0
            && y.count_ones() == 1
        {
            let mask = self.integer(a.ty, y - 1);
            return self.bit_and(a, mask);
        }
        let q = self.div(a, b);
        let product = self.mul(q, b);
        self.sub(a, product)
    }

    pub fn min(&mut self, a: Val, b: Val) -> Val {
        match (self.constant(a), self.constant(b)) {
            (Some(x), Some(y)) => self.integer(a.ty, x.min(y)),
            _ => self.int_op("arith.minsi", a, b),
        }
    }

    pub fn max(&mut self, a: Val, b: Val) -> Val {
        match (self.constant(a), self.constant(b)) {
            (Some(x), Some(y)) => self.integer(a.ty, x.max(y)),
            _ => self.int_op("arith.maxsi", a, b),
        }
    }

    pub fn bit_and(&mut self, a: Val, b: Val) -> Val {
        match (self.constant(a), self.constant(b)) {
            (Some(x), Some(y)) => self.integer(a.ty, x & y),
            (Some(0), _) => a,
            (_, Some(0)) => b,
            _ => self.int_op("arith.andi", a, b),
        }
    }

    pub fn bit_or(&mut self, a: Val, b: Val) -> Val {
        match (self.constant(a), self.constant(b)) {
            (Some(x), Some(y)) => self.integer(a.ty, x | y),
            (Some(0), _) => b,
            (_, Some(0)) => a,
            _ => self.int_op("arith.ori", a, b),
        }
    }

    pub fn bit_xor(&mut self, a: Val, b: Val) -> Val {
        match (self.constant(a), self.constant(b)) {
            (Some(x), Some(y)) => self.integer(a.ty, x ^ y),
            (Some(0), _) => b,
            (_, Some(0)) => a,
            _ => self.int_op("arith.xori", a, b),
        }
    }

    pub fn shl(&mut self, a: Val, by: u32) -> Val {
        self.shift("arith.shli", a, by, |x| x << by)
    }

    /// Logical shift to the right.
    pub fn shr(&mut self, a: Val, by: u32) -> Val {
        self.shift("arith.shrui", a, by, |x| x >> by)
    }

    fn shift(&mut self, op: &str, a: Val, by: u32, of: impl Fn(i64) -> i64) -> Val {
        match self.constant(a) {
            _ if by == 0 => a,
            Some(x) if x >= 0 => self.integer(a.ty, of(x)),
            _ => {
                let by = self.integer(a.ty, i64::from(by));
                self.int_op(op, a, by)
            }
        }
    }

    fn int_op(&mut self, op: &str, a: Val, b: Val) -> Val {
        debug_assert_eq!(a.ty, b.ty);
        self.op(a.ty, op, &[a, b], &format!(" : {}", a.ty.text()))
    }

    pub fn icmp(&mut self, cmp: Cmp, a: Val, b: Val) -> Val {
        if let (Some(x), Some(y)) = (self.constant(a), self.constant(b)) {
            let holds = match cmp {
                Cmp::Lt => x < y,
                Cmp::Le => x <= y,
                Cmp::Eq => x == y,
                Cmp::Ne => x != y,
            };
            return self.bool(holds);
        }
        let name = match cmp {
            Cmp::Lt => "slt",
            Cmp::Le => "sle",
            Cmp::Eq => "eq",
            Cmp::Ne => "ne",
        };
        self.op(
            Ty::I1,
            &format!("arith.cmpi {name},"),
            &[a, b],
            &format!(" : {}", a.ty.text()),
        )
    }

    pub fn widen(&mut self, a: Val) -> Val {
        match self.constant(a) {
            _ if a.ty == Ty::I64 => a,
            Some(x) => self.i64(x),
            None => self.op(Ty::I64, "arith.extsi", &[a], " : i32 to i64"),
        }
    }

    /// An I32 as I64, zeros above.
    pub fn zext(&mut self, a: Val) -> Val {
        self.op(Ty::I64, "arith.extui", &[a], " : i32 to i64")
    }

    /// Any value: nothing may depend on which.
    pub fn undefined(&mut self, ty: Ty) -> Val {
        let v = self.fresh(ty);
        self.line(&format!("{v} = llvm.mlir.undef : {}", ty.text()));
        v
    }

    /// An I16 as I32, zeros above.
    pub fn zext16(&mut self, a: Val) -> Val {
        self.op(Ty::I32, "arith.extui", &[a], " : i16 to i32")
    }

    // Conditions.

    pub fn and(&mut self, a: Val, b: Val) -> Val {
        match (self.constant(a), self.constant(b)) {
            (Some(0), _) => a,
            (_, Some(0)) => b,
            (Some(_), _) => b,
            (_, Some(_)) => a,
            _ => self.op(Ty::I1, "arith.andi", &[a, b], " : i1"),
        }
    }

    pub fn or(&mut self, a: Val, b: Val) -> Val {
        match (self.constant(a), self.constant(b)) {
            (Some(0), _) => b,
            (_, Some(0)) => a,
            (Some(_), _) => a,
            (_, Some(_)) => b,
            _ => self.op(Ty::I1, "arith.ori", &[a, b], " : i1"),
        }
    }

    pub fn not(&mut self, a: Val) -> Val {
        let yes = self.bool(true);
        match self.constant(a) {
            Some(x) => self.bool(x == 0),
            None => self.op(Ty::I1, "arith.xori", &[a, yes], " : i1"),
        }
    }

    pub fn select(&mut self, c: Val, a: Val, b: Val) -> Val {
        match self.constant(c) {
            Some(0) => b,
            Some(_) => a,
            None if a == b => a,
            None => self.op(
                a.ty,
                "arith.select",
                &[c, a, b],
                &format!(" : {}", a.ty.text()),
            ),
        }
    }

    // Reals.

    fn float_op(&mut self, op: &str, args: &[Val]) -> Val {
        self.op(Ty::F32, op, args, " fastmath<contract> : f32")
    }

    pub fn fadd(&mut self, a: Val, b: Val) -> Val {
        self.float_op("arith.addf", &[a, b])
    }

    pub fn fsub(&mut self, a: Val, b: Val) -> Val {
        self.float_op("arith.subf", &[a, b])
    }

    pub fn fmul(&mut self, a: Val, b: Val) -> Val {
        self.float_op("arith.mulf", &[a, b])
    }

    pub fn fneg(&mut self, a: Val) -> Val {
        self.op(Ty::F32, "arith.negf", &[a], " : f32")
    }

    /// Correctly rounded.
    pub fn fdiv(&mut self, a: Val, b: Val) -> Val {
        self.call("llvm.nvvm.div.rn.f", &[a, b], Ty::F32)
    }

    /// a * b + c, rounded once.
    pub fn fma(&mut self, a: Val, b: Val, c: Val) -> Val {
        self.call("llvm.fma", &[a, b, c], Ty::F32)
    }

    /// An addition that is not merged into anything and keeps its place in a sum.
    pub fn fadd_exact(&mut self, a: Val, b: Val) -> Val {
        self.op(Ty::F32, "arith.addf", &[a, b], " : f32")
    }

    pub fn fsub_exact(&mut self, a: Val, b: Val) -> Val {
        self.op(Ty::F32, "arith.subf", &[a, b], " : f32")
    }

    /// The larger; the other one if one is NaN.
    pub fn fmax(&mut self, a: Val, b: Val) -> Val {
        self.op(Ty::F32, "arith.maxnumf", &[a, b], " : f32")
    }

    pub fn fmin(&mut self, a: Val, b: Val) -> Val {
        self.op(Ty::F32, "arith.minnumf", &[a, b], " : f32")
    }

    /// The larger; NaN if either is.
    pub fn fmax_nan(&mut self, a: Val, b: Val) -> Val {
        self.op(Ty::F32, "arith.maximumf", &[a, b], " : f32")
    }

    pub fn fmin_nan(&mut self, a: Val, b: Val) -> Val {
        self.op(Ty::F32, "arith.minimumf", &[a, b], " : f32")
    }

    pub fn fabs(&mut self, a: Val) -> Val {
        self.call("llvm.fabs", &[a], Ty::F32)
    }

    /// `predicate` is one of MLIR's: oeq, olt, ole, one, une, ord, uno ...
    pub fn fcmp(&mut self, predicate: &str, a: Val, b: Val) -> Val {
        self.op(
            Ty::I1,
            &format!("arith.cmpf {predicate},"),
            &[a, b],
            " : f32",
        )
    }

    pub fn int_to_float(&mut self, a: Val) -> Val {
        let ty = a.ty.text();
        self.op(Ty::F32, "arith.sitofp", &[a], &format!(" : {ty} to f32"))
    }

    /// Towards 0; for values that fit.
    #[cfg(test)]
    pub fn float_to_int(&mut self, a: Val) -> Val {
        self.op(Ty::I32, "arith.fptosi", &[a], " : f32 to i32")
    }

    pub fn bool_to_float(&mut self, a: Val) -> Val {
        let (one, zero) = (self.f32(1.0), self.f32(0.0));
        self.select(a, one, zero)
    }

    pub fn bits(&mut self, a: Val) -> Val {
        self.op(Ty::I32, "arith.bitcast", &[a], " : f32 to i32")
    }

    pub fn float_of(&mut self, a: Val) -> Val {
        self.op(Ty::F32, "arith.bitcast", &[a], " : i32 to f32")
    }

    // Intrinsics and inline assembly.

    /// An LLVM intrinsic with one result.
    pub fn call(&mut self, name: &str, args: &[Val], result: Ty) -> Val {
        let v = self.fresh(result);
        let (names, types) = list(args);
        self.line(&format!(
            "{v} = llvm.call_intrinsic \"{name}\"({names}) : ({types}) -> {}",
            result.text()
        ));
        v
    }

    /// An LLVM intrinsic without result.
    pub fn run(&mut self, name: &str, args: &[Val]) {
        let (names, types) = list(args);
        self.line(&format!(
            "llvm.call_intrinsic \"{name}\"({names}) : ({types}) -> ()"
        ));
    }

    /// An LLVM intrinsic whose results come as a struct.
    pub fn call_many(&mut self, name: &str, args: &[Val], results: &[Ty]) -> Vec<Val> {
        let (names, types) = list(args);
        let returned = structure(results);
        let whole = self.fresh(Ty::I32);
        self.line(&format!(
            "{whole} = llvm.call_intrinsic \"{name}\"({names}) : ({types}) -> {returned}"
        ));
        self.unpack(whole, results, &returned)
    }

    /// PTX as it stands. `$0`... are the results, then the arguments; `constraints` as LLVM has them.
    /// With `memory`, nothing that touches memory moves across.
    pub fn asm(
        &mut self,
        text: &str,
        constraints: &str,
        args: &[Val],
        results: &[Ty],
        memory: bool,
    ) -> Vec<Val> {
        let (names, types) = list(args);
        let effects = if memory { "has_side_effects " } else { "" };
        let constraints = match memory {
            true if constraints.is_empty() => "~{memory}".to_owned(),
            true => format!("{constraints},~{{memory}}"),
            false => constraints.to_owned(),
        };
        let text = format!(
            "llvm.inline_asm {effects}asm_dialect = att \"{text}\", \"{constraints}\" {names} : ({types}) -> "
        );
        match results {
            [] => {
                self.line(&format!("{text}!llvm.void"));
                vec![]
            }
            [one] => {
                let v = self.fresh(*one);
                self.line(&format!("{v} = {text}{}", one.text()));
                vec![v]
            }
            _ => {
                let returned = structure(results);
                let whole = self.fresh(Ty::I32);
                self.line(&format!("{whole} = {text}{returned}"));
                self.unpack(whole, results, &returned)
            }
        }
    }

    /// PTX with one result that stays where it is, and is repeated in every turn of a loop.
    pub fn asm_volatile(&mut self, text: &str, constraints: &str, args: &[Val], result: Ty) -> Val {
        let (names, types) = list(args);
        let v = self.fresh(result);
        self.line(&format!(
            "{v} = llvm.inline_asm has_side_effects asm_dialect = att \"{text}\", \"{constraints}\" {names} : ({types}) -> {}",
            result.text()
        ));
        v
    }

    fn unpack(&mut self, whole: Val, results: &[Ty], returned: &str) -> Vec<Val> {
        let each = |(n, ty): (usize, &Ty)| {
            let v = self.fresh(*ty);
            self.line(&format!(
                "{v} = llvm.extractvalue {whole}[{n}] : {returned}"
            ));
            v
        };
        results.iter().enumerate().map(each).collect()
    }

    /// A special register, e.g. `tid.x`.
    pub fn special(&mut self, name: &str) -> Val {
        let v = self.fresh(Ty::I32);
        self.line(&format!("{v} = nvvm.read.ptx.sreg.{name} : i32"));
        v
    }

    // Memory.

    /// `base` plus a number of bytes.
    pub fn offset(&mut self, base: Val, bytes: Val) -> Val {
        if self.constant(bytes) == Some(0) {
            return base;
        }
        let v = self.fresh(base.ty);
        let pointer = base.ty.text();
        self.line(&format!(
            "{v} = llvm.getelementptr {base}[{bytes}] : ({pointer}, {}) -> {pointer}, i8",
            bytes.ty.text()
        ));
        v
    }

    /// A pointer to shared memory as a number.
    pub fn address_of(&mut self, pointer: Val) -> Val {
        self.op(
            Ty::I32,
            "llvm.ptrtoint",
            &[pointer],
            " : !llvm.ptr<3> to i32",
        )
    }

    pub fn load(&mut self, pointer: Val, ty: Ty) -> Val {
        let align = alignment(ty);
        self.op(
            ty,
            "llvm.load",
            &[pointer],
            &format!(" {align}: {} -> {}", pointer.ty.text(), ty.text()),
        )
    }

    pub fn store(&mut self, value: Val, pointer: Val) {
        let align = alignment(value.ty);
        self.line(&format!(
            "llvm.store {value}, {pointer} {align}: {}, {}",
            value.ty.text(),
            pointer.ty.text()
        ));
    }

    pub fn store_vector(&mut self, values: &[Val], pointer: Val) {
        let [first, ..] = values else { return };
        if values.len() == 1 {
            return self.store(*first, pointer);
        }
        let vector = format!("vector<{}x{}>", values.len(), first.ty.text());
        let mut whole = self.fresh(first.ty);
        self.line(&format!("{whole} = llvm.mlir.undef : {vector}"));
        for (n, value) in values.iter().enumerate() {
            let at = self.i32(n as i32);
            let next = self.fresh(first.ty);
            self.line(&format!(
                "{next} = llvm.insertelement {value}, {whole}[{at} : i32] : {vector}"
            ));
            whole = next;
        }
        self.line(&format!(
            "llvm.store {whole}, {pointer} {{alignment = {} : i64}} : {vector}, {}",
            4 * values.len(),
            pointer.ty.text()
        ));
    }

    /// A variable of the kernel. LLVM keeps it in a register.
    pub fn slot(&mut self, ty: Ty) -> Val {
        let one = self.i32(1);
        let v = self.fresh(Ty::Slot);
        self.head_line(&format!(
            "{v} = llvm.alloca {one} x {} : (i32) -> !llvm.ptr",
            ty.text()
        ));
        v
    }

    // Control flow.

    pub fn open_if(&mut self, condition: Val) {
        self.line(&format!("scf.if {condition} {{"));
        self.indent += 1;
    }

    pub fn open_else(&mut self) {
        self.indent -= 1;
        self.line("} else {");
        self.indent += 1;
    }

    /// Opens a loop over I32 from `lo` below `hi`; returns its variable.
    pub fn open_for(&mut self, lo: Val, hi: Val) -> Val {
        let one = self.i32(1);
        let v = self.fresh(Ty::I32);
        self.line(&format!("scf.for {v} = {lo} to {hi} step {one} : i32 {{"));
        self.indent += 1;
        v
    }

    pub fn close(&mut self) {
        self.indent -= 1;
        self.line("}");
    }
}

fn fold(ty: Ty, value: Option<i64>) -> Option<i64> {
    value.filter(|v| ty != Ty::I32 || i32::try_from(*v).is_ok())
}

fn alignment(ty: Ty) -> &'static str {
    match ty {
        Ty::I1 => "",
        Ty::I16 => "{alignment = 2 : i64} ",
        Ty::I32 | Ty::F32 => "{alignment = 4 : i64} ",
        Ty::I64 | Ty::Global | Ty::Shared | Ty::Slot => "{alignment = 8 : i64} ",
    }
}

fn list(args: &[Val]) -> (String, String) {
    let (mut names, mut types) = (String::new(), String::new());
    for (n, arg) in args.iter().enumerate() {
        let comma = if n == 0 { "" } else { ", " };
        // Writing to a String cannot fail.
        let _ = write!(names, "{comma}{arg}");
        let _ = write!(types, "{comma}{}", arg.ty.text());
    }
    (names, types)
}

fn structure(types: &[Ty]) -> String {
    let types: Vec<&str> = types.iter().map(|t| t.text()).collect();
    format!("!llvm.struct<({})>", types.join(", "))
}
