//! Name resolution of reads: batch axes, ranges of variables.

use super::hir::*;
use super::ranges::show;
use super::resolve::{Def, Resolver};
use super::statements::indices;
use crate::ast::{BinOp, Expr, Ident};
use crate::builtins::Reduction;
use mixc_ir::{Ix, Name};
use mixc_text::{Diagnostic, Span};

impl Resolver<'_> {
    /// The index of an axis that is not written: a variable called like it, or the batch axis.
    pub(super) fn batch_index(&mut self, size: &Name, span: Span) -> Option<H> {
        if let Some((_, var)) = self.ambient.iter().rev().find(|(n, _)| n == size) {
            let var = *var;
            return Some(self.node(HirKind::Var(var), span));
        }
        let outer = self
            .header
            .groups
            .iter()
            .find(|(_, g)| g == size)
            .map(|(h, _)| h.clone());
        if let Some(outer) = &outer
            && let Some((_, var)) = self.ambient.iter().rev().find(|(n, _)| n == outer)
        {
            // Heads h / (H / G) share the group.
            let var = *var;
            let head = self.node(HirKind::Var(var), span);
            let many = self.node(HirKind::Size(outer.clone()), span);
            let few = self.node(HirKind::Size(size.clone()), span);
            let share = self.node(HirKind::Bin(BinOp::Div, many, few), span);
            return Some(self.node(HirKind::Bin(BinOp::Div, head, share), span));
        }
        let known = self.batch.contains(size) || outer.is_some_and(|h| self.batch.contains(&h));
        known.then(|| self.node(HirKind::Batch(size.clone()), span))
    }

    // ---- reads ----

    pub(super) fn read(&mut self, name: &Ident, index: &[Expr], span: Span) -> H {
        let unknown = !self.values.contains_key(&name.name);
        if unknown && Reduction::by_name(&name.name).is_some() {
            let what = format!("the reduction `{}` has no argument", name.name);
            let error = Diagnostic::error("missing-argument", span, what).help(format!(
                "write `{}[j](...)`, with the argument in parentheses",
                name.name
            ));
            return self.poison(error);
        }
        let index: Vec<H> = index.iter().map(|e| self.expr(e)).collect();
        match self.values.get(&name.name).cloned() {
            Some(Def::Tensor(n)) => self.read_input(n, index, span),
            Some(Def::Local(sym)) => self.read_local(sym, index, span),
            Some(Def::Scalar(..) | Def::Alias(_)) => {
                let what = format!("`{}` is a single number and takes no index", name.name);
                self.poison(
                    Diagnostic::error("indexed-scalar", span, what)
                        .help(format!("write `{}`", name.name)),
                )
            }
            Some(Def::Gone(place)) => {
                let what = format!("`{}` lives for one step of the scan", name.name);
                let error = Diagnostic::error("step-value", span, what)
                    .label(place, "it is defined here, without the scan's index")
                    .help(format!(
                        "give it the scan's index to keep all steps: `{}[t, ...] = ...`",
                        name.name
                    ));
                self.poison(error)
            }
            Some(Def::Broken) => H::new(Hir::new(HirKind::Poison, span)),
            None => {
                let known = self.scope.iter().rev().any(|(n, _)| *n == name.name);
                let error = if known {
                    Diagnostic::error(
                        "indexed-scalar",
                        span,
                        format!("`{}` is an index variable, not a tensor", name.name),
                    )
                    .help(format!("write `{}`", name.name))
                } else {
                    self.unknown(&name.name, name.span())
                };
                self.poison(error)
            }
        }
    }

    pub(super) fn read_input(&mut self, n: usize, index: Vec<H>, span: Span) -> H {
        let decl = &self.header.tensors[n];
        let name = decl.tensor.name.clone();
        let rank = decl.tensor.shape.len() - usize::from(decl.complex);
        let shape = decl.tensor.shape[..rank].to_vec();
        let place = decl.span;
        let Some(lead) = rank.checked_sub(index.len()) else {
            let what = format!("`{name}` has {}, found {}", indices(rank), index.len());
            let error = Diagnostic::error("too-many-indices", span, what)
                .label(place, format!("declared with {rank} axes here"))
                .help("leave out indices from the left, or correct the declaration");
            return self.poison(error);
        };
        let mut full = vec![];
        for size in &shape[..lead] {
            let found = if let Ix::Dim(d) = size {
                self.batch_index(&d.clone(), span)
            } else {
                None
            };
            let Some(found) = found else {
                // Which axes are batch axes follows from the outputs.
                if !self.header.broken.is_empty() || !self.attempted.is_empty() {
                    return H::new(Hir::new(HirKind::Poison, span));
                }
                let error = self.unindexed(&name, size, span, place, rank, index.len());
                return self.poison(error);
            };
            full.push(found);
        }
        for (n, (position, size)) in index.into_iter().zip(&shape[lead..]).enumerate() {
            let why = format!(
                "axis {} of `{name}` has size `{}`",
                lead + n + 1,
                show(size)
            );
            if let HirKind::Var(var) = position.kind {
                self.var_runs_over(var, size.clone(), position.span, why);
            }
            full.push(position);
        }
        self.node(
            HirKind::Tensor {
                tensor: n,
                index: full,
            },
            span,
        )
    }

    pub(super) fn unindexed(
        &self,
        name: &str,
        size: &Ix,
        span: Span,
        place: Span,
        rank: usize,
        found: usize,
    ) -> Diagnostic {
        let size = show(size);
        let batch: Vec<&str> = self.batch.iter().map(|b| &**b).collect();
        let note = if batch.is_empty() {
            "no axis can be left out here: the outputs are indexed in full".to_string()
        } else {
            format!(
                "only batch axes can be left out; here they are {} (the axes that the outputs leave out)",
                batch.join(", ")
            )
        };
        Diagnostic::error(
            "unindexed-axis",
            span,
            format!("the axis `{size}` of `{name}` is not indexed"),
        )
        .at(format!("expected up to {}, found {found}", indices(rank)))
        .label(place, "it is declared here")
        .note(note)
        .help(format!(
            "add an index for `{size}`; heads that share are declared by `where H % {size} == 0`"
        ))
    }

    pub(super) fn var_runs_over(&mut self, var: VarId, size: Ix, span: Span, why: String) {
        let Var {
            range,
            explicit,
            name,
            ..
        } = self.vars[var.0].clone();
        if !explicit && let Err(error) = self.ranges.bind(range, size, span, why, &name) {
            self.poison(error);
        }
    }

    pub(super) fn read_local(&mut self, id: SymId, index: Vec<H>, span: Span) -> H {
        let sym = self.syms[id.0].clone();
        if sym.axes.len() != index.len() {
            let what = format!(
                "`{}` has {}, found {}",
                sym.name,
                indices(sym.axes.len()),
                index.len()
            );
            let error = Diagnostic::error("wrong-rank", span, what)
                .label(sym.span, "it is defined here")
                .help(self.usage(&sym));
            return self.poison(error);
        }
        let scan_var = self.scan.as_ref().map(|s| s.var);
        if !sym.defined
            && let Some(at) = sym.time
        {
            let now = matches!((&index[at].kind, scan_var), (HirKind::Var(v), Some(t)) if *v == t);
            if now {
                let what = format!("`{}` is read before this step has set it", sym.name);
                let error = Diagnostic::error("too-early", span, what)
                    .label(sym.span, "it is set here")
                    .help("read an earlier step, `t - 1`, or move this line behind the definition");
                return self.poison(error);
            }
        }
        for (position, axis) in index.iter().zip(&sym.axes) {
            if let HirKind::Var(var) = position.kind
                && !self.vars[var.0].explicit
            {
                let Var { range, name, .. } = self.vars[var.0].clone();
                if let Err(error) = self.ranges.union(range, *axis, position.span, &name) {
                    self.poison(error);
                }
            }
        }
        let captured = self.ambient.clone();
        self.node(
            HirKind::Local {
                sym: id,
                index,
                captured,
            },
            span,
        )
    }

    /// How a local tensor is read.
    pub(super) fn usage(&self, sym: &Sym) -> String {
        let names: Vec<&str> = sym
            .vars
            .iter()
            .map(|v| self.vars[v.0].name.as_str())
            .collect();
        match names.is_empty() {
            true => format!("write `{}`", sym.name),
            false => format!("write `{}[{}]`", sym.name, names.join(", ")),
        }
    }
}
