//! Running sums and products along an axis.

use crate::emit::I;
use crate::error::Lowered;
use crate::lower::Lower;
use crate::scope::Scope;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, Value};
use mixc_tile::{Access, Axis, Expr, ScanKind};

impl Lower<'_, '_> {
    #[allow(clippy::too_many_arguments)]
    pub fn scan(
        &mut self,
        axes: &[Axis],
        along: &str,
        kind: ScanKind,
        every: Option<usize>,
        exclusive: bool,
        reverse: bool,
        dst: &Access,
        expr: &Expr,
    ) -> Lowered<()> {
        let mut scope = Scope::new(axes)?;
        let along = scope.axis(along).ok_or(format!("unknown axis `{along}`"))?;
        let value = scope.expr(self, expr)?;
        let dst = scope.access(self, dst)?;
        for (a, axis) in axes.iter().enumerate() {
            if scope.accs[dst].strides[a] == 0 && axis.extent > 1 {
                return Err(format!(
                    "the destination does not vary with axis `{}`",
                    axis.name
                ));
            }
        }
        // Lanes run side by side, so the scanned axis cannot be their axis; it stays one at a time.
        let contiguous = |a: &usize| scope.accs.iter().filter(|x| x.strides[*a] == 4).count();
        scope.lane = (0..axes.len())
            .filter(|a| *a != along && axes[*a].extent >= 4 && contiguous(a) > 0)
            .max_by_key(|a| contiguous(a));
        let outer: Vec<usize> = (0..axes.len())
            .filter(|a| *a != along && Some(*a) != scope.lane)
            .collect();
        let step = Step {
            kind,
            every,
            exclusive,
            reverse,
            along,
            dst,
            value,
        };
        self.scan_outer(&mut scope, &outer, &step)
    }

    fn scan_outer(&mut self, scope: &mut Scope, outer: &[usize], step: &Step) -> Lowered<()> {
        if let Some((axis, rest)) = outer.split_first() {
            let saved = scope.save();
            let counted = self
                .e
                .begin_counted(scope.axes[*axis].extent as i64, 1, &[]);
            scope.bind(self, *axis, counted.var);
            self.scan_outer(scope, rest, step)?;
            self.e.end_counted(counted, vec![]);
            scope.restore(saved);
            return Ok(());
        }
        let vectors = scope
            .lane
            .map_or(1, |a| scope.axes[a].extent.div_ceil(4))
            .min(4);
        self.lane_loop(scope, vectors, vec![], &mut |l, scope, _| {
            l.scan_lanes(scope, step)?;
            Ok(vec![])
        })?;
        Ok(())
    }

    fn scan_lanes(&mut self, scope: &mut Scope, step: &Step) -> Lowered<()> {
        scope.hoist(self, &[step.value])?;
        let start = match step.kind {
            ScanKind::Sum => 0.0,
            ScanKind::Prod => 1.0,
        };
        let carry: Vec<Value> = (0..scope.nv).map(|_| self.e.f32c(start)).collect();
        let extent = scope.axes[step.along].extent as i64;
        let saved = scope.save();
        let counted = self.e.begin_counted(extent, 1, &carry);
        let at = if step.reverse {
            self.e.sub(I::C(extent - 1), counted.var)
        } else {
            counted.var
        };
        scope.bind(self, step.along, at);
        let mut carry = counted.params.clone();
        if let Some(every) = step.every {
            self.start_segments(at, every as i64, step.reverse, start, &mut carry);
        }
        for (u, acc) in carry.iter_mut().enumerate() {
            let v = scope.number(self, step.value, u)?;
            let next = match step.kind {
                ScanKind::Sum => self.e.b.ins().fadd(*acc, v),
                ScanKind::Prod => self.e.b.ins().fmul(*acc, v),
            };
            scope.write(self, step.dst, u, if step.exclusive { *acc } else { next });
            *acc = next;
        }
        self.e.end_counted(counted, carry);
        scope.restore(saved);
        Ok(())
    }

    /// At the first position of a segment nothing came before.
    fn start_segments(
        &mut self,
        at: I,
        every: i64,
        reverse: bool,
        start: f32,
        carry: &mut [Value],
    ) {
        let end = self.e.add(at, I::C(i64::from(reverse)));
        let within = self.e.rem(end, I::C(every));
        let first = self.e.compare(IntCC::Equal, within, I::C(0));
        let start = self.e.f32c(start);
        for acc in carry {
            *acc = self.e.b.ins().select(first, start, *acc);
        }
    }
}

struct Step {
    kind: ScanKind,
    every: Option<usize>,
    exclusive: bool,
    reverse: bool,
    along: usize,
    dst: usize,
    value: crate::scope::Node,
}
