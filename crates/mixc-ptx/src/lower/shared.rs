//! Elements of buffers, in registers and in shared memory.

use super::expr::Cache;
use super::points::{Coordinate, Points};
use super::sync::Tensors;
use super::{Lower, unsupported};
use crate::emit::{Ty, Val};
use crate::place::{Elem, Home, Storage};
use crate::visit;
use crate::{LowerError, spread};
use mixc_ir::Name;
use mixc_layout::{Layout, REGISTER};
use mixc_tile::{Access, Place};

/// Where a statement finds an operand.
pub(crate) enum Source {
    /// In this register for each register of the statement.
    Registers(Vec<u32>),
    Shared(Storage),
}

impl Lower<'_> {
    /// Where an operand is for a statement spread like `layout`.
    pub(super) fn source(&self, access: &Access, layout: &Layout) -> Result<Source, LowerError> {
        if let Home::Registers(held) = &self.placement.homes[visit::index(access.buf)]
            && let Some(places) = visit::plain(access)
            && let Some(map) = spread::same_thread(held, &places, layout)
        {
            return Ok(Source::Registers(map));
        }
        Ok(Source::Shared(self.storage(access)?))
    }

    /// Makes operands ready: copies in shared memory up to date, other threads' writes visible. `dst` is
    /// what the statement writes, if that is in shared memory.
    pub(super) fn ready(
        &mut self,
        reads: &[&Access],
        layout: &Layout,
        dst: Option<&Access>,
        tensors: Tensors,
    ) -> Result<(), LowerError> {
        let mut slots = vec![];
        for access in reads {
            if let Source::Shared(storage) = self.source(access, layout)? {
                self.flush_if_dirty(visit::index(access.buf));
                slots.push(storage.slot);
            }
        }
        let mut writes = vec![];
        if let Some(dst) = dst
            && self.placement.homes[visit::index(dst.buf)] == Home::Shared
        {
            writes.push(self.storage(dst)?.slot);
        }
        self.touch(&slots, &writes, tensors);
        Ok(())
    }

    fn flush_if_dirty(&mut self, buf: usize) {
        if self.dirty.contains(&buf) {
            self.flush(buf);
        }
    }

    pub(super) fn flush_all(&mut self) {
        let mut dirty: Vec<usize> = self.dirty.iter().copied().collect();
        dirty.sort_unstable();
        for buf in dirty {
            self.flush(buf);
        }
    }

    /// Writes a register buffer to its copy in shared memory.
    pub(super) fn flush(&mut self, buf: usize) {
        self.dirty.remove(&buf);
        let (Home::Registers(layout), Some(storage)) = (
            self.placement.homes[buf].clone(),
            self.placement.storage[buf].clone(),
        ) else {
            return;
        };
        self.touch(&[], &[storage.slot], Tensors::default());
        let axes: Vec<(Name, usize)> = self.kernel.bufs[buf]
            .shape
            .iter()
            .enumerate()
            .map(|(d, n)| (d.to_string().into(), *n))
            .collect();
        let points = self.points(&layout, &axes, None);
        let slots = self.registers[buf].clone();
        let values: Vec<Val> = slots.iter().map(|s| self.e.load(*s, Ty::F32)).collect();
        let places: Vec<Place> = axes.iter().map(|(n, _)| Place::Axis(n.clone())).collect();
        let access = Access {
            buf: mixc_tile::BufId(buf as u32),
            places,
        };
        // The places are the buffer's own axes, so that nothing can be missing.
        self.write_shared(&points, &access, &storage, &values)
            .unwrap_or_else(|e| panic!("bug: {e}"));
    }

    /// Writes a value for each register of a layout to shared memory, each element once.
    pub(super) fn write_shared(
        &mut self,
        points: &Points,
        access: &Access,
        storage: &Storage,
        values: &[Val],
    ) -> Result<(), LowerError> {
        let writer = self.writer(&points.layout);
        let constant = self.e.constant(writer);
        if constant.is_none() {
            self.e.open_if(writer);
        }
        let pairs = self.pairs(points, access, storage);
        for r in 0..points.registers() {
            if pairs && r % 2 == 1 {
                continue;
            }
            let Some(at) = points.at(r) else { continue };
            let inside = self.inside(points, &at, &|_| true);
            let guarded = self.e.constant(inside).is_none();
            if guarded {
                self.e.open_if(inside);
            }
            let address = self.element(points, &at, access, storage, false)?;
            if pairs {
                let (a, b) = (values[r as usize], values[r as usize + 1]);
                if storage.elem == Elem::F32 {
                    self.e.store_vector(&[a, b], address);
                } else {
                    let both = self.pack(storage.elem, a, b);
                    self.e.store(both, address);
                    if storage.split {
                        let parts = self.unpack(storage.elem, both);
                        let low = self.e.fsub_exact(a, parts[0]);
                        let high = self.e.fsub_exact(b, parts[1]);
                        let rest = self.pack(storage.elem, low, high);
                        let second = self.second_part(storage, address);
                        self.e.store(rest, second);
                    }
                }
            } else {
                self.write_element(storage, address, values[r as usize]);
            }
            if guarded {
                self.e.close();
            }
        }
        if constant.is_none() {
            self.e.close();
        }
        Ok(())
    }

    /// Replaces each element of a tile in shared memory by what `f` makes of it and its register.
    pub(super) fn update_shared(
        &mut self,
        points: &Points,
        access: &Access,
        mut f: impl FnMut(&mut Self, u32, Val) -> Val,
    ) -> Result<(), LowerError> {
        let storage = self.storage(access)?;
        self.each_element(points, |own, r, at| {
            let address = own.element(points, at, access, &storage, false)?;
            let old = own.read_element(&storage, address);
            let new = f(own, r, old);
            own.write_element(&storage, address, new);
            Ok(())
        })
    }

    /// Calls `f` for every element within a tile, once for each: a tile that is shorter than the instruction's has
    /// elements in several registers.
    pub(super) fn each_element(
        &mut self,
        points: &Points,
        mut f: impl FnMut(&mut Self, u32, &[Coordinate]) -> Result<(), LowerError>,
    ) -> Result<(), LowerError> {
        let copies = spread::copies(&points.layout, REGISTER);
        for r in (0..points.registers()).filter(|r| r & copies == 0) {
            let Some(at) = points.at(r) else { continue };
            let inside = self.inside(points, &at, &|_| true);
            let guarded = self.e.constant(inside).is_none();
            if guarded {
                self.e.open_if(inside);
            }
            f(self, r, &at)?;
            if guarded {
                self.e.close();
            }
        }
        Ok(())
    }

    /// Whether registers 2n and 2n + 1 are neighbours in a row of shared memory, at an even place.
    fn pairs(&self, points: &Points, access: &Access, storage: &Storage) -> bool {
        let Some(Place::Axis(inner)) = access.places.get(storage.inner) else {
            return false;
        };
        let Some(axis) = spread::out_index(&points.layout, inner) else {
            return false;
        };
        let layout = &points.layout;
        layout.in_bits(REGISTER) > 0
            && storage.shape[storage.inner].is_multiple_of(2)
            && layout
                .basis(REGISTER, 0)
                .iter()
                .enumerate()
                .all(|(n, v)| *v == u32::from(n == axis))
    }

    /// The address of an element in shared memory.
    pub(super) fn element(
        &mut self,
        points: &Points,
        at: &[Coordinate],
        access: &Access,
        storage: &Storage,
        clamp: bool,
    ) -> Result<Val, LowerError> {
        let mut coordinates = vec![];
        for place in &access.places {
            coordinates.push(match place {
                Place::Axis(name) => {
                    let (n, c) = points.coordinate_of(at, name).ok_or_else(|| {
                        unsupported(format!("bug: the axis {name} has no coordinate"))
                    })?;
                    if clamp {
                        self.kept_within(points, at, n)
                    } else {
                        c
                    }
                }
                Place::At(ix) => Coordinate::of(self.uniform(ix)?),
            });
        }
        if coordinates.is_empty() {
            coordinates.push(Coordinate::of(self.e.i32(0)));
        }
        Ok(self.address(storage, &coordinates))
    }

    /// The address of the element with these coordinates, one for each dimension. What registers add to it is a constant
    /// as far as the swizzle allows: then the elements of a thread share few addresses.
    pub(super) fn address(&mut self, storage: &Storage, coordinates: &[Coordinate]) -> Val {
        let outer = |dim: &usize| *dim != storage.inner;
        let strides = (0..coordinates.len())
            .filter(outer)
            .map(|d| storage.row_stride(d));
        // Else the parts of a row number could have bits in common.
        let apart = strides.clone().all(usize::is_power_of_two);
        let (mut row, mut fixed_row) = (self.e.i32(0), 0);
        for (dim, stride) in (0..coordinates.len()).filter(outer).zip(strides) {
            let mut c = coordinates[dim];
            if !apart {
                c = Coordinate::of(self.coordinate(c));
            }
            let by = self.e.i32(stride as i32);
            let part = self.e.mul(c.thread, by);
            row = self.e.add(row, part);
            fixed_row += c.fixed as usize * stride;
        }
        let inner = coordinates[storage.inner];
        let shift = storage.elem.bytes().trailing_zeros();
        let mut within = self.e.shl(inner.thread, shift);
        let mut fixed = (inner.fixed << shift) as usize;
        let mut constant = self.placement.slots[storage.slot].offset + fixed_row * storage.pitch;
        let mut panel = None;
        if storage.panels > 1 {
            let mask = self.e.i32(storage.pitch as i32 - 1);
            panel = Some(self.e.shr(within, storage.pitch.trailing_zeros()));
            within = self.e.bit_and(within, mask);
            constant += fixed / storage.pitch * storage.rows() * storage.pitch;
            fixed %= storage.pitch;
        }
        if storage.mask != 0 {
            let high = self.e.shr(row, storage.shift);
            let mask = self.e.i32(storage.mask as i32);
            let bits = self.e.bit_and(high, mask);
            let bits = self.e.shl(bits, 4);
            within = self.e.bit_xor(within, bits);
            fixed ^= (fixed_row >> storage.shift & storage.mask as usize) << 4;
            let swizzled = (storage.mask as usize) << 4;
            let flipped = self.e.i32((fixed & swizzled) as i32);
            within = self.e.bit_xor(within, flipped);
            fixed &= !swizzled;
        }
        constant += fixed;
        let pitch = self.e.i32(storage.pitch as i32);
        let start = self.e.mul(row, pitch);
        let mut offset = self.e.add(start, within);
        if let Some(panel) = panel {
            let bytes = self.e.i32((storage.rows() * storage.pitch) as i32);
            let before = self.e.mul(panel, bytes);
            offset = self.e.add(offset, before);
        }
        let mut base = self.shared;
        if let Some(stage) = self.stages.get(&storage.slot).copied() {
            base = self.e.offset(base, stage);
        }
        let base = self.e.offset(base, offset);
        let constant = self.e.i32(constant as i32);
        self.e.offset(base, constant)
    }

    /// Where the current stage of a slot begins.
    pub(super) fn slot_base(&mut self, slot: usize) -> Val {
        let fixed = self.e.i32(self.placement.slots[slot].offset as i32);
        let base = self.e.offset(self.shared, fixed);
        match self.stages.get(&slot).copied() {
            Some(stage) => self.e.offset(base, stage),
            None => base,
        }
    }

    pub(super) fn second_part(&mut self, storage: &Storage, address: Val) -> Val {
        let by = self.e.i32(storage.part_bytes() as i32);
        self.e.offset(address, by)
    }

    /// Stores a value, rounded to the type of the tile or in two parts.
    pub(super) fn write_element(&mut self, storage: &Storage, address: Val, value: Val) {
        let first = self.rounded(storage.elem, value);
        self.e.store(first, address);
        if storage.split {
            let whole = self.widen_half(storage.elem, first);
            let rest = self.e.fsub_exact(value, whole);
            let rest = self.rounded(storage.elem, rest);
            let second = self.second_part(storage, address);
            self.e.store(rest, second);
        }
    }

    pub(super) fn read_element(&mut self, storage: &Storage, address: Val) -> Val {
        let first = self.read_address(storage.elem, address);
        if !storage.split {
            return first;
        }
        let second = self.second_part(storage, address);
        let rest = self.read_address(storage.elem, second);
        self.e.fadd_exact(first, rest)
    }

    fn read_address(&mut self, elem: Elem, address: Val) -> Val {
        match elem {
            Elem::F32 => self.e.load(address, Ty::F32),
            _ => {
                let bits = self.e.load(address, Ty::I16);
                self.widen_half(elem, bits)
            }
        }
    }

    /// 16 bits as f32.
    pub(super) fn widen_half(&mut self, elem: Elem, bits: Val) -> Val {
        if elem == Elem::Bf16 {
            let wide = self.e.zext16(bits);
            let high = self.e.shl(wide, 16);
            return self.e.float_of(high);
        }
        self.e
            .asm("cvt.f32.f16 $0, $1;", "=f,h", &[bits], &[Ty::F32], false)[0]
    }

    /// An f32 rounded to an element type, as it is stored.
    pub(super) fn rounded(&mut self, elem: Elem, value: Val) -> Val {
        let text = match elem {
            Elem::F32 => return value,
            Elem::Bf16 => "cvt.rn.bf16.f32 $0, $1;",
            Elem::F16 => "cvt.rn.f16.f32 $0, $1;",
        };
        self.e.asm(text, "=h,f", &[value], &[Ty::I16], false)[0]
    }

    /// Two values as 16-bit ones in one word, `low` in the low half.
    pub(super) fn pack(&mut self, elem: Elem, low: Val, high: Val) -> Val {
        let text = match elem {
            Elem::F16 => "cvt.rn.f16x2.f32 $0, $1, $2;",
            _ => "cvt.rn.bf16x2.f32 $0, $1, $2;",
        };
        self.e
            .asm(text, "=r,f,f", &[high, low], &[Ty::I32], self.pinned)[0]
    }

    /// Both halves of a word as f32, the low one first.
    pub(super) fn unpack(&mut self, elem: Elem, word: Val) -> [Val; 2] {
        if elem == Elem::Bf16 {
            let low = self.e.shl(word, 16);
            let mask = self.e.i32(!0xffff);
            let high = self.e.bit_and(word, mask);
            return [self.e.float_of(low), self.e.float_of(high)];
        }
        let text = "{ .reg .f16 a, b; mov.b32 {a, b}, $2; cvt.f32.f16 $0, a; cvt.f32.f16 $1, b; }";
        let both = self
            .e
            .asm(text, "=f,=f,r", &[word], &[Ty::F32, Ty::F32], false);
        [both[0], both[1]]
    }

    pub(super) fn read_register(&mut self, access: &Access, register: u32) -> Val {
        let slot = self.registers[visit::index(access.buf)][register as usize];
        self.e.load(slot, Ty::F32)
    }

    /// Takes over the results of a statement spread like `points`: into registers where they are already in place,
    /// else through shared memory.
    pub(super) fn write_result(
        &mut self,
        points: &Points,
        dst: &Access,
        values: &[Val],
    ) -> Result<(), LowerError> {
        let buf = visit::index(dst.buf);
        let Home::Registers(held) = self.placement.homes[buf].clone() else {
            let storage = self.storage(dst)?;
            return self.write_shared(points, dst, &storage, values);
        };
        let places = visit::plain(dst)
            .ok_or_else(|| unsupported("bug: part of a register buffer is written".to_owned()))?;
        let shape = self.kernel.bufs[buf].shape.clone();
        let made = spread::of_buffer(&points.layout, &places, &shape);
        let own: Vec<Name> = made.outs().map(|(n, _)| n.into()).collect();
        if let Some(map) = spread::same_thread(&made, &own, &held) {
            for (to, from) in map.iter().enumerate() {
                let at = spread::register_part(&made, *from);
                let value = values[spread::register_at(&points.layout, &places, &at) as usize];
                self.e.store(value, self.registers[buf][to]);
            }
            if self.placement.storage[buf].is_some() {
                self.dirty.insert(buf);
                // Then nothing holds registers for what another statement computes.
                if self.placement.only_copied[buf] {
                    self.flush(buf);
                }
            }
            return Ok(());
        }
        let storage = self.storage(dst)?;
        self.touch(&[], &[storage.slot], Tensors::default());
        self.write_shared(points, dst, &storage, values)?;
        self.touch(&[storage.slot], &[], Tensors::default());
        self.dirty.remove(&buf);
        self.reload(buf, &held, &storage)
    }

    /// Fills the registers of a buffer from its copy in shared memory.
    fn reload(&mut self, buf: usize, held: &Layout, storage: &Storage) -> Result<(), LowerError> {
        let axes: Vec<(Name, usize)> = self.kernel.bufs[buf]
            .shape
            .iter()
            .enumerate()
            .map(|(d, n)| (d.to_string().into(), *n))
            .collect();
        let access = Access {
            buf: mixc_tile::BufId(buf as u32),
            places: axes.iter().map(|(n, _)| Place::Axis(n.clone())).collect(),
        };
        let points = self.points(held, &axes, None);
        for r in 0..points.registers() {
            let Some(at) = points.at(r) else { continue };
            let address = self.element(&points, &at, &access, storage, true)?;
            let value = self.read_element(storage, address);
            self.e.store(value, self.registers[buf][r as usize]);
        }
        Ok(())
    }

    /// One operand of a statement at a register.
    pub(super) fn operand(
        &mut self,
        access: &Access,
        points: &Points,
        register: u32,
        at: &[Coordinate],
        cache: &mut Cache,
    ) -> Result<Val, LowerError> {
        match self.source(access, &points.layout)? {
            Source::Registers(map) => Ok(self.read_register(access, map[register as usize])),
            Source::Shared(storage) => self.shared_element(access, &storage, points, at, cache),
        }
    }

    /// An element of a tile in shared memory. Registers that differ only along axes that the access lacks read the
    /// same one.
    pub(super) fn shared_element(
        &mut self,
        access: &Access,
        storage: &Storage,
        points: &Points,
        at: &[Coordinate],
        cache: &mut Cache,
    ) -> Result<Val, LowerError> {
        let fixed = |p: &Place| match p {
            Place::Axis(name) => points.coordinate_of(at, name).map_or(0, |(_, c)| c.fixed),
            Place::At(_) => 0,
        };
        let key = (access.clone(), access.places.iter().map(fixed).collect());
        if let Some(v) = cache.get(&key) {
            return Ok(*v);
        }
        let address = self.element(points, at, access, storage, true)?;
        let value = self.read_element(storage, address);
        cache.insert(key, value);
        Ok(value)
    }
}
