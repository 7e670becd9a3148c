//! The points of a statement's tile that a thread works on.

use super::Lower;
use crate::emit::{Cmp, Val};
use crate::spread::{self, LOOP};
use mixc_ir::Name;
use mixc_layout::{LANE, Layout, WARP};
use std::collections::HashMap;

/// A coordinate of a point: what the thread adds, and what the register adds (their bits are distinct).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Coordinate {
    pub thread: Val,
    pub fixed: u32,
}

impl Coordinate {
    pub fn of(thread: Val) -> Coordinate {
        Coordinate { thread, fixed: 0 }
    }
}

/// A layout with the thread's part of every coordinate computed.
#[derive(Clone)]
pub(crate) struct Points {
    pub layout: Layout,
    pub axes: Vec<(Name, usize)>,
    pub extents: HashMap<Name, i64>,
    /// By axis: the value, and the largest that it takes in any thread.
    threads: Vec<(Val, u32)>,
}

impl Points {
    pub fn registers(&self) -> u32 {
        spread::registers(&self.layout)
    }

    fn axis(&self, name: &str) -> Option<usize> {
        self.axes.iter().position(|(n, _)| **n == *name)
    }

    /// Coordinates in the order of the axes; None if no thread has a point within the tile there.
    pub fn at(&self, register: u32) -> Option<Vec<Coordinate>> {
        let fixed = spread::register_part(&self.layout, register);
        let inside = self
            .axes
            .iter()
            .zip(&fixed)
            .all(|((_, n), f)| (*f as usize) < *n);
        inside.then(|| {
            let coordinate = |(f, (thread, _)): (&u32, &(Val, u32))| Coordinate {
                thread: *thread,
                fixed: *f,
            };
            fixed.iter().zip(&self.threads).map(coordinate).collect()
        })
    }

    /// Axes whose coordinate may be past the end of the tile at a register.
    fn ragged(&self, fixed: u32, axis: usize) -> bool {
        (self.threads[axis].1 + fixed) as usize >= self.axes[axis].1
    }
}

impl Lower<'_> {
    /// `turn` is the value of the input `loop`.
    pub(super) fn points(
        &mut self,
        layout: &Layout,
        axes: &[(Name, usize)],
        turn: Option<Val>,
    ) -> Points {
        let mut threads = vec![];
        for n in 0..axes.len() {
            let (mut value, mut largest) = (self.e.i32(0), 0);
            for (input, source) in [
                (LANE, Some(self.lane)),
                (WARP, Some(self.warp)),
                (LOOP, turn),
            ] {
                let Some(source) = source else { continue };
                let (part, most) = self.input_part(layout, input, source, n);
                value = self.e.add(value, part);
                largest += most;
            }
            threads.push((value, largest));
        }
        Points {
            layout: layout.clone(),
            axes: axes.to_vec(),
            extents: axes.iter().map(|(n, e)| (n.clone(), *e as i64)).collect(),
            threads,
        }
    }

    /// What one input adds to output `n`: runs of bits that stay together move as one.
    fn input_part(&mut self, layout: &Layout, input: &str, source: Val, n: usize) -> (Val, u32) {
        let total = layout.in_bits(input);
        let vector: Vec<u32> = (0..total).map(|b| layout.basis(input, b)[n]).collect();
        let (mut value, mut largest) = (self.e.i32(0), 0);
        let mut bit = 0;
        while bit < total {
            let first = vector[bit as usize];
            if first == 0 {
                bit += 1;
                continue;
            }
            let mut length = 1;
            while bit + length < total && vector[(bit + length) as usize] == first << length {
                length += 1;
            }
            let down = self.e.shr(source, bit);
            let mask = self.e.i32(((1u64 << length) - 1) as i32);
            let field = if bit + length == total && input != LANE {
                down
            } else {
                self.e.bit_and(down, mask)
            };
            let factor = self.e.i32(first as i32);
            let part = if first.is_power_of_two() {
                self.e.shl(field, first.trailing_zeros())
            } else {
                self.e.mul(field, factor)
            };
            value = self.e.add(value, part);
            largest += ((1 << length) - 1) * first;
            bit += length;
        }
        (value, largest)
    }

    pub(super) fn coordinate(&mut self, c: Coordinate) -> Val {
        let fixed = self.e.i32(c.fixed as i32);
        self.e.add(c.thread, fixed)
    }

    /// A coordinate that is certainly within the tile: past the end the last one stands in.
    pub(super) fn clamped(&mut self, points: &Points, at: &[Coordinate], axis: usize) -> Val {
        let value = self.coordinate(at[axis]);
        if !points.ragged(at[axis].fixed, axis) {
            return value;
        }
        let last = self.e.i32(points.axes[axis].1 as i32 - 1);
        self.e.min(value, last)
    }

    /// As [`Lower::clamped`], in two parts where that changes nothing.
    pub(super) fn kept_within(
        &mut self,
        points: &Points,
        at: &[Coordinate],
        axis: usize,
    ) -> Coordinate {
        match points.ragged(at[axis].fixed, axis) {
            true => Coordinate::of(self.clamped(points, at, axis)),
            false => at[axis],
        }
    }

    /// Clamped coordinates by axis name.
    pub(super) fn clamped_all(&mut self, points: &Points, at: &[Coordinate]) -> HashMap<Name, Val> {
        (0..points.axes.len())
            .map(|n| (points.axes[n].0.clone(), self.clamped(points, at, n)))
            .collect()
    }

    /// Whether a point is within the tile along these axes (all of them by default).
    pub(super) fn inside(
        &mut self,
        points: &Points,
        at: &[Coordinate],
        along: &dyn Fn(&Name) -> bool,
    ) -> Val {
        let mut holds = self.e.bool(true);
        for (n, (c, (name, extent))) in at.iter().zip(&points.axes).enumerate() {
            if along(name) && points.ragged(c.fixed, n) {
                let value = self.coordinate(*c);
                let extent = self.e.i32(*extent as i32);
                let one = self.e.icmp(Cmp::Lt, value, extent);
                holds = self.e.and(holds, one);
            }
        }
        holds
    }

    /// Whether this thread is the one among those with copies of its points that writes them.
    pub(super) fn writer(&mut self, layout: &Layout) -> Val {
        let mut holds = self.e.bool(true);
        for (input, source) in [(LANE, self.lane), (WARP, self.warp)] {
            let mask = spread::copies(layout, input);
            if mask != 0 {
                let mask = self.e.i32(mask as i32);
                let bits = self.e.bit_and(source, mask);
                let zero = self.e.i32(0);
                let one = self.e.icmp(Cmp::Eq, bits, zero);
                holds = self.e.and(holds, one);
            }
        }
        holds
    }

    /// Runs `f` for every turn of a layout's loop.
    pub(super) fn turns<E>(
        &mut self,
        layout: &Layout,
        axes: &[(Name, usize)],
        f: impl FnOnce(&mut Self, &Points) -> Result<(), E>,
    ) -> Result<(), E> {
        let bits = layout.in_bits(LOOP);
        if bits == 0 {
            let points = self.points(layout, axes, None);
            return f(self, &points);
        }
        let (zero, turns) = (self.e.i32(0), self.e.i32(1 << bits));
        let turn = self.e.open_for(zero, turns);
        let points = self.points(layout, axes, Some(turn));
        f(self, &points)?;
        self.e.close();
        Ok(())
    }
}

impl Points {
    /// The coordinate of a named axis.
    pub fn coordinate_of(&self, at: &[Coordinate], name: &str) -> Option<(usize, Coordinate)> {
        self.axis(name).map(|n| (n, at[n]))
    }
}

impl Points {
    /// The coordinate of an axis at register coordinates 0.
    pub fn start(&self, axis: usize) -> Val {
        self.threads[axis].0
    }
}
