//! Resolved definitions to core statements.

use super::axes::{AxisTable, NameTable};
use super::header::Header;
use super::hir::*;
use super::kinds::{Facts, Type};
use super::ranges::show;
use super::value::*;
use mixc_ir::{Carry, Func, Ix, Let, Name, Output, Scan, Stmt, T, Term};
use mixc_text::{Diagnostic, Span};
use std::collections::BTreeMap;

/// Names that a symbol has in the core program: one, or the real and the imaginary part.
#[derive(Clone, Debug)]
pub(super) enum CoreName {
    One(Name),
    Pair(Name, Name),
}

pub struct Lower<'a> {
    pub(super) header: &'a Header<'a>,
    pub(super) syms: &'a [Sym],
    pub(super) vars: &'a [Var],
    /// Size of every variable.
    pub(super) sizes: Vec<Ix>,
    pub(super) facts: Facts,
    pub(super) axes: AxisTable,
    names: BTreeMap<SymId, CoreName>,
    /// The core axis that a variable stands for at this moment.
    pub(super) axis_of: BTreeMap<VarId, Name>,
    /// Batch axes of the statement at hand.
    context: Vec<Name>,
    pub(super) weights: super::lower_expr::Weights,
    pub errors: Vec<Diagnostic>,
}

impl<'a> Lower<'a> {
    pub fn new(
        header: &'a Header<'a>,
        syms: &'a [Sym],
        vars: &'a [Var],
        sizes: Vec<Ix>,
        facts: Facts,
    ) -> Lower<'a> {
        Lower {
            header,
            syms,
            vars,
            sizes,
            facts,
            axes: AxisTable::default(),
            names: BTreeMap::new(),
            axis_of: BTreeMap::new(),
            context: vec![],
            weights: Default::default(),
            errors: vec![],
        }
    }

    pub fn program(&mut self, body: &[HStmt]) -> (Vec<Stmt>, Vec<Output>) {
        self.name_everything(body);
        let mut out = vec![];
        for stmt in body {
            match stmt {
                HStmt::Let(l) => out.extend(self.definition(l).into_iter().map(Stmt::Let)),
                HStmt::Scan {
                    var,
                    reverse,
                    carries,
                    body,
                } => {
                    let scan = self.scan(*var, *reverse, carries, body);
                    out.push(Stmt::Scan(scan));
                }
            }
        }
        (out, self.outputs())
    }

    // ---- names and axes ----

    /// Left sides name their axes first, so that they keep the names that the user wrote.
    fn name_everything(&mut self, body: &[HStmt]) {
        for size in &self.header.sizes.dims.clone() {
            if (0..self.syms.len()).any(|n| self.batch_of(SymId(n)).contains(size)) {
                self.axes
                    .shared(&size.to_lowercase(), &Ix::Dim(size.clone()));
            }
        }
        let mut names = NameTable::default();
        self.header
            .tensors
            .iter()
            .for_each(|t| names.reserve(t.tensor.name.clone()));
        self.header
            .scalars
            .iter()
            .for_each(|s| names.reserve(s.name.clone()));
        self.header
            .outputs
            .iter()
            .for_each(|o| names.reserve(o.name.clone()));
        for stmt in body {
            match stmt {
                HStmt::Let(l) => self.name_let(l, &mut names, ""),
                HStmt::Scan {
                    var, carries, body, ..
                } => {
                    let axis = self
                        .axes
                        .shared(&self.vars[var.0].name.clone(), &self.sizes[var.0].clone());
                    self.axis_of.insert(*var, axis);
                    for c in carries {
                        self.own_axes(&c.vars);
                        self.name_sym(c.sym, &mut names, "");
                    }
                    for l in body {
                        let is_state = self.syms[l.sym.0].root != l.sym;
                        self.name_let(l, &mut names, if is_state { "'" } else { "" });
                    }
                    carries
                        .iter()
                        .for_each(|c| self.name_sym(c.last, &mut names, "_last"));
                }
            }
        }
    }

    fn own_axes(&mut self, vars: &[VarId]) {
        for var in vars {
            let axis = self
                .axes
                .shared(&self.vars[var.0].name.clone(), &self.sizes[var.0].clone());
            self.axis_of.insert(*var, axis);
        }
    }

    fn name_let(&mut self, l: &HLet, names: &mut NameTable, suffix: &str) {
        let root = &self.syms[self.syms[l.sym.0].root.0];
        if root.vars != l.vars && self.syms[l.sym.0].root != l.sym {
            // A new version of a state is a tensor over the axes of the state.
            for (var, axis) in l.vars.iter().zip(&root.vars) {
                let axis = self.axis(*axis);
                self.axis_of.insert(*var, axis);
            }
        } else {
            self.own_axes(&l.vars);
        }
        self.name_sym(l.sym, names, suffix);
    }

    fn name_sym(&mut self, id: SymId, names: &mut NameTable, suffix: &str) {
        let sym = &self.syms[id.0];
        let base = &sym.name;
        let core = if self.facts.types[id.0] == Type::Complex {
            CoreName::Pair(
                names.fresh(&format!("{base}_re{suffix}")),
                names.fresh(&format!("{base}_im{suffix}")),
            )
        } else if sym.output.is_some() {
            CoreName::One(base.as_str().into())
        } else {
            CoreName::One(names.fresh(&format!("{base}{suffix}")))
        };
        self.names.insert(id, core);
    }

    pub(super) fn core_name(&self, id: SymId) -> CoreName {
        self.names
            .get(&id)
            .cloned()
            .unwrap_or_else(|| CoreName::One(self.syms[id.0].name.as_str().into()))
    }

    /// Batch axes of a symbol in the order of declaration, those of groups only where the heads
    /// that share them are absent. Outputs have theirs in the declared order.
    pub(super) fn batch_of(&self, id: SymId) -> Vec<Name> {
        let sym = &self.syms[id.0];
        if let Some(out) = sym.output.map(|o| &self.header.outputs[o]) {
            let lead = out.shape.len().saturating_sub(sym.axes.len());
            return out.axis_names[..lead].to_vec();
        }
        let all = &self.facts.batch[id.0];
        let grouped = |size: &Name| {
            self.header
                .groups
                .iter()
                .any(|(h, g)| g == size && all.contains(h))
        };
        self.header
            .sizes
            .dims
            .iter()
            .filter(|d| all.contains(*d) && !grouped(d))
            .cloned()
            .collect()
    }

    /// The position along a batch axis in the statement at hand.
    pub(super) fn batch_index(&mut self, size: &Name) -> Option<Ix> {
        if self.context.contains(size) {
            return Some(Ix::Axis(
                self.axes
                    .shared(&size.to_lowercase(), &Ix::Dim(size.clone())),
            ));
        }
        let outer = self
            .header
            .groups
            .iter()
            .find(|(h, g)| g == size && self.context.contains(h))?
            .0
            .clone();
        let head = Ix::Axis(
            self.axes
                .shared(&outer.to_lowercase(), &Ix::Dim(outer.clone())),
        );
        Some(head / (Ix::Dim(outer) / Ix::Dim(size.clone())))
    }

    fn enter(&mut self, id: SymId) -> Vec<Name> {
        self.context = self.batch_of(id);
        let sizes = self.context.clone();
        sizes
            .iter()
            .map(|s| self.axes.shared(&s.to_lowercase(), &Ix::Dim(s.clone())))
            .collect()
    }

    /// The axis of a variable; after a mistake, when no program is built, it may have none.
    fn axis(&self, var: VarId) -> Name {
        self.axis_of
            .get(&var)
            .cloned()
            .unwrap_or_else(|| self.vars[var.0].name.as_str().into())
    }

    fn var_axes(&self, vars: &[VarId]) -> Vec<Name> {
        vars.iter().map(|v| self.axis(*v)).collect()
    }

    // ---- statements ----

    fn definition(&mut self, l: &HLet) -> Vec<Let> {
        let mut axes = self.enter(l.sym);
        axes.extend(self.var_axes(&l.vars));
        self.check_output_axes(l);
        let value = self.expr(&l.value);
        let parts = self.store(l.sym, value, l.value.span);
        let mut lets: Vec<Let> = match (self.core_name(l.sym), parts) {
            (CoreName::One(name), (value, _)) => vec![Let {
                name,
                axes: axes.clone(),
                value,
            }],
            (CoreName::Pair(re, im), (a, b)) => {
                vec![
                    Let {
                        name: re,
                        axes: axes.clone(),
                        value: a,
                    },
                    Let {
                        name: im,
                        axes: axes.clone(),
                        value: b,
                    },
                ]
            }
        };
        if let (Some(out), CoreName::Pair(re, im)) =
            (self.syms[l.sym.0].output, self.core_name(l.sym))
        {
            let part = self.axes.shared("reim", &Ix::Const(2));
            let read =
                |name: &Name| Term::read(name, axes.iter().map(|a| Ix::Axis(a.clone())).collect());
            let first = map2(Func::Eq, index(Ix::Axis(part.clone())), index(Ix::Const(0)));
            let value = Term::map(Func::Select, vec![first, read(&re), read(&im)]);
            axes.push(part);
            lets.push(Let {
                name: self.header.outputs[out].name.clone(),
                axes,
                value,
            });
        }
        lets
    }

    /// An output depends on no batch axis but its own.
    fn check_output_axes(&mut self, l: &HLet) {
        let sym = &self.syms[l.sym.0];
        let Some(out) = sym.output.map(|o| &self.header.outputs[o]) else {
            return;
        };
        let missing = self.facts.batch[l.sym.0].iter().find(|size| {
            let shared = self
                .header
                .groups
                .iter()
                .any(|(h, g)| g == *size && self.context.contains(h));
            !self.context.contains(size) && !shared
        });
        if self.facts.types[l.sym.0] == Type::Complex && !out.complex {
            let error = Diagnostic::error(
                "complex-output",
                l.value.span,
                format!("the value of `{}` is complex", out.name),
            )
            .label(out.span, "declared as real here")
            .help(format!(
                "take `re(...)` or `abs(...)` of it, or declare `{}: complex [...]`",
                out.name
            ));
            self.errors.push(error);
        }
        if let Some(size) = missing {
            let what = format!(
                "the output `{}` has no axis `{size}`, but its value depends on it",
                out.name
            );
            let shape: Vec<String> = out.shape.iter().map(show).collect();
            let error = Diagnostic::error("missing-batch-axis", sym.span, what)
                .label(out.span, format!("declared as [{}] here", shape.join(", ")))
                .help(format!("add `{size}` to its shape, or reduce over it"));
            self.errors.push(error);
        }
    }

    /// The value as its symbol holds it: one term, or two for a complex one.
    fn store(&mut self, id: SymId, value: Value, span: Span) -> (T, T) {
        let ty = self.facts.types[id.0];
        match (ty, value) {
            (_, Value::Poison) => (Term::zero(), Term::zero()),
            (Type::Complex, value) => self.complex(value, span),
            (Type::Int | Type::Bool, Value::Int(i)) => (i.term, Term::zero()),
            (Type::Int | Type::Bool, Value::Bool(t)) => (t, Term::zero()),
            (_, value) => (self.real(value, span), Term::zero()),
        }
    }

    fn scan(&mut self, var: VarId, reverse: bool, carries: &[HCarry], body: &[HLet]) -> Scan {
        let mut out = Scan {
            axis: self.axis(var),
            reverse,
            carries: vec![],
            body: vec![],
        };
        for c in carries {
            let mut axes = self.enter(c.sym);
            axes.extend(self.var_axes(&c.vars));
            let value = self.expr(&c.init);
            let (re, im) = self.store(c.sym, value, c.init.span);
            let names = [
                self.core_name(c.sym),
                self.core_name(c.next),
                self.core_name(c.last),
            ];
            match names {
                [
                    CoreName::One(name),
                    CoreName::One(next),
                    CoreName::One(last),
                ] => {
                    out.carries.push(Carry {
                        name,
                        axes,
                        init: re,
                        next,
                        last,
                    });
                }
                [
                    CoreName::Pair(a, b),
                    CoreName::Pair(an, bn),
                    CoreName::Pair(al, bl),
                ] => {
                    out.carries.push(Carry {
                        name: a,
                        axes: axes.clone(),
                        init: re,
                        next: an,
                        last: al,
                    });
                    out.carries.push(Carry {
                        name: b,
                        axes,
                        init: im,
                        next: bn,
                        last: bl,
                    });
                }
                _ => {}
            }
        }
        for l in body {
            out.body.extend(self.definition(l));
        }
        out
    }

    fn outputs(&mut self) -> Vec<Output> {
        let mut outputs = vec![];
        for (n, decl) in self.header.outputs.iter().enumerate() {
            let Some((id, sym)) = self
                .syms
                .iter()
                .enumerate()
                .find(|(_, s)| s.output == Some(n))
            else {
                continue;
            };
            let mut axes = self.enter(SymId(id));
            axes.extend(self.var_axes(&sym.vars));
            let mut axis_names = decl.axis_names.clone();
            if self.facts.types[id] == Type::Complex {
                axes.push(self.axes.shared("reim", &Ix::Const(2)));
                axis_names.push("reim".into());
            }
            outputs.push(Output {
                name: decl.name.clone(),
                axes,
                axis_names,
            });
        }
        outputs
    }
}
