//! Elementwise expressions and statements.

use super::points::{Coordinate, Points};
use super::shared::Source;
use super::sync::Tensors;
use super::{Lower, unsupported};
use crate::LowerError;
use crate::emit::Val;
use crate::functions;
use crate::place::Home;
use crate::spread;
use crate::visit::{self, Key};
use mixc_ir::{Func, Ix};
use mixc_tile::maxima::uniform;
use mixc_tile::{Access, Expr, Stmt};
use std::collections::HashMap;

/// Registers of a tile from which on skipping a multiplication pays for finding out whether it can be skipped.
const WORTH_A_VOTE: u32 = 32;

/// Elements that were read from shared memory in a statement: by the places of the access (two accesses to one
/// buffer may go through different axes) and the coordinates that the register adds.
pub(crate) type Cache = HashMap<(Access, Vec<u32>), Val>;

/// What a comparison of integers holds below what, and whether strictly.
fn bound(expr: &Expr) -> Option<(&Ix, (&Ix, bool))> {
    let Expr::Call(func, args) = expr else {
        return None;
    };
    match (func, args.as_slice()) {
        (Func::Le, [Expr::Index(x), Expr::Index(limit)]) => Some((x, (limit, false))),
        (Func::Lt, [Expr::Index(x), Expr::Index(limit)]) => Some((x, (limit, true))),
        _ => None,
    }
}

impl<'k> Lower<'k> {
    /// The value of an expression as f32.
    pub(super) fn number(
        &mut self,
        expr: &Expr,
        points: &Points,
        register: u32,
        at: &[Coordinate],
        cache: &mut Cache,
    ) -> Result<Val, LowerError> {
        let value = self.value(expr, points, register, at, cache)?;
        Ok(functions::number(&mut self.e, value))
    }

    /// The value of an expression: a number, a condition or an integer.
    fn value(
        &mut self,
        expr: &Expr,
        points: &Points,
        register: u32,
        at: &[Coordinate],
        cache: &mut Cache,
    ) -> Result<Val, LowerError> {
        Ok(match expr {
            Expr::Const(x) => self.e.f32(*x),
            Expr::Scalar(name) => *self
                .scalars
                .get(name)
                .ok_or_else(|| unsupported(format!("the scalar {name} is not declared")))?,
            Expr::Elem(access) => self.operand(access, points, register, at, cache)?,
            Expr::Index(ix) => self.index(ix, points, at)?,
            Expr::Add(a, b) => {
                let a = self.number(a, points, register, at, cache)?;
                let b = self.number(b, points, register, at, cache)?;
                self.e.fadd(a, b)
            }
            Expr::Mul(a, b) => {
                let a = self.number(a, points, register, at, cache)?;
                let b = self.number(b, points, register, at, cache)?;
                self.e.fmul(a, b)
            }
            Expr::Call(func, args) => {
                if let Some(v) = self.shifted_exp(*func, args, points, register, at, cache)? {
                    return Ok(v);
                }
                if let Some(v) = self.below_both(*func, args, points, at)? {
                    return Ok(v);
                }
                let args: Vec<Val> = args
                    .iter()
                    .map(|a| self.value(a, points, register, at, cache))
                    .collect::<Result<_, _>>()?;
                functions::call(&mut self.e, self.accuracy, *func, &args)
            }
        })
    }

    /// exp(c x - m) as 2^(x c log2 e - m log2 e): one multiply-add for each element, and the products with the parameter
    /// c and with m once for all elements that share them. The difference is rounded at the size of m, which 16-bit
    /// inputs cannot tell.
    fn shifted_exp(
        &mut self,
        func: Func,
        args: &[Expr],
        points: &Points,
        register: u32,
        at: &[Coordinate],
        cache: &mut Cache,
    ) -> Result<Option<Val>, LowerError> {
        let [Expr::Call(Func::Sub, parts)] = args else {
            return Ok(None);
        };
        let [x, m] = parts.as_slice() else {
            return Ok(None);
        };
        if func != Func::Exp || self.accuracy == functions::Accuracy::Full {
            return Ok(None);
        }
        let log2e = self.e.f32(std::f32::consts::LOG2_E);
        let (x, factor) = match x {
            Expr::Mul(c, scaled) if uniform(c) => {
                let c = self.number(c, points, register, at, cache)?;
                (&**scaled, self.e.fmul(c, log2e))
            }
            x => (x, log2e),
        };
        let x = self.number(x, points, register, at, cache)?;
        let m = self.number(m, points, register, at, cache)?;
        let shift = self.e.fmul(m, log2e);
        let shift = self.e.fneg(shift);
        let exponent = self.e.fma(x, factor, shift);
        Ok(Some(self.e.call(
            "llvm.nvvm.ex2.approx.ftz.f",
            &[exponent],
            crate::emit::Ty::F32,
        )))
    }

    /// x <= a and x < b for integers as x <= min(a, b - 1): one comparison for each element of a mask that also ends, for
    /// the bounds change with fewer axes than x.
    fn below_both(
        &mut self,
        func: Func,
        args: &[Expr],
        points: &Points,
        at: &[Coordinate],
    ) -> Result<Option<Val>, LowerError> {
        let [a, b] = args else { return Ok(None) };
        let (Some((x, first)), Some((y, second))) = (bound(a), bound(b)) else {
            return Ok(None);
        };
        if func != Func::And || x != y {
            return Ok(None);
        }
        let mut limits = vec![];
        for (ix, strict) in [first, second] {
            let limit = self.index(ix, points, at)?;
            let less = self.e.i32(i32::from(strict));
            limits.push(self.e.sub(limit, less));
        }
        let x = self.index(x, points, at)?;
        let limit = self.e.min(limits[0], limits[1]);
        Ok(Some(self.e.icmp(crate::emit::Cmp::Le, x, limit)))
    }

    /// An index at a point (clamped to the tile).
    pub(super) fn index(
        &mut self,
        ix: &Ix,
        points: &Points,
        at: &[Coordinate],
    ) -> Result<Val, LowerError> {
        let local = self.clamped_all(points, at);
        self.scope.value(
            &mut self.e,
            ix,
            &|_, name| local.get(name).copied(),
            &points.extents,
        )
    }

    pub(super) fn map(&mut self, stmt: &'k Stmt) -> Result<(), LowerError> {
        let Stmt::Map { dst, expr, .. } = stmt else {
            return Ok(());
        };
        let layout = self.placement.layouts[&(stmt as Key)].clone();
        let axes = visit::axes(stmt);
        self.ready(&visit::reads(stmt), &layout, Some(dst), Tensors::default())?;
        let in_registers = self.placement.homes[visit::index(dst.buf)] != Home::Shared;
        let writer = if in_registers {
            self.e.bool(true)
        } else {
            self.writer(&layout)
        };
        // Threads with copies must not read what the writing one changes.
        let guarded = self.e.constant(writer).is_none();
        if guarded {
            self.e.open_if(writer);
        }
        let updates = !in_registers && visit::reads(stmt).iter().any(|a| a.buf == dst.buf);
        let needed = self.rescaling_needed(dst, expr, &layout)?;
        if let Some(needed) = needed {
            self.e.open_if(needed);
        }
        self.turns(&layout, &axes, |own, points| {
            if updates {
                return own.map_in_place(points, dst, expr);
            }
            let mut cache = Cache::new();
            let nothing = own.e.f32(0.0);
            let mut values = vec![nothing; points.registers() as usize];
            for r in 0..points.registers() {
                if let Some(at) = points.at(r) {
                    values[r as usize] = own.number(expr, points, r, &at, &mut cache)?;
                }
            }
            own.write_result(points, dst, &values)
        })?;
        for _ in 0..usize::from(guarded) + usize::from(needed.is_some()) {
            self.e.close();
        }
        Ok(())
    }

    /// For a large tile in registers that is multiplied by a vector or a parameter, whether some factor of the warp is
    /// not 1: the running maximum of a softmax rarely changes after the first blocks, and then nothing is to be done.
    fn rescaling_needed(
        &mut self,
        dst: &Access,
        expr: &Expr,
        layout: &mixc_layout::Layout,
    ) -> Result<Option<Val>, LowerError> {
        let Expr::Mul(a, b) = expr else {
            return Ok(None);
        };
        let factor = match (&**a, &**b) {
            (factor, Expr::Elem(tile)) if tile == dst && uniform(factor) => {
                let points = self.points(layout, &[], None);
                let value = self.number(factor, &points, 0, &[], &mut Cache::new())?;
                let one = self.e.f32(1.0);
                return Ok(Some(self.e.fcmp("une", value, one)));
            }
            (Expr::Elem(tile), Expr::Elem(factor)) if tile == dst => factor,
            (Expr::Elem(factor), Expr::Elem(tile)) if tile == dst => factor,
            _ => return Ok(None),
        };
        let Home::Registers(held) = &self.placement.homes[visit::index(dst.buf)] else {
            return Ok(None);
        };
        let large = spread::registers(held) >= WORTH_A_VOTE;
        let Source::Registers(map) = self.source(factor, layout)? else {
            return Ok(None);
        };
        if !large || self.placement.storage[visit::index(dst.buf)].is_some() {
            return Ok(None);
        }
        let distinct: std::collections::BTreeSet<u32> = map.into_iter().collect();
        if distinct.len() as u32 * 8 > WORTH_A_VOTE {
            return Ok(None);
        }
        let one = self.e.f32(1.0);
        let mut any = self.e.bool(false);
        for register in distinct {
            let value = self.read_register(factor, register);
            let differs = self.e.fcmp("une", value, one);
            any = self.e.or(any, differs);
        }
        let all = self.e.i32(-1);
        let needed = self
            .e
            .call("llvm.nvvm.vote.any.sync", &[all, any], crate::emit::Ty::I1);
        Ok(Some(needed))
    }

    /// Elementwise on a tile in shared memory: past the end of the tile nothing is even read, since the thread
    /// that owns what would stand in is another.
    fn map_in_place(
        &mut self,
        points: &Points,
        dst: &Access,
        expr: &Expr,
    ) -> Result<(), LowerError> {
        let storage = self.storage(dst)?;
        self.each_element(points, |own, r, at| {
            let value = own.number(expr, points, r, at, &mut Cache::new())?;
            let address = own.element(points, at, dst, &storage, false)?;
            own.write_element(&storage, address, value);
            Ok(())
        })
    }
}
