//! Operators: reductions where they stand, and what is evaluated a line at a time.

use super::{Axes, Compiler, Place};
use crate::EvalError;
use crate::array::{strides, volume};
use crate::node::{Node, Recurrence};
use crate::stored::{Cumulative, Line, Stored};
use mixc_ir::{Name, T, Term};

impl Compiler<'_> {
    /// A reduction, evaluated where it stands.
    pub(super) fn reduction(&mut self, term: &T, place: &Place) -> Result<Node, EvalError> {
        match &**term {
            Term::Sum { axes, factors } => {
                let place = place.inside(axes);
                let domain = self.domain(axes, &place.scope)?;
                Ok(Node::Sum {
                    domain,
                    factors: self.product(factors, &place)?,
                })
            }
            Term::Reduce {
                op,
                axes,
                mask,
                body,
            } => {
                let place = place.inside(axes);
                let domain = self.domain(axes, &place.scope)?;
                let (mask, body) = (self.boxed(mask, &place)?, self.boxed(body, &place)?);
                Ok(Node::Reduce {
                    op: *op,
                    domain,
                    mask,
                    body,
                })
            }
            Term::Online {
                axes,
                score,
                mask,
                value,
            } => {
                let place = place.inside(axes);
                let domain = self.domain(axes, &place.scope)?;
                let (score, mask) = (self.boxed(score, &place)?, self.boxed(mask, &place)?);
                Ok(Node::Online {
                    domain,
                    score,
                    mask,
                    value: self.boxed(value, &place)?,
                })
            }
            Term::Last {
                j,
                decay,
                input,
                init,
            } => Ok(Node::Last(Box::new(
                self.recurrence(j, decay, input, init, place)?,
            ))),
            _ => self.node(term, place),
        }
    }

    fn recurrence(
        &mut self,
        j: &Name,
        decay: &T,
        input: &T,
        init: &T,
        place: &Place,
    ) -> Result<Recurrence, EvalError> {
        let inside = place.inside([j]);
        Ok(Recurrence {
            domain: self.domain(std::slice::from_ref(j), &inside.scope)?,
            slot: self.axis(j)?.0,
            decay: self.node(decay, &inside)?,
            decay_is_guard: decay.is_guard(),
            input: self.node(input, &inside)?,
            init: self.node(init, place)?,
        })
    }

    pub(super) fn merge(
        &mut self,
        axis: &Name,
        outer: &Name,
        inner: &Name,
        body: &T,
        place: &Place,
    ) -> Result<Node, EvalError> {
        let (slot, end) = self.axis(axis)?;
        let ((outer_slot, outer_size), (inner_slot, inner_size)) =
            (self.axis(outer)?, self.axis(inner)?);
        let split = self
            .names
            .splits
            .iter()
            .find(|s| s.outer == *outer && s.inner == *inner);
        let Some(size) = split.map(|s| s.size) else {
            return Err(
                self.malformed(format!("`{outer}`, `{inner}` are not the parts of a split"))
            );
        };
        let covered = (outer_size as i64)
            .checked_mul(size)
            .is_some_and(|all| all >= end as i64);
        if !covered || (inner_size as i64) < size.min(end as i64) {
            let parts = format!("{outer_size} x {size} (inner axis of {inner_size})");
            return Err(self.malformed(format!(
                "a split into {parts} does not cover axis `{axis}` of {end}"
            )));
        }
        let body = self.boxed(body, &place.inside([outer, inner]))?;
        Ok(Node::Merge {
            axis: slot,
            outer: outer_slot,
            inner: inner_slot,
            size,
            body,
        })
    }

    /// Compiles `term` as a tensor of its own over the axes in `needs` that no scan holds.
    pub(super) fn store(
        &mut self,
        term: &T,
        needs: Axes,
        place: &Place,
    ) -> Result<Node, EvalError> {
        // An operator along an axis runs over all of it, even if the scan around holds one position.
        let line_axes = match &**term {
            Term::Softmax { axes, .. } => axes.clone(),
            Term::Ss { j, i, .. } => vec![j.clone(), i.clone()],
            Term::Scan { i, .. } => vec![i.clone()],
            Term::CumProd { axis, .. } | Term::SufProd { axis, .. } | Term::CumSum { axis, .. } => {
                vec![axis.clone()]
            }
            _ => vec![],
        };
        let kept = |a: &&Name| !place.fixed.contains(*a) || line_axes.contains(a);
        let axes: Vec<Name> = needs.iter().filter(kept).cloned().collect();
        let shape = self.shape(axes.iter())?;
        let slots: Vec<usize> = axes
            .iter()
            .map(|a| self.axis(a).map(|(slot, _)| slot))
            .collect::<Result<_, _>>()?;
        let strides: Vec<(usize, usize)> = slots.into_iter().zip(strides(&shape)).collect();
        let key = (std::sync::Arc::as_ptr(term), axes.clone(), needs);
        if let Some(id) = self.known.get(&key) {
            return Ok(Node::Stored { id: *id, strides });
        }

        let around: Vec<Name> = axes
            .iter()
            .filter(|a| !line_axes.contains(a))
            .cloned()
            .collect();
        let mut outside = place.clone();
        outside.loops = around.iter().cloned().collect();
        let lines = self.domain(&around, &place.scope)?;
        let line = self.line(term, &outside)?;
        let id = self.stored.len();
        self.stored.push(Stored {
            strides: strides.clone(),
            len: volume(&shape)?,
            lines,
            line,
        });
        self.known.insert(key, id);
        Ok(Node::Stored { id, strides })
    }

    fn line(&mut self, term: &T, place: &Place) -> Result<Line, EvalError> {
        match &**term {
            Term::Softmax { axes, score, mask } => {
                let inside = place.inside(axes);
                let domain = self.domain(axes, &inside.scope)?;
                Ok(Line::Softmax {
                    domain,
                    score: self.node(score, &inside)?,
                    mask: self.node(mask, &inside)?,
                })
            }
            Term::Ss {
                j,
                i,
                strict,
                decay,
            } => {
                self.same_size(j, i)?;
                self.free_of(decay, i)?;
                let inside = place.inside([j]);
                let domain = self.domain(std::slice::from_ref(j), &inside.scope)?;
                let decay = self.node(decay, &inside)?;
                let (j, i) = (self.axis(j)?.0, self.axis(i)?.0);
                Ok(Line::Semiseparable {
                    j,
                    i,
                    domain,
                    strict: *strict,
                    decay,
                })
            }
            Term::Scan {
                j,
                i,
                strict,
                decay,
                input,
                init,
            } => {
                self.same_size(j, i)?;
                for part in [decay, input, init] {
                    self.free_of(part, i)?;
                }
                let recurrence = self.recurrence(j, decay, input, init, place)?;
                Ok(Line::Scan {
                    i: self.axis(i)?.0,
                    strict: *strict,
                    recurrence,
                })
            }
            Term::CumProd {
                axis,
                exclusive,
                body,
            } => {
                let kind = if *exclusive {
                    Cumulative::ProductBefore
                } else {
                    Cumulative::Product
                };
                self.cumulative(axis, kind, body, place)
            }
            Term::SufProd { axis, body } => {
                self.cumulative(axis, Cumulative::ProductAfter, body, place)
            }
            Term::CumSum { axis, body } => self.cumulative(axis, Cumulative::Sum, body, place),
            _ => self.reduction(term, place).map(Line::Value),
        }
    }

    fn cumulative(
        &mut self,
        axis: &Name,
        kind: Cumulative,
        body: &T,
        place: &Place,
    ) -> Result<Line, EvalError> {
        let inside = place.inside([axis]);
        let domain = self.domain(std::slice::from_ref(axis), &inside.scope)?;
        Ok(Line::Cumulative {
            slot: self.axis(axis)?.0,
            domain,
            kind,
            body: self.node(body, &inside)?,
        })
    }
}
