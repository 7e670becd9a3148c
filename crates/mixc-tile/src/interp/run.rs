//! Executes a resolved kernel.

use super::plan::{Element, Index, Op, Plan};
use super::races::Seen;
use super::{KernelArgs, Order, Race, RunError, RunOptions, TensorData};
use crate::{Compare, Kernel, Stmt};

/// Runs every grid point. Tensors are taken out of `args` for the time and put back, even on errors.
pub fn run(
    plan: &Plan,
    kernel: &Kernel,
    args: &mut KernelArgs,
    options: RunOptions,
) -> Result<(), RunError> {
    let mut take = |t: &crate::TensorArg| args.tensors.get_mut(&t.name).map(std::mem::take);
    let tensors: Vec<TensorData> = kernel
        .tensors
        .iter()
        .map(|t| take(t).unwrap_or_default())
        .collect();
    let seen = tensors.iter().map(|t| {
        if options.find_races {
            vec![Seen::default(); t.data.len()]
        } else {
            vec![]
        }
    });
    let mut machine = Machine {
        kernel,
        grid: &plan.grid,
        seen: seen.collect(),
        tensors,
        bufs: kernel
            .bufs
            .iter()
            .map(|b| vec![f32::NAN; b.shape.iter().product()])
            .collect(),
        vars: vec![0; plan.slots],
        point: 0,
    };
    let result = machine.run_grid(plan, options.order);
    for (t, data) in kernel.tensors.iter().zip(machine.tensors) {
        args.tensors.insert(t.name.clone(), data);
    }
    result
}

pub(super) struct Machine<'k> {
    pub(super) kernel: &'k Kernel,
    pub(super) grid: &'k [i64],
    pub(super) tensors: Vec<TensorData>,
    /// For each tensor and value; empty if races are not looked for.
    pub(super) seen: Vec<Vec<Seen>>,
    pub(super) bufs: Vec<Vec<f32>>,
    pub(super) vars: Vec<i64>,
    /// Number of the running grid point.
    pub(super) point: u64,
}

/// What went wrong in a statement.
pub(super) enum Fault {
    Arithmetic(String),
    Race {
        tensor: usize,
        at: Vec<i64>,
        first: u64,
        what: &'static str,
    },
}

pub(super) fn no_value(what: &str) -> Fault {
    Fault::Arithmetic(format!(
        "{what} has no value (division by zero or overflow)"
    ))
}

impl Machine<'_> {
    fn run_grid(&mut self, plan: &Plan, order: Order) -> Result<(), RunError> {
        let points: u64 = self.grid.iter().map(|n| *n as u64).product();
        let permutation = match order {
            Order::Shuffled(seed) => permutation(points, seed),
            _ => vec![],
        };
        for n in 0..points {
            self.point = match order {
                Order::Forward => n,
                Order::Reverse => points - 1 - n,
                Order::Shuffled(_) => permutation[n as usize],
            };
            let at = self.coordinates(self.point);
            self.vars[..at.len()].copy_from_slice(&at);
            for element in &plan.elements {
                self.vars[element.slot] = self.element(element);
            }
            self.bufs.iter_mut().for_each(|b| b.fill(f32::NAN));
            self.block(&plan.body)?;
        }
        Ok(())
    }

    /// 0 outside the tensor.
    fn element(&self, element: &Element) -> i64 {
        let index = element.index.iter().map(|ix| ix.eval(&self.vars));
        let index: Option<Vec<i64>> = index.collect();
        let tensor = &self.tensors[element.tensor];
        let at = index.and_then(|index| tensor.offset(&index));
        at.map_or(0, |at| tensor.data[at] as i64)
    }

    /// Row-major: the last grid axis runs fastest.
    fn coordinates(&self, mut point: u64) -> Vec<i64> {
        let mut at = vec![0; self.grid.len()];
        for (x, n) in at.iter_mut().zip(self.grid).rev() {
            *x = (point % *n as u64) as i64;
            point /= *n as u64;
        }
        at
    }

    fn error(&self, stmt: &Stmt, fault: Fault) -> RunError {
        let (statement, point) = (self.kernel.headline(stmt), self.coordinates(self.point));
        match fault {
            Fault::Arithmetic(what) => RunError::Fault {
                statement,
                what,
                point,
            },
            Fault::Race {
                tensor,
                at,
                first,
                what,
            } => RunError::Race(Box::new(Race {
                tensor: self.kernel.tensors[tensor].name.clone(),
                element: at,
                first: match first {
                    u64::MAX => "several".to_string(),
                    n => format!("{:?}", self.coordinates(n - 1)),
                },
                second: point,
                what,
                statement,
            })),
        }
    }

    fn block(&mut self, body: &[Op]) -> Result<(), RunError> {
        body.iter().try_for_each(|op| self.op(op))
    }

    fn op(&mut self, op: &Op) -> Result<(), RunError> {
        match op {
            Op::For {
                stmt,
                slot,
                lo,
                hi,
                reverse,
                body,
            } => {
                let bound = |m: &Self, ix: &Index, what| {
                    ix.eval(&m.vars)
                        .ok_or_else(|| m.error(stmt, no_value(what)))
                };
                let (lo, hi) = (
                    bound(self, lo, "the lower bound")?,
                    bound(self, hi, "the upper bound")?,
                );
                for n in 0..(hi.saturating_sub(lo)).max(0) {
                    self.vars[*slot] = if *reverse { hi - 1 - n } else { lo + n };
                    self.block(body)?;
                }
                Ok(())
            }
            Op::If {
                stmt,
                left,
                compare,
                right,
                then,
                otherwise,
            } => {
                let side = |ix: &Index| {
                    ix.eval(&self.vars)
                        .ok_or_else(|| self.error(stmt, no_value("the condition")))
                };
                let (left, right) = (side(left)?, side(right)?);
                let holds = match compare {
                    Compare::Lt => left < right,
                    Compare::Le => left <= right,
                    Compare::Eq => left == right,
                };
                self.block(if holds { then } else { otherwise })
            }
            Op::Tile(tile) => self
                .tile(tile)
                .map_err(|fault| self.error(tile.stmt, fault)),
        }
    }
}

/// Fisher-Yates with a multiplicative congruential generator (Knuth's MMIX constants).
fn permutation(n: u64, seed: u64) -> Vec<u64> {
    let mut order: Vec<u64> = (0..n).collect();
    let mut state = seed;
    for last in (1..order.len()).rev() {
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        order.swap(last, ((state >> 33) % (last as u64 + 1)) as usize);
    }
    order
}
