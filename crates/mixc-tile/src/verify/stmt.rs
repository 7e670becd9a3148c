//! Rules for single statements.

use super::{Checker, Leaves};
use crate::{Access, Axis, Expr, LoadIx, Place, Stmt, TensorArg, Usage};
use mixc_ir::{Ix, Name};
use std::collections::BTreeSet;

impl Checker<'_> {
    pub(super) fn block(&mut self, body: &[Stmt]) {
        for stmt in body {
            self.enter(stmt);
            match stmt {
                Stmt::For {
                    var, lo, hi, body, ..
                } => {
                    self.index(lo, Leaves::Bound);
                    self.index(hi, Leaves::Bound);
                    self.fresh("loop variable", var, &[]);
                    self.scope.push(var.clone());
                    self.block(body);
                    self.scope.pop();
                }
                Stmt::If {
                    cond,
                    then,
                    otherwise,
                } => {
                    self.index(&cond.left, Leaves::Bound);
                    self.index(&cond.right, Leaves::Bound);
                    self.block(then);
                    self.block(otherwise);
                }
                Stmt::Load { axes, .. }
                | Stmt::Store { axes, .. }
                | Stmt::Map { axes, .. }
                | Stmt::Reduce { axes, .. }
                | Stmt::Contract { axes, .. }
                | Stmt::Scan { axes, .. } => self.tile(stmt, axes),
            }
        }
    }

    fn tile(&mut self, stmt: &Stmt, axes: &[Axis]) {
        let mut names: Vec<Name> = vec![];
        for axis in axes {
            self.fresh("local axis", &axis.name, &names);
            names.push(axis.name.clone());
        }
        let used = match stmt {
            Stmt::Load {
                dst, tensor, index, ..
            } => self.load(axes, &names, dst, tensor, index),
            Stmt::Store {
                tensor, index, src, ..
            } => self.store(axes, &names, tensor, index, src),
            Stmt::Map { dst, expr, .. } => {
                self.destination(axes, dst, true);
                for read in reads(expr) {
                    if read.buf == dst.buf && read.places != dst.places {
                        let read = self.kernel.show(read).to_string();
                        self.error(
                            "alias",
                            format!("`{read}` is not the place that is written"),
                        );
                    }
                }
                union(axes_of(dst), self.expr(axes, &names, expr))
            }
            Stmt::Reduce { dst, expr, .. } => {
                self.destination(axes, dst, false);
                self.no_alias(dst, reads(expr));
                union(axes_of(dst), self.expr(axes, &names, expr))
            }
            Stmt::Contract { dst, a, b, .. } => {
                self.destination(axes, dst, false);
                self.access(axes, a);
                self.access(axes, b);
                self.no_alias(dst, vec![a, b]);
                self.contract_axes(axes, [dst, a, b]);
                union(axes_of(dst), union(axes_of(a), axes_of(b)))
            }
            Stmt::Scan {
                along,
                every,
                dst,
                expr,
                ..
            } => {
                self.destination(axes, dst, true);
                if let Some(n) = every.filter(|n| !n.is_power_of_two()) {
                    self.error(
                        "scan-segment",
                        format!("the scan starts anew every {n} positions, which is no power of 2"),
                    );
                }
                if !names.contains(along) {
                    self.error(
                        "scan-axis",
                        format!("the scan runs along `{along}`, which is not a local axis"),
                    );
                }
                self.no_alias(dst, reads(expr));
                union(axes_of(dst), self.expr(axes, &names, expr))
            }
            Stmt::For { .. } | Stmt::If { .. } => {
                unreachable!("bug: not a statement over local axes")
            }
        };
        for name in names.iter().filter(|n| !used.contains(*n)) {
            self.error(
                "unused-axis",
                format!("the local axis `{name}` is not used"),
            );
        }
    }

    fn load(
        &mut self,
        axes: &[Axis],
        names: &[Name],
        dst: &Access,
        tensor: &Name,
        index: &[LoadIx],
    ) -> BTreeSet<Name> {
        self.destination(axes, dst, true);
        if let Some(t) = self.tensor(tensor, index.len())
            && t.usage == Usage::Out
        {
            self.error(
                "usage",
                format!("`{tensor}` is an output and cannot be loaded (use `work`)"),
            );
        }
        let mut used = axes_of(dst);
        for ix in index {
            match ix {
                LoadIx::Ix(ix) => {
                    self.index(ix, Leaves::Local(names));
                    used.extend(ix.axes());
                }
                LoadIx::Gather(access) => {
                    self.access(axes, access);
                    self.no_alias(dst, vec![access]);
                    used.extend(axes_of(access));
                }
            }
        }
        used
    }

    fn store(
        &mut self,
        axes: &[Axis],
        names: &[Name],
        tensor: &Name,
        index: &[Ix],
        src: &Expr,
    ) -> BTreeSet<Name> {
        if let Some(t) = self.tensor(tensor, index.len())
            && t.usage == Usage::In
        {
            self.error(
                "usage",
                format!("`{tensor}` is an input and cannot be stored to"),
            );
        }
        index
            .iter()
            .for_each(|ix| self.index(ix, Leaves::Local(names)));
        let indexed: BTreeSet<Name> = index.iter().flat_map(Ix::axes).collect();
        let used = self.expr(axes, names, src);
        for name in used.iter().filter(|n| !indexed.contains(*n)) {
            self.error(
                "destination-axes",
                format!("the local axis `{name}` is not in the index of the store"),
            );
        }
        union(indexed, used)
    }

    fn tensor(&mut self, name: &Name, rank: usize) -> Option<TensorArg> {
        let Some(tensor) = self.kernel.tensors.iter().find(|t| t.name == *name) else {
            self.error("unknown-name", format!("unknown tensor `{name}`"));
            return None;
        };
        let expected = tensor.shape.len();
        if rank != expected {
            self.error(
                "rank",
                format!("`{name}` has {expected} dimensions, {rank} are indexed"),
            );
        }
        Some(tensor.clone())
    }

    /// A written access; `all` if it must name every local axis.
    fn destination(&mut self, axes: &[Axis], dst: &Access, all: bool) {
        self.access(axes, dst);
        self.distinct("destination-axes", dst);
        let named = axes_of(dst);
        for axis in axes.iter().filter(|a| all && !named.contains(&a.name)) {
            self.error(
                "destination-axes",
                format!("the destination lacks the local axis `{}`", axis.name),
            );
        }
    }

    fn distinct(&mut self, code: &'static str, access: &Access) {
        let mut seen = BTreeSet::new();
        for place in &access.places {
            if let Place::Axis(name) = place
                && !seen.insert(name)
            {
                let access = self.kernel.show(access).to_string();
                self.error(
                    code,
                    format!("`{access}` names the local axis `{name}` twice"),
                );
            }
        }
    }

    fn access(&mut self, axes: &[Axis], access: &Access) {
        let names: Vec<Name> = axes.iter().map(|a| a.name.clone()).collect();
        let buf = self.kernel.bufs.get(access.buf.0 as usize);
        if buf.is_none() {
            self.error(
                "unknown-name",
                format!("there is no buffer %{}", access.buf.0),
            );
        }
        if let Some(buf) = buf
            && buf.shape.len() != access.places.len()
        {
            let (rank, given) = (buf.shape.len(), access.places.len());
            self.error(
                "rank",
                format!("`{}` has {rank} dimensions, {given} are indexed", buf.name),
            );
        }
        for (d, place) in access.places.iter().enumerate() {
            match place {
                Place::At(ix) => self.index(ix, Leaves::Uniform(&names)),
                Place::Axis(name) => match axes.iter().find(|a| a.name == *name) {
                    None => self.error("unknown-name", format!("`{name}` is not a local axis")),
                    Some(axis) => {
                        if let Some(buf) = buf
                            && let Some(extent) = buf.shape.get(d)
                            && axis.extent > *extent
                        {
                            let what = format!(
                                "`{name}` takes {} values, dimension {d} of `{}` has {extent}",
                                axis.extent, buf.name
                            );
                            self.error("extent", what);
                        }
                    }
                },
            }
        }
    }

    fn no_alias(&mut self, dst: &Access, reads: Vec<&Access>) {
        for read in reads.into_iter().filter(|r| r.buf == dst.buf) {
            let read = self.kernel.show(read).to_string();
            self.error(
                "alias",
                format!("`{read}` reads the buffer that is written"),
            );
        }
    }

    fn contract_axes(&mut self, axes: &[Axis], accesses: [&Access; 3]) {
        self.distinct("contract-axes", accesses[1]);
        self.distinct("contract-axes", accesses[2]);
        for axis in axes {
            let count = accesses
                .iter()
                .filter(|a| axes_of(a).contains(&axis.name))
                .count();
            if count == 1 {
                let what = format!(
                    "the axis `{}` occurs in one access, expected two or three",
                    axis.name
                );
                self.error("contract-axes", what);
            }
        }
    }

    /// Checks an expression; gives the local axes that occur.
    fn expr(&mut self, axes: &[Axis], names: &[Name], expr: &Expr) -> BTreeSet<Name> {
        match expr {
            Expr::Const(_) => BTreeSet::new(),
            Expr::Scalar(name) => {
                if !self.kernel.scalars.contains(name) {
                    self.error("unknown-name", format!("unknown scalar `{name}`"));
                }
                BTreeSet::new()
            }
            Expr::Elem(access) => {
                self.access(axes, access);
                axes_of(access)
            }
            Expr::Index(ix) => {
                self.index(ix, Leaves::Local(names));
                ix.axes()
                    .into_iter()
                    .filter(|a| names.contains(a))
                    .collect()
            }
            Expr::Add(a, b) | Expr::Mul(a, b) => {
                union(self.expr(axes, names, a), self.expr(axes, names, b))
            }
            Expr::Call(func, args) => {
                let (expected, given) = (func.arity(), args.len());
                if expected != given {
                    let name = func.name();
                    self.error(
                        "arity",
                        format!("`{name}` takes {expected} arguments, {given} are given"),
                    );
                }
                args.iter()
                    .flat_map(|a| self.expr(axes, names, a))
                    .collect()
            }
        }
    }
}

/// Every buffer access in an expression.
pub(super) fn reads(expr: &Expr) -> Vec<&Access> {
    match expr {
        Expr::Const(_) | Expr::Scalar(_) | Expr::Index(_) => vec![],
        Expr::Elem(access) => vec![access],
        Expr::Add(a, b) | Expr::Mul(a, b) => {
            let mut all = reads(a);
            all.extend(reads(b));
            all
        }
        Expr::Call(_, args) => args.iter().flat_map(reads).collect(),
    }
}

fn axes_of(access: &Access) -> BTreeSet<Name> {
    let axis = |place: &Place| match place {
        Place::Axis(name) => Some(name.clone()),
        Place::At(_) => None,
    };
    access.places.iter().filter_map(axis).collect()
}

fn union(mut a: BTreeSet<Name>, b: BTreeSet<Name>) -> BTreeSet<Name> {
    a.extend(b);
    a
}
