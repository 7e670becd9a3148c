//! Name resolution of statements: left sides, functions.

use super::hir::*;
use super::resolve::{Binding, Def, FnDef, Resolver};
use crate::ast::{Binder, Expr, Ident, Target};
use mixc_ir::Ix;
use mixc_text::{Diagnostic, Span};

impl<'m> Resolver<'m> {
    pub(super) fn target_vars(&mut self, target: &Target) -> Vec<VarId> {
        let mut vars = vec![];
        for binder in &target.vars {
            let of_scan = self
                .scan
                .as_ref()
                .filter(|s| s.name == binder.name.name)
                .map(|s| s.var);
            match of_scan {
                Some(var) => {
                    if vars.contains(&var) {
                        self.repeated_index(binder);
                    }
                    self.scope
                        .push((binder.name.name.clone(), Binding::Var(var)));
                    vars.push(var);
                }
                None if target.vars.iter().filter(|b| b.name == binder.name).count() > 1
                    && vars
                        .iter()
                        .any(|v: &VarId| self.vars[v.0].name == binder.name.name) =>
                {
                    self.repeated_index(binder);
                    vars.push(self.fresh_copy(binder));
                }
                None => vars.push(self.push_var(binder)),
            }
        }
        vars
    }

    pub(super) fn fresh_copy(&mut self, binder: &Binder) -> VarId {
        let range = self.ranges.fresh();
        let span = binder.name.span();
        self.vars.push(Var {
            name: binder.name.name.clone(),
            range,
            explicit: false,
            span,
        });
        self.scope.push((
            binder.name.name.clone(),
            Binding::Var(VarId(self.vars.len() - 1)),
        ));
        VarId(self.vars.len() - 1)
    }

    pub(super) fn repeated_index(&mut self, binder: &Binder) {
        let name = &binder.name.name;
        let error = Diagnostic::error(
            "repeated-index",
            binder.name.span(),
            format!("`{name}` stands twice on this left side"),
        )
        .help(format!(
            "use two variables and compare them on the right: `... if {name} == {name}2 else 0`"
        ));
        self.errors.push(error);
    }

    pub(super) fn new_sym(&mut self, name: &str, span: Span, vars: &[VarId], life: Life) -> SymId {
        let id = SymId(self.syms.len());
        let axes = vars.iter().map(|v| self.vars[v.0].range).collect();
        let time = self
            .scan
            .as_ref()
            .and_then(|s| vars.iter().position(|v| *v == s.var));
        self.syms.push(Sym {
            name: name.to_string(),
            span,
            axes,
            vars: vars.to_vec(),
            root: id,
            output: None,
            life,
            time,
            defined: true,
        });
        id
    }

    pub(super) fn definition(&mut self, target: &Target, value: &'m Expr) -> Option<HLet> {
        let name = target.name.name.as_str();
        let vars = self.target_vars(target);
        self.defining = Some(name.to_string());
        let carry = self
            .scan
            .as_ref()
            .and_then(|s| s.carries.iter().position(|(n, ..)| n == name));
        let sym = match carry {
            Some(n) => self.next_version(n, target, &vars),
            None => self.define(target, &vars),
        };
        let hir = self.expr(value);
        self.defining = None;
        self.pop_vars(&vars);
        if sym.is_none() {
            self.attempted.insert(name.to_string());
        }
        if let (Some(n), Some(scan)) = (carry, &mut self.scan) {
            scan.carries[n].2 = true;
        }
        let sym = sym?;
        if let Some(n) = carry {
            self.values.insert(name.to_string(), Def::Local(sym));
            if let Some(scan) = &mut self.scan {
                scan.carries[n].1 = sym;
            }
        } else if vars.is_empty() && self.syms[sym.0].output.is_none() && over_sizes(&hir) {
            self.values.insert(name.to_string(), Def::Alias(hir));
            return None;
        } else {
            self.values.insert(name.to_string(), Def::Local(sym));
        }
        self.syms[sym.0].defined = true;
        Some(HLet {
            sym,
            vars,
            value: hir,
        })
    }

    /// A new state: its axes are those of the carried one.
    pub(super) fn next_version(
        &mut self,
        carry: usize,
        target: &Target,
        vars: &[VarId],
    ) -> Option<SymId> {
        let old = self.scan.as_ref()?.carries[carry].1;
        let expected = self.syms[old.0].axes.clone();
        if expected.len() != vars.len() {
            let what = format!(
                "the state `{}` has {}, found {}",
                target.name.name,
                indices(expected.len()),
                vars.len()
            );
            let error = Diagnostic::error("carry-rank", target.at.0, what)
                .label(self.syms[old.0].span, "it is introduced here")
                .help("write the same number of index variables on both left sides");
            self.errors.push(error);
            return None;
        }
        for (var, axis) in vars.iter().zip(&expected) {
            let Var {
                range, span, name, ..
            } = self.vars[var.0].clone();
            let result = self.ranges.union(range, *axis, span, &name);
            self.errors.extend(result.err());
        }
        let sym = self.new_sym(&target.name.name, target.name.span(), vars, Life::Step);
        let root = self.syms[old.0].root;
        self.syms[sym.0].root = root;
        Some(sym)
    }

    /// An output, a collected tensor (which was announced when the scan began) or a local one.
    pub(super) fn define(&mut self, target: &Target, vars: &[VarId]) -> Option<SymId> {
        let name = target.name.name.as_str();
        if let Some(Def::Local(id)) = self.values.get(name)
            && !self.syms[id.0].defined
        {
            let id = *id;
            for (n, var) in vars.iter().enumerate() {
                let (range, span) = (self.vars[var.0].range, self.vars[var.0].span);
                if let Some(axis) = self.syms[id.0].axes.get(n).copied() {
                    let result = self
                        .ranges
                        .union(range, axis, span, &target.vars[n].name.name);
                    self.errors.extend(result.err());
                }
            }
            self.syms[id.0].vars = vars.to_vec();
            self.output_shape(id, target, vars);
            return Some(id);
        }
        if self.redefined(target) {
            return None;
        }
        let life = if self.scan.is_some() {
            Life::Step
        } else {
            Life::Program
        };
        let id = self.new_sym(name, target.name.span(), vars, life);
        self.output_shape(id, target, vars);
        if self.syms[id.0].output.is_some() && life == Life::Step {
            let scan_var = self.scan.as_ref().map_or("t", |s| s.name.as_str());
            let error = Diagnostic::error(
                "output-in-step",
                target.at.0,
                format!("the output `{name}` is assigned in every step of the scan"),
            )
            .note("without the scan's index it would keep the value of one step only")
            .help(format!(
                "write `{name}[{scan_var}, ...]`, or assign it behind the scan"
            ));
            self.errors.push(error);
            return None;
        }
        Some(id)
    }

    pub(super) fn redefined(&mut self, target: &Target) -> bool {
        let name = target.name.name.as_str();
        let (first, what) = match self.values.get(name) {
            Some(Def::Tensor(n)) => (self.header.tensors[*n].span, "it is a parameter"),
            Some(Def::Scalar(..)) => {
                let decl = self.header.scalars.iter().find(|s| &*s.name == name);
                (decl.map_or(target.at.0, |s| s.span), "it is a parameter")
            }
            Some(Def::Local(id)) => (self.syms[id.0].span, "it is defined here"),
            Some(Def::Alias(h)) => (h.span, "it is defined here"),
            Some(Def::Gone(_) | Def::Broken) | None => return false,
        };
        let error = Diagnostic::error(
            "redefined",
            target.at.0,
            format!("`{name}` has a value already"),
        )
        .label(first, what)
        .note("every name is defined once; only a state carried by a scan changes")
        .help(format!("call the new value `{name}2`"));
        self.errors.push(error);
        true
    }

    /// If the symbol is an output, its axes run over the declared sizes.
    pub(super) fn output_shape(&mut self, id: SymId, target: &Target, vars: &[VarId]) {
        let name = target.name.name.as_str();
        let Some(n) = self.header.outputs.iter().position(|o| &*o.name == name) else {
            return;
        };
        self.syms[id.0].output = Some(n);
        let decl = &self.header.outputs[n];
        let Some(lead) = decl.shape.len().checked_sub(vars.len()) else {
            let what = format!(
                "the output `{name}` has {}, found {}",
                indices(decl.shape.len()),
                vars.len()
            );
            let error = Diagnostic::error("output-rank", target.at.0, what)
                .label(decl.span, "it is declared here")
                .help("leave out indices from the left, or correct the declaration");
            self.errors.push(error);
            self.attempted.insert(name.to_string());
            return;
        };
        if let Some(fixed) = decl.shape[..lead].iter().find(|s| !matches!(s, Ix::Dim(_))) {
            let what = format!(
                "the leading axis `{}` of `{name}` has to be indexed",
                super::ranges::show(fixed)
            );
            let error = Diagnostic::error("output-rank", target.at.0, what)
                .note("only axes whose size is a plain name can be left out")
                .help("give it an index variable");
            self.errors.push(error);
        }
        if let Some(twice) = (1..lead).find(|n| decl.shape[..*n].contains(&decl.shape[*n])) {
            let what = format!(
                "two leading axes of `{name}` have the size `{}`",
                super::ranges::show(&decl.shape[twice])
            );
            let error = Diagnostic::error("output-rank", target.at.0, what)
                .note("axes that are left out are told apart by their sizes")
                .help("index them");
            self.errors.push(error);
        }
        for (n, var) in vars.iter().enumerate() {
            let size = decl.shape[lead + n].clone();
            let Var {
                range,
                span,
                name: var_name,
                ..
            } = self.vars[var.0].clone();
            let why = format!(
                "axis {} of the output `{name}` has size `{}`",
                lead + n + 1,
                super::ranges::show(&size)
            );
            let result = self.ranges.bind(range, size, span, why, &var_name);
            self.errors.extend(result.err());
        }
    }

    pub(super) fn function(&mut self, name: &'m Ident, params: &'m [Ident], body: &'m Expr) {
        let taken = self.functions.get(&name.name).map(|f| f.name.span());
        if let Some(first) = taken {
            let error = Diagnostic::error(
                "redefined",
                name.span(),
                format!("the function `{}` is defined twice", name.name),
            )
            .label(first, "the first definition is here")
            .help("rename one of them");
            self.errors.push(error);
        } else if crate::builtins::Fun::by_name(&name.name).is_some() {
            let error = Diagnostic::error(
                "redefined",
                name.span(),
                format!("`{}` is a built-in function", name.name),
            )
            .help(format!("call yours `my_{}`", name.name));
            self.errors.push(error);
        }
        if let Some(twice) = params
            .iter()
            .enumerate()
            .find(|(n, p)| params[..*n].contains(p))
            .map(|(_, p)| p)
        {
            let what = format!("two parameters are called `{}`", twice.name);
            self.errors.push(
                Diagnostic::error("repeated-index", twice.span(), what).help("rename one of them"),
            );
        }
        let def = FnDef {
            name,
            params,
            body,
            index: self.functions.len(),
        };
        self.functions.insert(name.name.clone(), def);
        // A function that nobody calls is checked all the same.
        let poison = || Binding::Arg(H::new(Hir::new(HirKind::Poison, name.span())));
        let args = params.iter().map(|p| (p.name.clone(), poison())).collect();
        self.call_body(def, args);
    }
}

/// An integer expression over sizes and integer parameters alone.
fn over_sizes(h: &H) -> bool {
    use crate::ast::BinOp;
    use crate::builtins::Fun;
    match &h.kind {
        HirKind::Int(_) | HirKind::Size(_) => true,
        HirKind::Neg(a) => over_sizes(a),
        HirKind::Bin(op, a, b) => *op != BinOp::Pow && over_sizes(a) && over_sizes(b),
        HirKind::Call(Fun::Min | Fun::Max, args) => args.iter().all(over_sizes),
        _ => false,
    }
}

pub(super) fn indices(n: usize) -> String {
    if n == 1 {
        "1 index".into()
    } else {
        format!("{n} indices")
    }
}
