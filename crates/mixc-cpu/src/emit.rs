//! The instruction emitter: integers folded at compile time, vectors of four f32, constants in a
//! table, and loops. Cranelift's own optimiser is off for kernels (it moves loads and multiply-adds
//! apart and spills), so what is emitted here is, in this order, what runs.

use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::{
    Block, BlockArg, InstBuilder, MemFlagsData, Type, Value,
    types::{F32, F32X4, I8X16, I32, I32X4, I64},
};
use cranelift_frontend::FunctionBuilder;

/// An integer that is known now or at run time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum I {
    C(i64),
    V(Value),
}

/// An address with a constant offset in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Ptr {
    pub base: Value,
    pub off: i64,
}

impl Ptr {
    pub fn plus(self, bytes: i64) -> Ptr {
        Ptr {
            base: self.base,
            off: self.off + bytes,
        }
    }
}

pub(crate) struct Emit<'f> {
    pub b: FunctionBuilder<'f>,
    /// The argument block, the thread's scratch memory and the constant table.
    pub args: Value,
    pub scratch: Value,
    consts: Value,
    /// Sixteen-byte constants, in the order of the table.
    pub table: Vec<[u32; 4]>,
    pub has_fma: bool,
}

pub(crate) const MEM: MemFlagsData = MemFlagsData::new().with_notrap();

impl<'f> Emit<'f> {
    pub fn new(
        b: FunctionBuilder<'f>,
        args: Value,
        scratch: Value,
        consts: Value,
        has_fma: bool,
    ) -> Self {
        Emit {
            b,
            args,
            scratch,
            consts,
            table: Vec::new(),
            has_fma,
        }
    }

    // ---- integers ----

    pub fn value(&mut self, i: I) -> Value {
        match i {
            I::C(c) => self.b.ins().iconst(I64, c),
            I::V(v) => v,
        }
    }

    pub fn add(&mut self, a: I, b: I) -> I {
        match (a, b) {
            (I::C(a), I::C(b)) => I::C(a.wrapping_add(b)),
            (x, I::C(0)) | (I::C(0), x) => x,
            (I::V(x), I::C(c)) | (I::C(c), I::V(x)) => {
                let c = self.b.ins().iconst(I64, c);
                I::V(self.b.ins().iadd(x, c))
            }
            (I::V(a), I::V(b)) => I::V(self.b.ins().iadd(a, b)),
        }
    }

    pub fn sub(&mut self, a: I, b: I) -> I {
        match (a, b) {
            (I::C(a), I::C(b)) => I::C(a.wrapping_sub(b)),
            (x, I::C(c)) => self.add(x, I::C(c.wrapping_neg())),
            (a, I::V(b)) => {
                let a = self.value(a);
                I::V(self.b.ins().isub(a, b))
            }
        }
    }

    pub fn mul(&mut self, a: I, b: I) -> I {
        match (a, b) {
            (I::C(a), I::C(b)) => I::C(a.wrapping_mul(b)),
            (_, I::C(0)) | (I::C(0), _) => I::C(0),
            (x, I::C(1)) | (I::C(1), x) => x,
            (I::V(x), I::C(c)) | (I::C(c), I::V(x)) => {
                if c > 0 && (c as u64).is_power_of_two() {
                    let shift = self.b.ins().iconst(I64, i64::from(c.trailing_zeros()));
                    I::V(self.b.ins().ishl(x, shift))
                } else {
                    let c = self.b.ins().iconst(I64, c);
                    I::V(self.b.ins().imul(x, c))
                }
            }
            (I::V(a), I::V(b)) => I::V(self.b.ins().imul(a, b)),
        }
    }

    /// Quotient rounded down; 0 where the divisor is 0.
    pub fn div(&mut self, a: I, b: I) -> I {
        match (a, b) {
            (I::C(a), I::C(b)) if b != 0 => {
                let q = a.wrapping_div(b);
                I::C(if a % b != 0 && (a < 0) != (b < 0) {
                    q - 1
                } else {
                    q
                })
            }
            (x, I::C(1)) => x,
            (I::V(x), I::C(c)) if c > 0 && (c as u64).is_power_of_two() => {
                let shift = self.b.ins().iconst(I64, i64::from(c.trailing_zeros()));
                I::V(self.b.ins().sshr(x, shift))
            }
            _ => {
                let (x, y) = (self.value(a), self.value(b));
                let zero = self.b.ins().iconst(I64, 0);
                let one = self.b.ins().iconst(I64, 1);
                let is_zero = self.b.ins().icmp(IntCC::Equal, y, zero);
                let safe = self.b.ins().select(is_zero, one, y);
                let q = self.b.ins().sdiv(x, safe);
                let back = self.b.ins().imul(q, safe);
                let rem = self.b.ins().isub(x, back);
                let inexact = self.b.ins().icmp(IntCC::NotEqual, rem, zero);
                let signs = self.b.ins().bxor(rem, safe);
                let differ = self.b.ins().icmp(IntCC::SignedLessThan, signs, zero);
                let down = self.b.ins().band(inexact, differ);
                let less = self.b.ins().isub(q, one);
                let q = self.b.ins().select(down, less, q);
                I::V(self.b.ins().select(is_zero, zero, q))
            }
        }
    }

    /// Remainder with the sign of the divisor; 0 where the divisor is 0.
    pub fn rem(&mut self, a: I, b: I) -> I {
        match (a, b) {
            (_, I::C(1)) => I::C(0),
            (I::V(x), I::C(c)) if c > 0 && (c as u64).is_power_of_two() => {
                let mask = self.b.ins().iconst(I64, c - 1);
                I::V(self.b.ins().band(x, mask))
            }
            _ => {
                let q = self.div(a, b);
                let back = self.mul(q, b);
                let r = self.sub(a, back);
                match b {
                    I::C(0) => I::C(0),
                    I::C(_) => r,
                    I::V(y) => {
                        let zero = self.b.ins().iconst(I64, 0);
                        let is_zero = self.b.ins().icmp(IntCC::Equal, y, zero);
                        let r = self.value(r);
                        I::V(self.b.ins().select(is_zero, zero, r))
                    }
                }
            }
        }
    }

    pub fn min(&mut self, a: I, b: I) -> I {
        self.pick(IntCC::SignedLessThan, a, b)
    }

    pub fn max(&mut self, a: I, b: I) -> I {
        self.pick(IntCC::SignedGreaterThan, a, b)
    }

    fn pick(&mut self, first_if: IntCC, a: I, b: I) -> I {
        if let (I::C(x), I::C(y)) = (a, b) {
            return I::C(if first_if == IntCC::SignedLessThan {
                x.min(y)
            } else {
                x.max(y)
            });
        }
        let (a, b) = (self.value(a), self.value(b));
        let c = self.b.ins().icmp(first_if, a, b);
        I::V(self.b.ins().select(c, a, b))
    }

    /// 1 or 0.
    pub fn compare(&mut self, cc: IntCC, a: I, b: I) -> Value {
        let (a, b) = (self.value(a), self.value(b));
        self.b.ins().icmp(cc, a, b)
    }

    // ---- memory ----

    pub fn ptr(&self, base: Value) -> Ptr {
        Ptr { base, off: 0 }
    }

    /// `p + i * bytes`.
    pub fn step(&mut self, p: Ptr, i: I, bytes: i64) -> Ptr {
        match self.mul(i, I::C(bytes)) {
            I::C(c) => p.plus(c),
            I::V(v) => Ptr {
                base: self.b.ins().iadd(p.base, v),
                off: p.off,
            },
        }
    }

    /// The address with an offset that an instruction can hold.
    fn reachable(&mut self, p: Ptr) -> (Value, i32) {
        match i32::try_from(p.off) {
            Ok(off) => (p.base, off),
            Err(_) => {
                let off = self.b.ins().iconst(I64, p.off);
                (self.b.ins().iadd(p.base, off), 0)
            }
        }
    }

    pub fn load(&mut self, ty: Type, p: Ptr) -> Value {
        let (base, off) = self.reachable(p);
        self.b.ins().load(ty, MEM, base, off)
    }

    pub fn store(&mut self, v: Value, p: Ptr) {
        let (base, off) = self.reachable(p);
        self.b.ins().store(MEM, v, base, off);
    }

    /// Four bf16 or f16 as four zero-extended i32.
    pub fn load_u16x4(&mut self, p: Ptr) -> Value {
        let (base, off) = self.reachable(p);
        self.b.ins().uload16x4(MEM, base, off)
    }

    pub fn load_splat(&mut self, p: Ptr) -> Value {
        let x = self.load(F32, p);
        self.b.ins().splat(F32X4, x)
    }

    /// A slot of the argument block.
    pub fn arg(&mut self, slot: usize) -> Value {
        self.load(
            I64,
            Ptr {
                base: self.args,
                off: 8 * slot as i64,
            },
        )
    }

    // ---- constants ----

    pub fn bits4(&mut self, ty: Type, lanes: [u32; 4]) -> Value {
        let at = self
            .table
            .iter()
            .position(|c| *c == lanes)
            .unwrap_or_else(|| {
                self.table.push(lanes);
                self.table.len() - 1
            });
        self.load(
            ty,
            Ptr {
                base: self.consts,
                off: 16 * at as i64,
            },
        )
    }

    /// Emit right before the use, so that the load becomes a memory operand.
    pub fn f32c(&mut self, x: f32) -> Value {
        self.bits4(F32X4, [x.to_bits(); 4])
    }

    pub fn i32c(&mut self, x: i32) -> Value {
        self.bits4(I32X4, [x as u32; 4])
    }

    // ---- vectors ----

    pub fn as_i32(&mut self, x: Value) -> Value {
        self.cast(I32X4, x)
    }

    pub fn as_f32(&mut self, x: Value) -> Value {
        self.cast(F32X4, x)
    }

    pub fn cast(&mut self, ty: Type, x: Value) -> Value {
        if self.b.func.dfg.value_type(x) == ty {
            return x;
        }
        let little = MemFlagsData::new().with_endianness(cranelift_codegen::ir::Endianness::Little);
        self.b.ins().bitcast(ty, little, x)
    }

    /// a * b + c in one rounding where the machine has it.
    pub fn fma(&mut self, a: Value, b: Value, c: Value) -> Value {
        if self.has_fma {
            self.b.ins().fma(a, b, c)
        } else {
            let p = self.b.ins().fmul(a, b);
            self.b.ins().fadd(p, c)
        }
    }

    /// The larger; `b` if either is NaN. One instruction.
    pub fn max_or_second(&mut self, a: Value, b: Value) -> Value {
        let c = self.b.ins().fcmp(FloatCC::LessThan, b, a);
        let c = self.as_f32(c);
        self.b.ins().bitselect(c, a, b)
    }

    /// The smaller; `b` if either is NaN. One instruction.
    pub fn min_or_second(&mut self, a: Value, b: Value) -> Value {
        let c = self.b.ins().fcmp(FloatCC::LessThan, a, b);
        let c = self.as_f32(c);
        self.b.ins().bitselect(c, a, b)
    }

    /// A mask (all bits of a lane) from a comparison of floats.
    pub fn fcmp(&mut self, cc: FloatCC, a: Value, b: Value) -> Value {
        self.b.ins().fcmp(cc, a, b)
    }

    /// `a` where the mask is set, else `b`.
    pub fn choose(&mut self, mask: Value, a: Value, b: Value) -> Value {
        let mask = self.as_i32(mask);
        let (a, b) = (self.as_i32(a), self.as_i32(b));
        let v = self.b.ins().bitselect(mask, a, b);
        self.as_f32(v)
    }

    /// Lanes of two vectors, chosen at compile time: 0..4 from `a`, 4..8 from `b`.
    pub fn shuffle(&mut self, a: Value, b: Value, lanes: [u8; 4]) -> Value {
        let mask: Vec<u8> = lanes
            .iter()
            .flat_map(|l| (0..4).map(move |i| 4 * l + i))
            .collect();
        let mask = self.b.func.dfg.immediates.push(mask.as_slice().into());
        let (a, b) = (self.cast(I8X16, a), self.cast(I8X16, b));
        let v = self.b.ins().shuffle(a, b, mask);
        self.as_f32(v)
    }

    /// Rows become columns.
    pub fn transpose(&mut self, r: [Value; 4]) -> [Value; 4] {
        let lo01 = self.shuffle(r[0], r[1], [0, 4, 1, 5]);
        let hi01 = self.shuffle(r[0], r[1], [2, 6, 3, 7]);
        let lo23 = self.shuffle(r[2], r[3], [0, 4, 1, 5]);
        let hi23 = self.shuffle(r[2], r[3], [2, 6, 3, 7]);
        [
            self.shuffle(lo01, lo23, [0, 1, 4, 5]),
            self.shuffle(lo01, lo23, [2, 3, 6, 7]),
            self.shuffle(hi01, hi23, [0, 1, 4, 5]),
            self.shuffle(hi01, hi23, [2, 3, 6, 7]),
        ]
    }

    pub fn lane(&mut self, v: Value, i: usize) -> Value {
        self.b.ins().extractlane(v, i as u8)
    }

    pub fn splat(&mut self, x: Value) -> Value {
        self.b.ins().splat(F32X4, x)
    }

    /// Four scalars as a vector.
    pub fn gather(&mut self, lanes: &[Value]) -> Value {
        let mut v = self.splat(lanes[0]);
        for (i, x) in lanes.iter().enumerate().skip(1) {
            v = self.b.ins().insertlane(v, *x, i as u8);
        }
        v
    }

    /// The i64 as f32 in all lanes.
    pub fn int_to_f32x4(&mut self, x: I, coefficient: i32) -> Value {
        let lanes = [0i32, 1, 2, 3].map(|l| (l.wrapping_mul(coefficient)) as u32);
        match x {
            I::C(c) if i32::try_from(c).is_ok() => {
                let lanes =
                    [0i64, 1, 2, 3].map(|l| ((c + l * i64::from(coefficient)) as f32).to_bits());
                self.bits4(F32X4, lanes)
            }
            _ => {
                let x = self.value(x);
                let x = self.b.ins().ireduce(I32, x);
                let mut v = self.b.ins().splat(I32X4, x);
                if coefficient != 0 {
                    let lanes = self.bits4(I32X4, lanes);
                    v = self.b.ins().iadd(v, lanes);
                }
                self.b.ins().fcvt_from_sint(F32X4, v)
            }
        }
    }

    // ---- control ----

    pub fn block(&mut self) -> Block {
        self.b.create_block()
    }

    pub fn enter(&mut self, block: Block) {
        self.b.switch_to_block(block);
    }

    pub fn goto(&mut self, block: Block, args: &[Value]) {
        let args: Vec<BlockArg> = args.iter().map(|v| BlockArg::from(*v)).collect();
        self.b.ins().jump(block, &args);
    }

    pub fn branch(&mut self, c: Value, yes: Block, no: Block) {
        self.b.ins().brif(c, yes, &[], no, &[]);
    }

    /// Opens `if c {`; then [`Emit::otherwise`] and [`Emit::end_if`] must follow.
    pub fn begin_if(&mut self, c: Value) -> Branches {
        let (yes, no, end) = (self.block(), self.block(), self.block());
        self.branch(c, yes, no);
        self.enter(yes);
        Branches { no, end }
    }

    pub fn otherwise(&mut self, branches: &Branches) {
        self.goto(branches.end, &[]);
        self.enter(branches.no);
    }

    pub fn end_if(&mut self, branches: Branches) {
        self.goto(branches.end, &[]);
        self.enter(branches.end);
    }

    /// Opens a loop over `var = 0, step, 2 step, ... < extent`; `extent` is a positive multiple of
    /// `step`. `carry` are the initial values of what each round hands to the next.
    pub fn begin_counted(&mut self, extent: i64, step: i64, carry: &[Value]) -> Counted {
        if extent <= step {
            return Counted {
                var: I::C(0),
                params: carry.to_vec(),
                blocks: None,
                step,
                extent,
            };
        }
        let (head, exit) = (self.block(), self.block());
        let v = self.b.append_block_param(head, I64);
        let types: Vec<Type> = carry
            .iter()
            .map(|c| self.b.func.dfg.value_type(*c))
            .collect();
        let params = types
            .into_iter()
            .map(|ty| self.b.append_block_param(head, ty))
            .collect();
        let zero = self.b.ins().iconst(I64, 0);
        let mut args = vec![zero];
        args.extend_from_slice(carry);
        self.goto(head, &args);
        self.enter(head);
        Counted {
            var: I::V(v),
            params,
            blocks: Some((head, exit)),
            step,
            extent,
        }
    }

    /// Closes the loop. The test is at the bottom, and the values behind the loop are the last
    /// round's themselves, not block parameters: a multiply-add with a second use is lowered worse.
    pub fn end_counted(&mut self, counted: Counted, results: Vec<Value>) -> Vec<Value> {
        let (Some((head, exit)), I::V(v)) = (counted.blocks, counted.var) else {
            return results;
        };
        let next = self.add(I::V(v), I::C(counted.step));
        let next = self.value(next);
        let bound = self.b.ins().iconst(I64, counted.extent);
        let more = self.b.ins().icmp(IntCC::SignedLessThan, next, bound);
        let args: Vec<BlockArg> = std::iter::once(next)
            .chain(results.iter().copied())
            .map(BlockArg::from)
            .collect();
        self.b.ins().brif(more, head, &args, exit, &[]);
        self.enter(exit);
        results
    }

    /// As [`Emit::begin_counted`], with the test at the top: each round's results then have a single
    /// use, and Cranelift folds the loads of a chain of multiply-adds only if each link has one use.
    pub fn begin_tested(&mut self, extent: i64, step: i64, carry: &[Value]) -> Counted {
        let (head, inside, exit) = (self.block(), self.block(), self.block());
        let v = self.b.append_block_param(head, I64);
        let types: Vec<Type> = carry
            .iter()
            .map(|c| self.b.func.dfg.value_type(*c))
            .collect();
        let params = types
            .into_iter()
            .map(|ty| self.b.append_block_param(head, ty))
            .collect();
        let zero = self.b.ins().iconst(I64, 0);
        let mut args = vec![zero];
        args.extend_from_slice(carry);
        self.goto(head, &args);
        self.enter(head);
        let bound = self.b.ins().iconst(I64, extent);
        let more = self.b.ins().icmp(IntCC::SignedLessThan, v, bound);
        self.branch(more, inside, exit);
        self.enter(inside);
        Counted {
            var: I::V(v),
            params,
            blocks: Some((head, exit)),
            step,
            extent,
        }
    }

    pub fn end_tested(&mut self, counted: Counted, results: &[Value]) -> Vec<Value> {
        let (Some((head, exit)), I::V(v)) = (counted.blocks, counted.var) else {
            return results.to_vec();
        };
        let next = self.add(I::V(v), I::C(counted.step));
        let mut args = vec![self.value(next)];
        args.extend_from_slice(results);
        self.goto(head, &args);
        self.enter(exit);
        counted.params
    }

    /// Opens a loop over `lo, lo + 1, ... < hi` (or from the top down) with bounds known at run time.
    pub fn begin_range(&mut self, lo: I, hi: I, reverse: bool) -> Range {
        let (head, inside, exit) = (self.block(), self.block(), self.block());
        let var = self.b.append_block_param(head, I64);
        let start = if reverse { self.sub(hi, I::C(1)) } else { lo };
        let start = self.value(start);
        self.goto(head, &[start]);
        self.enter(head);
        let more = if reverse {
            self.compare(IntCC::SignedGreaterThanOrEqual, I::V(var), lo)
        } else {
            self.compare(IntCC::SignedLessThan, I::V(var), hi)
        };
        self.branch(more, inside, exit);
        self.enter(inside);
        Range {
            var,
            head,
            exit,
            by: if reverse { -1 } else { 1 },
        }
    }

    pub fn end_range(&mut self, range: Range) {
        let next = self.add(I::V(range.var), I::C(range.by));
        let next = self.value(next);
        self.goto(range.head, &[next]);
        self.enter(range.exit);
    }
}

pub(crate) struct Branches {
    no: Block,
    end: Block,
}

pub(crate) struct Counted {
    pub var: I,
    pub params: Vec<Value>,
    blocks: Option<(Block, Block)>,
    step: i64,
    extent: i64,
}

pub(crate) struct Range {
    pub var: Value,
    head: Block,
    exit: Block,
    by: i64,
}
