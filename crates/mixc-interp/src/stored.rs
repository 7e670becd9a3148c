//! Subterms that are evaluated before a let, over their own axes.
//!
//! Scans, cumulative products and softmax are computed a line at a time, so that the value at one
//! position is not recomputed from the first position on.

use crate::node::{Domain, Memory, Node, Recurrence, maximum};

/// A subterm as a tensor over its axes.
#[derive(Debug)]
pub(crate) struct Stored {
    /// Slot and stride of every axis that a value depends on.
    pub strides: Vec<(usize, usize)>,
    pub len: usize,
    /// The loops around one line.
    pub lines: Domain,
    pub line: Line,
}

/// What is computed at each point of `lines`.
#[derive(Debug)]
pub(crate) enum Line {
    /// One value.
    Value(Node),
    Softmax {
        domain: Domain,
        score: Node,
        mask: Node,
    },
    Semiseparable {
        j: usize,
        i: usize,
        domain: Domain,
        strict: bool,
        decay: Node,
    },
    Scan {
        i: usize,
        strict: bool,
        recurrence: Recurrence,
    },
    Cumulative {
        slot: usize,
        domain: Domain,
        kind: Cumulative,
        body: Node,
    },
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Cumulative {
    Product,
    ProductBefore,
    ProductAfter,
    Sum,
}

impl Stored {
    /// All values, row-major over the axes. Positions that do not exist hold 0.
    pub fn values(&self, slots: &mut [i64], memory: &Memory) -> Vec<f64> {
        let mut out = vec![0.0; self.len];
        self.lines
            .for_each(slots, &mut |slots| self.write_line(slots, memory, &mut out));
        out
    }

    fn offset(&self, slots: &[i64]) -> usize {
        self.strides
            .iter()
            .map(|(slot, stride)| slots[*slot] as usize * stride)
            .sum()
    }

    fn write_line(&self, slots: &mut [i64], memory: &Memory, out: &mut [f64]) {
        match &self.line {
            Line::Value(node) => out[self.offset(slots)] = node.value(slots, memory),
            Line::Softmax {
                domain,
                score,
                mask,
            } => {
                let mut scores = vec![];
                domain.for_each(slots, &mut |slots| {
                    if mask.value(slots, memory) != 0.0 {
                        scores.push((self.offset(slots), score.value(slots, memory)));
                    }
                });
                let max = maximum(scores.iter().map(|(_, score)| *score));
                if max == f64::NEG_INFINITY {
                    return; // no key: all 0
                }
                let sum: f64 = scores.iter().map(|(_, score)| (score - max).exp()).sum();
                for (offset, score) in scores {
                    out[offset] = (score - max).exp() / sum;
                }
            }
            Line::Semiseparable {
                j,
                i,
                domain,
                strict,
                decay,
            } => {
                let decays = line_values(decay, *j, domain, slots, memory);
                let saved = (slots[*j], slots[*i]);
                for start in (0..decays.len()).filter(|n| decays[*n].is_some()) {
                    slots[*j] = start as i64;
                    let mut product = 1.0;
                    for (end, decay) in decays.iter().enumerate().skip(start) {
                        slots[*i] = end as i64;
                        let at = self.offset(slots);
                        // The decay of the start itself takes no part.
                        let with_end = if end > start {
                            product * decay.unwrap_or(1.0)
                        } else {
                            product
                        };
                        out[at] = match strict {
                            true if end == start => 0.0,
                            true => product,
                            false => with_end,
                        };
                        product = with_end;
                    }
                }
                (slots[*j], slots[*i]) = saved;
            }
            Line::Scan {
                i,
                strict,
                recurrence,
            } => {
                let mut state = recurrence.init.value(slots, memory);
                let saved = (slots[recurrence.slot], slots[*i]);
                for at in 0..recurrence.domain.axes[0].1 {
                    slots[recurrence.slot] = at as i64;
                    let next = match recurrence.domain.holds(slots) {
                        true => recurrence.step(state, slots, memory),
                        false => state,
                    };
                    slots[*i] = at as i64;
                    out[self.offset(slots)] = if *strict { state } else { next };
                    state = next;
                }
                (slots[recurrence.slot], slots[*i]) = saved;
            }
            Line::Cumulative {
                slot,
                domain,
                kind,
                body,
            } => {
                let values = line_values(body, *slot, domain, slots, memory);
                let saved = slots[*slot];
                let mut total = if matches!(kind, Cumulative::Sum) {
                    0.0
                } else {
                    1.0
                };
                let mut positions: Vec<usize> = (0..values.len()).collect();
                if matches!(kind, Cumulative::ProductAfter) {
                    positions.reverse();
                }
                for at in positions {
                    let before = total;
                    match (values[at], kind) {
                        (None, _) => {}
                        (Some(value), Cumulative::Sum) => total += value,
                        (Some(value), _) => total *= value,
                    }
                    slots[*slot] = at as i64;
                    out[self.offset(slots)] = match kind {
                        Cumulative::ProductBefore | Cumulative::ProductAfter => before,
                        Cumulative::Product | Cumulative::Sum => total,
                    };
                }
                slots[*slot] = saved;
            }
        }
    }
}

/// The values of `node` along the one axis of `domain`; None where the position does not exist.
fn line_values(
    node: &Node,
    slot: usize,
    domain: &Domain,
    slots: &mut [i64],
    memory: &Memory,
) -> Vec<Option<f64>> {
    let saved = slots[slot];
    let mut values = vec![];
    for at in 0..domain.axes[0].1 {
        slots[slot] = at as i64;
        values.push(domain.holds(slots).then(|| node.value(slots, memory)));
    }
    slots[slot] = saved;
    values
}
