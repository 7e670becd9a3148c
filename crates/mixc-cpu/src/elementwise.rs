//! Map, Reduce and thin Contract statements: one loop nest for each run of statements that can
//! share it. A value that one statement writes reaches the next in a register.

use crate::emit::{Counted, I};
use crate::error::Lowered;
use crate::lower::Lower;
use crate::scope::{Node, Scope};
use cranelift_codegen::ir::condcodes::FloatCC;
use cranelift_codegen::ir::types::I32X4;
use cranelift_codegen::ir::{InstBuilder, Value};
use mixc_ir::Name;
use mixc_tile::visit::elements;
use mixc_tile::{Access, Axis, Expr, Place, ReduceKind, Stmt};

/// What a lane loop repeats: values carried in, values carried out.
pub(crate) type LaneBody<'b, L> =
    dyn FnMut(&mut L, &mut Scope, Vec<Value>) -> Lowered<Vec<Value>> + 'b;

/// One fused statement.
struct Item {
    dst: usize,
    value: Node,
    /// None: a map.
    reduce: Option<(ReduceKind, bool)>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Level {
    /// A loop over an axis, unrolled.
    Axis(usize, i64),
    /// Loops over the lane axis, some vectors at a time.
    Lanes,
}

struct Nest {
    items: Vec<Item>,
    levels: Vec<Level>,
    /// Depth at which the accumulators of the reductions start and end.
    reduce_at: usize,
    nv: usize,
}

impl<'k> Lower<'_, 'k> {
    /// Lowers statements that share one nest (see [`Lower::group`]).
    pub fn elementwise(&mut self, body: &[&'k Stmt]) -> Lowered<()> {
        let Some(axes) = axes_of(body[0]) else {
            return Err("not an elementwise statement".into());
        };
        let mut scope = Scope::new(axes)?;
        let mut items = Vec::new();
        for stmt in body {
            items.push(self.item(&mut scope, stmt)?);
        }
        let nest = self.arrange(&mut scope, items)?;
        self.level(&mut scope, &nest, 0, vec![])?;
        Ok(())
    }

    fn item(&mut self, scope: &mut Scope, stmt: &Stmt) -> Lowered<Item> {
        Ok(match stmt {
            Stmt::Map { dst, expr, .. } => {
                let value = scope.expr(self, expr)?;
                let dst = scope.access(self, dst)?;
                for (a, axis) in scope.axes.iter().enumerate() {
                    if scope.accs[dst].strides[a] == 0 && axis.extent > 1 {
                        return Err(format!(
                            "the destination does not vary with axis `{}`",
                            axis.name
                        ));
                    }
                }
                scope.wrote(dst, value);
                Item {
                    dst,
                    value,
                    reduce: None,
                }
            }
            Stmt::Reduce {
                kind,
                accumulate,
                dst,
                expr,
                ..
            } => {
                let value = scope.expr(self, expr)?;
                let dst = scope.access(self, dst)?;
                Item {
                    dst,
                    value,
                    reduce: Some((*kind, *accumulate)),
                }
            }
            Stmt::Contract {
                accumulate,
                dst,
                a,
                b,
                ..
            } => {
                let (a, b) = (Expr::Elem(a.clone()), Expr::Elem(b.clone()));
                let (a, b) = (scope.expr(self, &a)?, scope.expr(self, &b)?);
                let value = scope.product(a, b);
                let dst = scope.access(self, dst)?;
                Item {
                    dst,
                    value,
                    reduce: Some((ReduceKind::Sum, *accumulate)),
                }
            }
            _ => return Err("not an elementwise statement".into()),
        })
    }

    /// Chooses the lane axis and the order of the loops.
    fn arrange(&mut self, scope: &mut Scope, items: Vec<Item>) -> Lowered<Nest> {
        let reduced = |scope: &Scope, a: usize| {
            items
                .iter()
                .any(|i| i.reduce.is_some() && scope.accs[i.dst].strides[a] == 0)
        };
        let is_reduced: Vec<bool> = (0..scope.axes.len()).map(|a| reduced(scope, a)).collect();
        let reduces = items.iter().any(|i| i.reduce.is_some());
        let heavy = items.iter().any(|i| has_heavy(scope, i.value));
        scope.lane = choose_lane(scope, &items, &is_reduced);
        let lane = scope.lane;
        // Outer to inner as the first destination, or the first operand, lies in memory.
        let guide = items
            .iter()
            .find(|i| i.reduce.is_none())
            .map_or(items[0].dst, |i| i.dst);
        let mut order: Vec<usize> = (0..scope.axes.len()).filter(|a| Some(*a) != lane).collect();
        let far = |a: usize| {
            let own = scope.accs[guide].strides[a].abs();
            if own > 0 {
                own
            } else {
                scope
                    .accs
                    .iter()
                    .map(|x| x.strides[a].abs())
                    .max()
                    .unwrap_or(0)
            }
        };
        order.sort_by_key(|a| std::cmp::Reverse(far(*a)));
        let (outer, inner): (Vec<usize>, Vec<usize>) =
            order.into_iter().partition(|a| !is_reduced[*a]);
        let small = !heavy && items.len() <= 3;
        let unroll = |a: usize| {
            let extent = scope.axes[a].extent as i64;
            [4, 2]
                .into_iter()
                .find(|u| small && extent % u == 0)
                .unwrap_or(1)
        };
        let mut levels: Vec<Level> = outer.iter().map(|a| Level::Axis(*a, 1)).collect();
        let lane_inside = lane.is_some_and(|a| is_reduced[a]);
        // Work that depends on the lanes alone is done once if their loop is outside.
        let lane_first = !reduces
            && items.iter().any(|i| {
                lane.is_some_and(|a| {
                    has_hoistable(scope, i.value, 1 << a, (1 << scope.axes.len()) - 1)
                })
            });
        if lane.is_some() && !lane_inside {
            if lane_first {
                levels.insert(0, Level::Lanes)
            } else {
                levels.push(Level::Lanes)
            }
        }
        let reduce_at = levels.len();
        for (n, a) in inner.iter().enumerate() {
            let last = n + 1 == inner.len();
            levels.push(Level::Axis(*a, if last { unroll(*a) } else { 1 }));
        }
        if lane_inside {
            levels.push(Level::Lanes);
        }
        let vectors = lane.map_or(1, |a| scope.axes[a].extent.div_ceil(4));
        let nv = if heavy { 2 } else { 4 }.min(vectors);
        Ok(Nest {
            items,
            levels,
            reduce_at,
            nv,
        })
    }

    fn level(
        &mut self,
        scope: &mut Scope,
        nest: &Nest,
        depth: usize,
        carry: Vec<Value>,
    ) -> Lowered<Vec<Value>> {
        let reduces = nest.items.iter().any(|i| i.reduce.is_some());
        if depth == nest.reduce_at && reduces {
            let width = if nest.levels[..depth].contains(&Level::Lanes) {
                scope.nv
            } else {
                nest.nv
            };
            let start = self.accumulators(nest, width);
            let end = self.inner(scope, nest, depth, start)?;
            self.finish(scope, nest, width, &end);
            return Ok(vec![]);
        }
        self.inner(scope, nest, depth, carry)
    }

    fn inner(
        &mut self,
        scope: &mut Scope,
        nest: &Nest,
        depth: usize,
        carry: Vec<Value>,
    ) -> Lowered<Vec<Value>> {
        let roots: Vec<Node> = nest.items.iter().map(|i| i.value).collect();
        match nest.levels.get(depth) {
            None => self.body_of(scope, nest, carry),
            Some(&Level::Axis(axis, unroll)) => {
                scope.hoist(self, &roots)?;
                let saved = scope.save();
                let counted = self
                    .e
                    .begin_counted(scope.axes[axis].extent as i64, unroll, &carry);
                scope.bind(self, axis, counted.var);
                let mut carry = counted.params.clone();
                for step in 0..unroll {
                    if step > 0 {
                        scope.shift(axis, 1);
                    }
                    let kept = scope.save();
                    carry = self.level(scope, nest, depth + 1, carry)?;
                    scope.restore(kept);
                }
                scope.restore(saved);
                Ok(self.e.end_counted(counted, carry))
            }
            Some(Level::Lanes) => {
                scope.hoist(self, &roots)?;
                self.lane_loop(scope, nest.nv, carry, &mut |l, scope, carry| {
                    l.level(scope, nest, depth + 1, carry)
                })
            }
        }
    }

    /// Runs `body` along the lane axis, `nv` vectors at a time, then for what remains.
    pub fn lane_loop(
        &mut self,
        scope: &mut Scope,
        nv: usize,
        carry: Vec<Value>,
        body: &mut LaneBody<'_, Self>,
    ) -> Lowered<Vec<Value>> {
        let Some(lane) = scope.lane else {
            return body(self, scope, carry);
        };
        let extent = scope.axes[lane].extent;
        let step = 4 * nv;
        let whole = extent / step * step;
        let mut carry = carry;
        if whole > 0 {
            let saved = scope.save();
            let counted: Counted = self.e.begin_counted(whole as i64, step as i64, &carry);
            scope.bind(self, lane, counted.var);
            (scope.nv, scope.tail) = (nv, 4);
            let out = body(self, scope, counted.params.clone())?;
            carry = self.e.end_counted(counted, out);
            scope.restore(saved);
        }
        if whole < extent {
            let saved = scope.save();
            scope.bind(self, lane, I::C(whole as i64));
            let rest = extent - whole;
            scope.nv = rest.div_ceil(4);
            scope.tail = rest - 4 * (scope.nv - 1);
            carry = body(self, scope, carry)?;
            scope.restore(saved);
        }
        Ok(carry)
    }

    fn body_of(
        &mut self,
        scope: &mut Scope,
        nest: &Nest,
        mut carry: Vec<Value>,
    ) -> Lowered<Vec<Value>> {
        let mut at = 0;
        let width = carry.len()
            / nest
                .items
                .iter()
                .filter_map(|i| i.reduce)
                .map(|r| registers(r.0))
                .sum::<usize>()
                .max(1);
        for item in &nest.items {
            let Some((kind, _)) = item.reduce else {
                for u in 0..scope.nv {
                    let v = scope.number(self, item.value, u)?;
                    scope.write(self, item.dst, u, v);
                }
                continue;
            };
            let horizontal = scope
                .lane
                .is_some_and(|a| scope.accs[item.dst].strides[a] == 0);
            for u in 0..scope.nv {
                let slot = at + u * registers(kind);
                if kind == ReduceKind::Sum
                    && !horizontal
                    && let Some(v) = scope.fused_sum(self, item.value, u, carry[slot])?
                {
                    carry[slot] = v;
                    continue;
                }
                let mut v = scope.number(self, item.value, u)?;
                if horizontal && let Some(mask) = scope.exists(self, u) {
                    let identity = self.e.f32c(identity(kind));
                    v = self.e.choose(mask, v, identity);
                }
                carry[slot] = self.combine(kind, carry[slot], v);
                if registers(kind) == 2 {
                    let nan = scope.is_nan(self, v);
                    carry[slot + 1] = self.e.b.ins().bor(carry[slot + 1], nan);
                }
            }
            at += width * registers(kind);
        }
        Ok(carry)
    }

    /// `max` and `min` here lose NaN; it is collected in a mask beside.
    fn combine(&mut self, kind: ReduceKind, acc: Value, v: Value) -> Value {
        match kind {
            ReduceKind::Sum => self.e.b.ins().fadd(acc, v),
            ReduceKind::Prod => self.e.b.ins().fmul(acc, v),
            ReduceKind::Max => self.e.max_or_second(v, acc),
            ReduceKind::Min => self.e.min_or_second(v, acc),
        }
    }

    fn accumulators(&mut self, nest: &Nest, width: usize) -> Vec<Value> {
        let mut all = Vec::new();
        for (kind, _) in nest.items.iter().filter_map(|i| i.reduce) {
            for _ in 0..width {
                all.push(self.e.f32c(identity(kind)));
                if registers(kind) == 2 {
                    all.push(self.e.bits4(I32X4, [0; 4]));
                }
            }
        }
        all
    }

    /// Combines the accumulators and stores them.
    fn finish(&mut self, scope: &mut Scope, nest: &Nest, width: usize, end: &[Value]) {
        let mut at = 0;
        for item in &nest.items {
            let Some((kind, accumulate)) = item.reduce else {
                continue;
            };
            let horizontal = scope
                .lane
                .is_some_and(|a| scope.accs[item.dst].strides[a] == 0);
            let mut values: Vec<Value> = Vec::new();
            for u in 0..width {
                let slot = at + u * registers(kind);
                values.push(if registers(kind) == 2 {
                    self.with_nan(end[slot], end[slot + 1])
                } else {
                    end[slot]
                });
            }
            at += width * registers(kind);
            if horizontal {
                // The nest's own lane settings are those of the last chunk, the result is one element.
                let total = self.across(kind, &values);
                let total = if accumulate {
                    let old = self.e.load_splat(scope.accs[item.dst].at);
                    self.combine_exactly(kind, old, total)
                } else {
                    total
                };
                let x = self.e.lane(total, 0);
                self.e.store(x, scope.accs[item.dst].at);
                continue;
            }
            for (u, v) in values.into_iter().enumerate() {
                let v = if accumulate {
                    let old = scope.read(self, item.dst, u);
                    self.combine_exactly(kind, old, v)
                } else {
                    v
                };
                scope.write(self, item.dst, u, v);
            }
        }
    }

    fn with_nan(&mut self, v: Value, nan: Value) -> Value {
        let bits = self.e.as_i32(v);
        let v = self.e.b.ins().bor(bits, nan);
        self.e.as_f32(v)
    }

    /// As [`Lower::combine`], NaN included.
    pub fn combine_exactly(&mut self, kind: ReduceKind, a: Value, b: Value) -> Value {
        let v = self.combine(kind, a, b);
        if registers(kind) == 1 {
            return v;
        }
        let nan = self.e.fcmp(FloatCC::Unordered, a, b);
        self.with_nan(v, nan)
    }

    /// One value from all lanes of all vectors, in every lane.
    fn across(&mut self, kind: ReduceKind, values: &[Value]) -> Value {
        let mut total = values[0];
        for v in &values[1..] {
            total = self.combine_exactly(kind, total, *v);
        }
        for lanes in [[2, 3, 0, 1], [1, 0, 3, 2]] {
            let turned = self.e.shuffle(total, total, lanes);
            total = self.combine_exactly(kind, total, turned);
        }
        total
    }
}

fn registers(kind: ReduceKind) -> usize {
    match kind {
        ReduceKind::Sum | ReduceKind::Prod => 1,
        ReduceKind::Max | ReduceKind::Min => 2,
    }
}

fn identity(kind: ReduceKind) -> f32 {
    match kind {
        ReduceKind::Sum => 0.0,
        ReduceKind::Prod => 1.0,
        ReduceKind::Max => f32::NEG_INFINITY,
        ReduceKind::Min => f32::INFINITY,
    }
}

fn has_heavy(scope: &Scope, n: Node) -> bool {
    scope.is_heavy(n) || scope.children(n).into_iter().any(|c| has_heavy(scope, c))
}

/// Whether a costly part depends on nothing but `within`, while the nest is over more axes.
fn has_hoistable(scope: &Scope, n: Node, within: u64, all: u64) -> bool {
    within != all
        && ((scope.is_heavy(n) && scope.deps(n) & !within == 0)
            || scope
                .children(n)
                .into_iter()
                .any(|c| has_hoistable(scope, c, within, all)))
}

fn choose_lane(scope: &Scope, items: &[Item], reduced: &[bool]) -> Option<usize> {
    let accs: Vec<(Vec<i64>, bool)> = scope
        .accs
        .iter()
        .enumerate()
        .map(|(n, acc)| (acc.strides.clone(), items.iter().any(|i| i.dst == n)))
        .collect();
    best_lane(&scope.axes, &accs, reduced, 1.0).0
}

/// The axis along which most accesses (byte strides, and whether they write) are contiguous, None if
/// one element at a time is best; and the cost of four elements in instructions, of which `work` do
/// not depend on the choice.
pub(crate) fn best_lane(
    axes: &[Axis],
    accs: &[(Vec<i64>, bool)],
    reduced: &[bool],
    work: f64,
) -> (Option<usize>, f64) {
    let mut best = (None, 4.0 * (accs.len() as f64 + work));
    let summed: f64 = axes
        .iter()
        .zip(reduced)
        .filter(|(_, r)| **r)
        .map(|(x, _)| x.extent as f64)
        .product();
    for (a, axis) in axes.iter().enumerate() {
        let mut cost = work;
        for (strides, writes) in accs {
            cost += match strides[a] {
                4 => 1.0,
                0 => 0.3,
                _ if *writes => 6.0,
                _ => 5.0,
            };
        }
        if reduced[a] {
            cost += 32.0 / summed;
        }
        cost *= axis.extent.div_ceil(4) as f64 * 4.0 / axis.extent as f64;
        if cost < best.1 {
            best = (Some(a), cost);
        }
    }
    best
}

pub(crate) fn axes_of(stmt: &Stmt) -> Option<&[Axis]> {
    match stmt {
        Stmt::Map { axes, .. } | Stmt::Reduce { axes, .. } | Stmt::Contract { axes, .. } => {
            Some(axes)
        }
        _ => None,
    }
}

/// What a statement writes, and what it reads.
pub(crate) fn effects(stmt: &Stmt) -> Option<(&Access, Vec<&Access>)> {
    match stmt {
        Stmt::Map { dst, expr, .. } | Stmt::Reduce { dst, expr, .. } => {
            let mut reads = Vec::new();
            elements(expr, &mut reads);
            Some((dst, reads))
        }
        Stmt::Contract { dst, a, b, .. } => Some((dst, vec![a, b])),
        _ => None,
    }
}

fn reduced_axes(stmt: &Stmt) -> Option<Vec<&Name>> {
    let (axes, dst) = match stmt {
        Stmt::Reduce { axes, dst, .. } | Stmt::Contract { axes, dst, .. } => (axes, dst),
        _ => return None,
    };
    let mut names: Vec<&Name> = axes
        .iter()
        .map(|a| &a.name)
        .filter(|n| {
            !dst.places
                .iter()
                .any(|p| matches!(p, Place::Axis(m) if m == *n))
        })
        .collect();
    names.sort();
    Some(names)
}

/// Whether `next` can run in the innermost loop of `first`, after it.
pub(crate) fn fits(first: &Stmt, next: &Stmt) -> bool {
    let (Some(a), Some(b)) = (axes_of(first), axes_of(next)) else {
        return false;
    };
    if a.len() != b.len() || !a.iter().all(|x| b.contains(x)) {
        return false;
    }
    if let (Some(r), Some(s)) = (reduced_axes(first), reduced_axes(next))
        && r != s
    {
        return false;
    }
    let (Some((wrote, read)), Some((writes, reads))) = (effects(first), effects(next)) else {
        return false;
    };
    let first_maps = matches!(first, Stmt::Map { .. });
    let next_maps = matches!(next, Stmt::Map { .. });
    let after = reads
        .iter()
        .copied()
        .chain([writes])
        .all(|x| x.buf != wrote.buf || (first_maps && x == wrote));
    let before = read
        .iter()
        .all(|x| x.buf != writes.buf || (next_maps && *x == writes));
    // A map's result counts only if every position has its own element.
    let covers = |s: &Stmt, w: &Access| {
        !matches!(s, Stmt::Map { .. })
            || a.iter().all(|x| {
                x.extent == 1
                    || w.places
                        .iter()
                        .any(|p| matches!(p, Place::Axis(n) if *n == x.name))
            })
    };
    after && before && covers(first, wrote) && covers(next, writes)
}
