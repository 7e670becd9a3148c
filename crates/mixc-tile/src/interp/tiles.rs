//! Executes one statement over its local axes.

use super::plan::{Kind, Placed, Source, Tile, Value};
use super::round_to;
use super::run::{Fault, Machine, no_value};
use crate::{ReduceKind, ScanKind};

impl Machine<'_> {
    pub(super) fn tile(&mut self, tile: &Tile) -> Result<(), Fault> {
        // An access outside its buffer is an error only if an element is looked at.
        let bases: Vec<Option<usize>> = tile.accesses.iter().map(|a| base(a, &self.vars)).collect();
        let t = Site {
            tile,
            bases: &bases,
        };
        match &tile.kind {
            Kind::Load { tensor, index } => {
                let mut at = vec![0; index.len()];
                self.each(&t, |m, ix| {
                    for (slot, source) in at.iter_mut().zip(index) {
                        *slot = match source {
                            Source::Index(index) => {
                                index.eval(&m.vars).ok_or_else(|| no_value("an index"))?
                            }
                            Source::Gather(n) => {
                                nearest(m.bufs[tile.accesses[*n].buf][t.offset(*n, ix)?])
                            }
                        };
                    }
                    let dst = t.offset(0, ix)?;
                    let value = match m.tensors[*tensor].offset(&at) {
                        Some(from) => {
                            m.note_read(*tensor, from, &at)?;
                            m.tensors[*tensor].data[from]
                        }
                        None => 0.0,
                    };
                    m.bufs[tile.accesses[0].buf][dst] = value;
                    Ok(())
                })
            }
            Kind::Store {
                tensor,
                dtype,
                index,
                src,
            } => {
                let mut at = vec![0; index.len()];
                self.each(&t, |m, ix| {
                    for (slot, index) in at.iter_mut().zip(index) {
                        *slot = index.eval(&m.vars).ok_or_else(|| no_value("an index"))?;
                    }
                    if let Some(to) = m.tensors[*tensor].offset(&at) {
                        let value = round_to(*dtype, m.value(src, &t, ix)?);
                        m.note_write(*tensor, to, &at)?;
                        m.tensors[*tensor].data[to] = value;
                    }
                    Ok(())
                })
            }
            Kind::Map { expr } => self.each(&t, |m, ix| {
                let value = m.value(expr, &t, ix)?;
                m.bufs[tile.accesses[0].buf][t.offset(0, ix)?] = value;
                Ok(())
            }),
            Kind::Reduce {
                kind,
                accumulate,
                expr,
            } => self.reduce(&t, *kind, *accumulate, expr),
            Kind::Contract { accumulate } => self.contract(&t, *accumulate),
            Kind::Scan {
                along,
                kind,
                every,
                exclusive,
                reverse,
                expr,
            } => {
                let (start, combine): (f32, fn(f32, f32) -> f32) = match kind {
                    ScanKind::Sum => (0.0, |a, b| a + b),
                    ScanKind::Prod => (1.0, |a, b| a * b),
                };
                let n = tile.extents[*along];
                let others: Vec<usize> = (0..tile.extents.len()).filter(|a| a != along).collect();
                let mut ix = vec![0; tile.extents.len()];
                odometer(&tile.extents, &others, &mut ix, |ix| {
                    let mut acc = start;
                    let segment = |at: usize| every.map(|n| at / n);
                    let mut last = None;
                    for step in 0..n {
                        ix[*along] = if *reverse { n - 1 - step } else { step };
                        if last.replace(segment(ix[*along])) != Some(segment(ix[*along])) {
                            acc = start;
                        }
                        self.set_vars(&t, ix);
                        let value = self.value(expr, &t, ix)?;
                        let before = acc;
                        acc = combine(acc, value);
                        let dst = t.offset(0, ix)?;
                        self.bufs[tile.accesses[0].buf][dst] =
                            if *exclusive { before } else { acc };
                    }
                    Ok(())
                })
            }
        }
    }

    fn reduce(
        &mut self,
        t: &Site,
        kind: ReduceKind,
        accumulate: bool,
        expr: &Value,
    ) -> Result<(), Fault> {
        let (start, combine): (f32, fn(f32, f32) -> f32) = match kind {
            ReduceKind::Sum => (0.0, |a, b| a + b),
            ReduceKind::Prod => (1.0, |a, b| a * b),
            ReduceKind::Max => (f32::NEG_INFINITY, |a, b| {
                if a.is_nan() || b.is_nan() {
                    f32::NAN
                } else {
                    a.max(b)
                }
            }),
            ReduceKind::Min => (f32::INFINITY, |a, b| {
                if a.is_nan() || b.is_nan() {
                    f32::NAN
                } else {
                    a.min(b)
                }
            }),
        };
        let (kept, reduced) = t.split_axes();
        let buf = t.tile.accesses[0].buf;
        let mut ix = vec![0; t.tile.extents.len()];
        odometer(&t.tile.extents, &kept, &mut ix, |ix| {
            let dst = t.offset(0, ix)?;
            let mut acc = if accumulate {
                self.bufs[buf][dst]
            } else {
                start
            };
            odometer(&t.tile.extents, &reduced, ix, |ix| {
                self.set_vars(t, ix);
                acc = combine(acc, self.value(expr, t, ix)?);
                Ok(())
            })?;
            self.bufs[buf][dst] = acc;
            Ok(())
        })
    }

    fn contract(&mut self, t: &Site, accumulate: bool) -> Result<(), Fault> {
        let (kept, mut reduced) = t.split_axes();
        let [dst, a, b] = &t.tile.accesses[..] else {
            unreachable!("bug: a contraction has three accesses")
        };
        // The innermost loop runs over one reduced axis with constant strides.
        let inner = reduced.pop();
        let (steps, step_a, step_b) = inner.map_or((1, 0, 0), |x| {
            (t.tile.extents[x], a.strides[x], b.strides[x])
        });
        let mut ix = vec![0; t.tile.extents.len()];
        odometer(&t.tile.extents, &kept, &mut ix, |ix| {
            let at = t.offset(0, ix)?;
            let mut acc = if accumulate {
                self.bufs[dst.buf][at]
            } else {
                0.0
            };
            odometer(&t.tile.extents, &reduced, ix, |ix| {
                let (mut at_a, mut at_b) = (t.offset(1, ix)?, t.offset(2, ix)?);
                let (a, b) = (&self.bufs[a.buf], &self.bufs[b.buf]);
                for _ in 0..steps {
                    acc += a[at_a] * b[at_b];
                    at_a += step_a;
                    at_b += step_b;
                }
                Ok(())
            })?;
            self.bufs[dst.buf][at] = acc;
            Ok(())
        })
    }

    /// Calls `f` for every value of the local axes, with their slots set.
    fn each(
        &mut self,
        t: &Site,
        mut f: impl FnMut(&mut Self, &[usize]) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let all: Vec<usize> = (0..t.tile.extents.len()).collect();
        let mut ix = vec![0; all.len()];
        odometer(&t.tile.extents, &all, &mut ix, |ix| {
            self.set_vars(t, ix);
            f(self, ix)
        })
    }

    fn set_vars(&mut self, t: &Site, ix: &[usize]) {
        for (slot, value) in t.tile.slots.iter().zip(ix) {
            self.vars[*slot] = *value as i64;
        }
    }

    fn value(&self, value: &Value, t: &Site, ix: &[usize]) -> Result<f32, Fault> {
        Ok(match value {
            Value::Const(v) => *v,
            Value::Elem(n) => self.bufs[t.tile.accesses[*n].buf][t.offset(*n, ix)?],
            Value::Index(index) => {
                index.eval(&self.vars).ok_or_else(|| no_value("an index"))? as f32
            }
            Value::Add(a, b) => self.value(a, t, ix)? + self.value(b, t, ix)?,
            Value::Mul(a, b) => self.value(a, t, ix)? * self.value(b, t, ix)?,
            Value::Select(args) => {
                let [cond, yes, no] = &**args;
                let taken = if self.value(cond, t, ix)? != 0.0 {
                    yes
                } else {
                    no
                };
                self.value(taken, t, ix)?
            }
            Value::Call(func, args) => {
                // Evaluated in f64 and rounded once: the nearest f32 for all but a few arguments.
                let mut values = [0.0; 3];
                for (slot, arg) in values.iter_mut().zip(args) {
                    *slot = f64::from(self.value(arg, t, ix)?);
                }
                func.eval(&values[..args.len()]) as f32
            }
        })
    }
}

/// A statement with the bases of its accesses at the current loop variables.
struct Site<'a> {
    tile: &'a Tile<'a>,
    bases: &'a [Option<usize>],
}

impl Site<'_> {
    fn offset(&self, access: usize, ix: &[usize]) -> Result<usize, Fault> {
        let outside = || Fault::Arithmetic("a position outside the buffer".to_string());
        let base = self.bases[access].ok_or_else(outside)?;
        let strides = &self.tile.accesses[access].strides;
        Ok(strides
            .iter()
            .zip(ix)
            .fold(base, |at, (stride, i)| at + stride * i))
    }

    /// The local axes that the destination has, and the others.
    fn split_axes(&self) -> (Vec<usize>, Vec<usize>) {
        (0..self.tile.extents.len()).partition(|a| self.tile.accesses[0].strides[*a] != 0)
    }
}

/// Offset of the access where all local axes are 0; None if a position is outside its dimension.
fn base(access: &Placed, vars: &[i64]) -> Option<usize> {
    access.at.iter().try_fold(0, |sum, at| {
        let value = usize::try_from(at.index.eval(vars)?).ok()?;
        (value < at.extent).then_some(sum + value * at.stride)
    })
}

/// Calls `f` for every value of the chosen axes of `ix`, the last one fastest.
fn odometer(
    extents: &[usize],
    chosen: &[usize],
    ix: &mut Vec<usize>,
    mut f: impl FnMut(&mut Vec<usize>) -> Result<(), Fault>,
) -> Result<(), Fault> {
    chosen.iter().for_each(|a| ix[*a] = 0);
    if chosen.iter().any(|a| extents[*a] == 0) {
        return Ok(());
    }
    loop {
        f(ix)?;
        let mut carry = true;
        for a in chosen.iter().rev() {
            ix[*a] += 1;
            if ix[*a] < extents[*a] {
                carry = false;
                break;
            }
            ix[*a] = 0;
        }
        if carry {
            return Ok(());
        }
    }
}

/// The index that a gathered value means; -1, outside every tensor, for NaN.
fn nearest(value: f32) -> i64 {
    if value.is_nan() {
        -1
    } else {
        value.round_ties_even() as i64
    }
}
