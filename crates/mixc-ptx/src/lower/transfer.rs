//! Loads from and stores to tensors.

use super::expr::Cache;
use super::points::{Coordinate, Points};
use super::sync::Tensors;
use super::{Lower, unsupported};
use crate::emit::{Cmp, Ty, Val};
use crate::place::{Elem, is_word, pieces};
use crate::visit::{self, Key};
use crate::{LowerError, spread};
use mixc_ir::{DType, Ix, Name};
use mixc_tile::{Access, LoadIx, Stmt, TensorArg};
use std::collections::HashMap;

/// An index of a tensor at a thread's first point, and how registers move it.
#[derive(Clone)]
enum Dimension {
    /// The value at register coordinates 0, and a factor for each axis.
    Affine {
        start: Val,
        factors: Vec<i64>,
    },
    General(Ix),
    Gather(Access),
}

/// A tensor as one statement sees it.
#[derive(Clone)]
struct View<'k> {
    tensor: &'k TensorArg,
    dims: Vec<Dimension>,
    /// Address at register coordinates 0 of the affine dimensions.
    base: Val,
    /// For each dimension whether every index is known to be within bounds.
    safe: Vec<bool>,
    /// Whether the last index may be negative.
    starts_before: bool,
}

fn bytes(dtype: DType) -> i64 {
    match dtype {
        DType::Bool => 1,
        DType::Bf16 | DType::F16 => 2,
        DType::F32 | DType::I32 => 4,
        _ => 8,
    }
}

impl<'k> Lower<'k> {
    fn view(
        &mut self,
        tensor: &'k TensorArg,
        index: &[LoadIx],
        points: &Points,
    ) -> Result<View<'k>, LowerError> {
        let mut base = self.pointers[&tensor.name];
        let (mut dims, mut safe) = (vec![], vec![]);
        for (d, ix) in index.iter().enumerate() {
            let ix = match ix {
                LoadIx::Gather(access) => {
                    dims.push(Dimension::Gather(access.clone()));
                    safe.push(false);
                    continue;
                }
                LoadIx::Ix(ix) => ix,
            };
            safe.push(self.within(ix, &tensor.shape[d], points));
            match self.affine(ix, points)? {
                Some((start, factors)) => {
                    base = self.advance(base, tensor, d, start);
                    dims.push(Dimension::Affine { start, factors });
                }
                None => dims.push(Dimension::General(ix.clone())),
            }
        }
        let starts_before = match index.last() {
            Some(LoadIx::Ix(ix)) => self.scope.range(ix, &points.extents).lo < 0,
            _ => true,
        };
        Ok(View {
            tensor,
            dims,
            base,
            safe,
            starts_before,
        })
    }

    /// `ix` at register coordinates 0, if its local axes have constant factors.
    fn affine(&mut self, ix: &Ix, points: &Points) -> Result<Option<(Val, Vec<i64>)>, LowerError> {
        let Some(affine) = ix.affine() else {
            return Ok(None);
        };
        let mut factors = vec![];
        for (name, _) in &points.axes {
            match affine.coefficient(name) {
                Ix::Const(c) => factors.push(c),
                _ => return Ok(None),
            }
        }
        let start: HashMap<Name, Val> = points
            .axes
            .iter()
            .enumerate()
            .map(|(n, (name, _))| (name.clone(), points.start(n)))
            .collect();
        let value = self.scope.value(
            &mut self.e,
            ix,
            &|_, name| start.get(name).copied(),
            &points.extents,
        )?;
        Ok(Some((value, factors)))
    }

    /// Whether an index is within 0 and `bound` at every point of the tile.
    fn within(&self, ix: &Ix, bound: &Ix, points: &Points) -> bool {
        let range = self.scope.range(ix, &points.extents);
        if range.lo < 0 {
            return false;
        }
        if let Ix::Axis(name) = ix
            && let Some(grid) = self.kernel.grid.iter().find(|g| g.name == *name)
            && grid.extent == *bound
        {
            return true;
        }
        let bound = self.scope.range(bound, &points.extents);
        range.hi < bound.lo
    }

    /// `address` moved by `by` elements along a dimension.
    pub(super) fn advance(&mut self, address: Val, tensor: &TensorArg, dim: usize, by: Val) -> Val {
        if self.e.constant(by) == Some(0) {
            return address;
        }
        let wide = self.e.widen(by);
        let elements = match self.strides.get(&(tensor.name.clone(), dim)) {
            Some(stride) => self.e.mul(wide, *stride),
            None => wide,
        };
        let size = self.e.i64(bytes(tensor.dtype));
        let offset = self.e.mul(elements, size);
        self.e.offset(address, offset)
    }

    /// Address of a point and whether it is within the tensor.
    fn place(
        &mut self,
        view: &View<'k>,
        points: &Points,
        register: u32,
        at: &[Coordinate],
        cache: &mut Cache,
    ) -> Result<(Val, Val), LowerError> {
        let mut address = view.base;
        let mut inside = self.inside(points, at, &|_| true);
        for (d, dim) in view.dims.iter().enumerate() {
            let value = match dim {
                Dimension::Affine { start, factors } => {
                    let moved: i64 = factors
                        .iter()
                        .zip(at)
                        .map(|(f, c)| f * i64::from(c.fixed))
                        .sum();
                    let by =
                        self.e.i32(i32::try_from(moved).map_err(|_| {
                            unsupported("an index needs more than 32 bits".to_owned())
                        })?);
                    address = self.advance(address, view.tensor, d, by);
                    if view.safe[d] {
                        continue;
                    }
                    self.e.add(*start, by)
                }
                Dimension::General(ix) => {
                    let value = self.index(ix, points, at)?;
                    address = self.advance(address, view.tensor, d, value);
                    value
                }
                Dimension::Gather(access) => {
                    let value = self.operand(access, points, register, at, cache)?;
                    let known = self.e.fcmp("ord", value, value);
                    inside = self.e.and(inside, known);
                    let rounded = self.e.call("llvm.roundeven", &[value], Ty::F32);
                    let zero = self.e.f32(0.0);
                    let rounded = self.e.select(known, rounded, zero);
                    let value = self.e.asm(
                        "cvt.rni.s32.f32 $0, $1;",
                        "=r,f",
                        &[rounded],
                        &[Ty::I32],
                        false,
                    )[0];
                    address = self.advance(address, view.tensor, d, value);
                    value
                }
            };
            if !view.safe[d] {
                let bound = self.uniform(&view.tensor.shape[d])?;
                let zero = self.e.i32(0);
                let above = self.e.icmp(Cmp::Le, zero, value);
                let below = self.e.icmp(Cmp::Lt, value, bound);
                let both = self.e.and(above, below);
                inside = self.e.and(inside, both);
            }
        }
        Ok((address, inside))
    }

    pub(super) fn load(&mut self, stmt: &'k Stmt) -> Result<(), LowerError> {
        let Stmt::Load {
            dst, tensor, index, ..
        } = stmt
        else {
            return Ok(());
        };
        let declared = self.tensor(tensor)?;
        let axes = visit::axes(stmt);
        let gathers = visit::reads(stmt);
        let storage = self.storage(dst)?;
        let fast = pieces(self.kernel, self.options, &axes, tensor, index)
            .filter(|_| gathers.is_empty() && visit::only_read(self.kernel, tensor))
            .filter(|(axis, _)| {
                dst.places.get(storage.inner) == Some(&mixc_tile::Place::Axis(axis.clone()))
                    && storage.elem == Elem::of(declared.dtype)
            });
        if fast.is_some() {
            self.touch(&[], &[storage.slot], Tensors::default());
            self.copy_async(stmt)?;
            self.e.run("llvm.nvvm.cp.async.commit.group", &[]);
            self.copying();
            return Ok(());
        }
        let layout = self.placement.layouts[&(stmt as Key)].clone();
        let tensors = Tensors {
            read: Some(tensor),
            written: None,
        };
        self.ready(&gathers, &layout, Some(dst), tensors)?;
        self.turns(&layout, &axes, |own, points| {
            let view = own.view(declared, index, points)?;
            let mut cache = Cache::new();
            let nothing = own.e.f32(0.0);
            let mut values = vec![nothing; points.registers() as usize];
            for r in 0..points.registers() {
                let Some(at) = points.at(r) else { continue };
                let (address, inside) = own.place(&view, points, r, &at, &mut cache)?;
                values[r as usize] = own.read_tensor(declared, address, inside)?;
            }
            own.write_shared(points, dst, &storage, &values)
        })
    }

    /// Starts asynchronous copies of a load that moves in pieces of 16 bytes; what is outside the tensor becomes 0.
    pub(super) fn copy_async(&mut self, stmt: &'k Stmt) -> Result<(), LowerError> {
        let Stmt::Load {
            dst, tensor, index, ..
        } = stmt
        else {
            return Ok(());
        };
        let declared = self.tensor(tensor)?;
        let axes = visit::axes(stmt);
        if is_word(self.kernel, &axes, tensor) {
            return self.copy_word(stmt);
        }
        let (axis, piece) = pieces(self.kernel, self.options, &axes, tensor, index)
            .ok_or_else(|| unsupported("bug: a load has no pieces".to_owned()))?;
        let storage = self.storage(dst)?;
        let mut fast = vec![axis.clone()];
        fast.extend(
            axes.iter()
                .rev()
                .map(|(n, _)| n.clone())
                .filter(|n| *n != axis),
        );
        let shift = piece.trailing_zeros();
        let layout = spread::blocked(&axes, &fast, shift, self.placement.warp_bits);
        let points = self.points(&layout, &axes, None);
        let view = self.view(declared, index, &points)?;
        let writer = self.writer(&layout);
        let guarded = self.e.constant(writer).is_none();
        if guarded {
            self.e.open_if(writer);
        }
        let mut cache = Cache::new();
        for r in (0..points.registers()).step_by(piece) {
            let Some(at) = points.at(r) else { continue };
            // Threads past the end of the tile copy nothing, not even zeros.
            let mine = self.inside(&points, &at, &|_| true);
            let partial = self.e.constant(mine).is_none();
            if partial {
                self.e.open_if(mine);
            }
            let (address, inside) = self.place_piece(&view, &points, r, &at, &mut cache)?;
            let size = self.piece_bytes(&view, &at, piece, inside)?;
            let to = self.element(&points, &at, dst, &storage, false)?;
            self.e.run(
                "llvm.nvvm.cp.async.cg.shared.global.16.s",
                &[to, address, size],
            );
            if partial {
                self.e.close();
            }
        }
        if guarded {
            self.e.close();
        }
        Ok(())
    }

    /// Starts the copy of one word, by one thread.
    fn copy_word(&mut self, stmt: &'k Stmt) -> Result<(), LowerError> {
        let Stmt::Load {
            dst, tensor, index, ..
        } = stmt
        else {
            return Ok(());
        };
        let declared = self.tensor(tensor)?;
        let storage = self.storage(dst)?;
        let layout = spread::blocked(&[], &[], 0, self.placement.warp_bits);
        let points = self.points(&layout, &[], None);
        let view = self.view(declared, index, &points)?;
        let at = points.at(0).unwrap_or_default();
        let writer = self.writer(&layout);
        self.e.open_if(writer);
        let (address, inside) = self.place(&view, &points, 0, &at, &mut Cache::new())?;
        let (four, none) = (self.e.i32(4), self.e.i32(0));
        let size = self.e.select(inside, four, none);
        let to = self.element(&points, &at, dst, &storage, false)?;
        self.e.run(
            "llvm.nvvm.cp.async.ca.shared.global.4.s",
            &[to, address, size],
        );
        self.e.close();
        Ok(())
    }

    /// As [`Lower::place`], without the bounds of the last dimension.
    fn place_piece(
        &mut self,
        view: &View<'k>,
        points: &Points,
        register: u32,
        at: &[Coordinate],
        cache: &mut Cache,
    ) -> Result<(Val, Val), LowerError> {
        let mut outer = view.clone();
        if let Some(last) = outer.safe.last_mut() {
            *last = true;
        }
        self.place(&outer, points, register, at, cache)
    }

    /// How many bytes of a piece are within the tensor: 0 to 16.
    fn piece_bytes(
        &mut self,
        view: &View<'k>,
        at: &[Coordinate],
        piece: usize,
        inside: Val,
    ) -> Result<Val, LowerError> {
        let (all, none) = (self.e.i32(16), self.e.i32(0));
        let d = view.dims.len() - 1;
        let bytes = match &view.dims[d] {
            Dimension::Affine { start, factors } if !view.safe[d] => {
                let moved: i64 = factors
                    .iter()
                    .zip(at)
                    .map(|(f, c)| f * i64::from(c.fixed))
                    .sum();
                let by = self.e.i32(moved as i32);
                let first = self.e.add(*start, by);
                let bound = self.uniform(&view.tensor.shape[d])?;
                let left = self.e.sub(bound, first);
                let mut left = self.e.max(left, none);
                if view.starts_before {
                    // A piece begins at a multiple of its length, so it is before the tensor as a whole.
                    let within = self.e.icmp(Cmp::Le, none, first);
                    left = self.e.select(within, left, none);
                }
                let most = self.e.i32(piece as i32);
                let left = self.e.min(left, most);
                self.e.shl(left, (16 / piece).trailing_zeros())
            }
            _ => all,
        };
        Ok(self.e.select(inside, bytes, none))
    }

    /// An element of a tensor as f32, 0 where `inside` does not hold.
    fn read_tensor(
        &mut self,
        tensor: &TensorArg,
        address: Val,
        inside: Val,
    ) -> Result<Val, LowerError> {
        let elem = Elem::of(tensor.dtype);
        Ok(match tensor.dtype {
            DType::F32 => {
                let bits = self.guarded_load("b32", "r", Ty::I32, address, inside);
                self.e.float_of(bits)
            }
            DType::I32 => {
                let bits = self.guarded_load("b32", "r", Ty::I32, address, inside);
                self.e.int_to_float(bits)
            }
            DType::Bf16 | DType::F16 => {
                let bits = self.guarded_load("b16", "h", Ty::I16, address, inside);
                self.widen_half(elem, bits)
            }
            DType::Bool => {
                let bits = self.guarded_load("u8", "h", Ty::I16, address, inside);
                let wide = self.e.zext16(bits);
                let zero = self.e.i32(0);
                let set = self.e.icmp(Cmp::Ne, wide, zero);
                self.e.bool_to_float(set)
            }
            other => {
                return Err(unsupported(format!(
                    "tensors of {} ('{}')",
                    other.name(),
                    tensor.name
                )));
            }
        })
    }

    pub(super) fn guarded_load(
        &mut self,
        ptx: &str,
        register: &str,
        ty: Ty,
        at: Val,
        inside: Val,
    ) -> Val {
        if self.e.constant(inside) == Some(1) && ty == Ty::I32 {
            return self.e.load(at, ty);
        }
        let inside = self.select_word(inside);
        let kind = if ty == Ty::I16 { "b16" } else { "b32" };
        let text = format!(
            "{{ .reg .pred p; setp.ne.b32 p, $2, 0; mov.{kind} $0, 0; @p ld.global.{ptx} $0, [$1]; }}"
        );
        self.e.asm(
            &text,
            &format!("=&{register},l,r"),
            &[at, inside],
            &[ty],
            true,
        )[0]
    }

    fn select_word(&mut self, condition: Val) -> Val {
        let (one, zero) = (self.e.i32(1), self.e.i32(0));
        self.e.select(condition, one, zero)
    }

    pub(super) fn store(&mut self, stmt: &'k Stmt) -> Result<(), LowerError> {
        let Stmt::Store {
            tensor, index, src, ..
        } = stmt
        else {
            return Ok(());
        };
        let declared = self.tensor(tensor)?;
        let layout = self.placement.layouts[&(stmt as Key)].clone();
        let axes = visit::axes(stmt);
        let tensors = Tensors {
            read: None,
            written: Some(tensor),
        };
        self.ready(&visit::reads(stmt), &layout, None, tensors)?;
        let index: Vec<LoadIx> = index.iter().map(|ix| LoadIx::Ix(ix.clone())).collect();
        let writer = self.writer(&layout);
        let paired = self.stores_pairs(declared, &index, &layout, &axes);
        self.turns(&layout, &axes, |own, points| {
            let view = own.view(declared, &index, points)?;
            let mut cache = Cache::new();
            for r in 0..points.registers() {
                if paired && r % 2 == 1 {
                    continue;
                }
                let Some(at) = points.at(r) else { continue };
                let value = own.number(src, points, r, &at, &mut cache)?;
                let (address, inside) = own.place(&view, points, r, &at, &mut cache)?;
                let inside = own.e.and(inside, writer);
                let second = match points.at(r + 1).filter(|_| paired) {
                    Some(next) => Some(own.number(src, points, r + 1, &next, &mut cache)?),
                    None => None,
                };
                own.write_tensor(declared, address, inside, value, second)?;
            }
            Ok(())
        })
    }

    /// Whether registers 2n and 2n + 1 are neighbours in an aligned tensor with an even size.
    fn stores_pairs(
        &self,
        tensor: &TensorArg,
        index: &[LoadIx],
        layout: &mixc_layout::Layout,
        axes: &[(Name, usize)],
    ) -> bool {
        let Some((axis, _)) = pieces(self.kernel, self.options, axes, &tensor.name, index) else {
            return false;
        };
        let even = tensor
            .shape
            .last()
            .is_some_and(|n| crate::place::multiple_of(n, 2));
        let Some(n) = spread::out_index(layout, &axis) else {
            return false;
        };
        even && layout.in_bits(mixc_layout::REGISTER) > 0
            && layout
                .basis(mixc_layout::REGISTER, 0)
                .iter()
                .enumerate()
                .all(|(d, v)| *v == u32::from(d == n))
    }

    fn write_tensor(
        &mut self,
        tensor: &TensorArg,
        address: Val,
        inside: Val,
        value: Val,
        second: Option<Val>,
    ) -> Result<(), LowerError> {
        let elem = match tensor.dtype {
            DType::F32 => Elem::F32,
            DType::Bf16 => Elem::Bf16,
            DType::F16 => Elem::F16,
            other => {
                return Err(unsupported(format!(
                    "writing tensors of {} ('{}')",
                    other.name(),
                    tensor.name
                )));
            }
        };
        let inside = self.select_word(inside);
        let guard = "{ .reg .pred p; setp.ne.b32 p, $1, 0; @p st.global.";
        match (elem, second) {
            (Elem::F32, None) => {
                let text = format!("{guard}f32 [$0], $2; }}");
                self.e
                    .asm(&text, "l,r,f", &[address, inside, value], &[], true);
            }
            (Elem::F32, Some(second)) => {
                let text = format!("{guard}v2.f32 [$0], {{$2, $3}}; }}");
                let args = [address, inside, value, second];
                self.e.asm(&text, "l,r,f,f", &args, &[], true);
            }
            (_, None) => {
                let value = self.rounded(elem, value);
                let text = format!("{guard}b16 [$0], $2; }}");
                self.e
                    .asm(&text, "l,r,h", &[address, inside, value], &[], true);
            }
            (_, Some(second)) => {
                let both = self.pack(elem, value, second);
                let text = format!("{guard}b32 [$0], $2; }}");
                self.e
                    .asm(&text, "l,r,r", &[address, inside, both], &[], true);
            }
        }
        Ok(())
    }
}
