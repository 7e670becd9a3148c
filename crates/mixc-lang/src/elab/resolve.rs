//! Name resolution: statements to resolved definitions.

use super::header::Header;
use super::hir::*;
use super::ranges::{RangeId, Ranges};
use crate::ast::{Binder, Expr, Ident, Scan, Stmt, StmtKind, Target};
use mixc_ir::{Ix, Kind, Name};
use mixc_text::{Diagnostic, Span};
use std::collections::{BTreeMap, BTreeSet};

/// What a value name stands for.
#[derive(Clone, Debug)]
pub(super) enum Def {
    Tensor(usize),
    Scalar(Name, Kind),
    Local(SymId),
    /// A name for an expression over sizes: expanded where it is used.
    Alias(H),
    /// A parameter whose declaration is a mistake.
    Broken,
    /// A definition of a scan's body, behind the scan.
    Gone(Span),
}

#[derive(Clone, Debug)]
pub(super) enum Binding {
    Var(VarId),
    /// A function's parameter.
    Arg(H),
}

#[derive(Clone, Copy)]
pub(super) struct FnDef<'m> {
    pub name: &'m Ident,
    pub params: &'m [Ident],
    pub body: &'m Expr,
    /// Functions before this one may be called from its body.
    pub index: usize,
}

pub struct Resolver<'m> {
    pub header: &'m Header<'m>,
    pub vars: Vec<Var>,
    pub syms: Vec<Sym>,
    pub ranges: Ranges,
    pub errors: Vec<Diagnostic>,
    /// Sizes whose axes need not be repeated in the body.
    pub batch: Vec<Name>,
    pub(super) values: BTreeMap<String, Def>,
    pub(super) functions: BTreeMap<String, FnDef<'m>>,
    pub(super) visible_functions: usize,
    /// Names in scope, innermost last.
    pub(super) scope: Vec<(String, Binding)>,
    /// Variables that index a batch axis by being called like it, innermost last.
    pub(super) ambient: Vec<(Name, VarId)>,
    pub(super) scan: Option<ScanScope>,
    /// Outputs whose definition was a mistake: they are not missing.
    pub(super) attempted: BTreeSet<String>,
    /// The name that is being defined, for messages.
    pub(super) defining: Option<String>,
    pub(super) calls: usize,
    pub(super) created: usize,
}

pub(super) struct ScanScope {
    pub var: VarId,
    pub name: String,
    /// Carried states by name: the current version, and whether a step has changed it.
    pub carries: Vec<(String, SymId, bool)>,
}

impl<'m> Resolver<'m> {
    pub fn new(header: &'m Header<'m>) -> Resolver<'m> {
        let mut ranges = Ranges::default();
        for c in &header.constraints {
            if let (Ix::Dim(a), mixc_ir::Relation::Eq, Ix::Dim(b)) = (&c.left, c.relation, &c.right)
            {
                let root = ranges.equal.get(a).cloned().unwrap_or_else(|| a.clone());
                ranges.equal.insert(b.clone(), root);
            }
        }
        Resolver {
            header,
            vars: vec![],
            syms: vec![],
            ranges,
            errors: vec![],
            batch: vec![],
            values: BTreeMap::new(),
            functions: BTreeMap::new(),
            visible_functions: usize::MAX,
            scope: vec![],
            ambient: vec![],
            scan: None,
            attempted: BTreeSet::new(),
            defining: None,
            calls: 0,
            created: 0,
        }
    }

    /// Makes the scalars known one by one, each default seeing the scalars before it.
    pub fn scalars(&mut self) -> Vec<Option<H>> {
        let header = self.header;
        let resolve = |s: &super::header::ScalarDecl<'m>, this: &mut Self| {
            let default = s.default.map(|e| this.expr(e));
            this.values
                .insert(s.name.to_string(), Def::Scalar(s.name.clone(), s.kind));
            default
        };
        header.scalars.iter().map(|s| resolve(s, self)).collect()
    }

    pub fn body(&mut self, stmts: &'m [Stmt]) -> Vec<HStmt> {
        for (n, t) in self.header.tensors.iter().enumerate() {
            self.values
                .insert(t.tensor.name.to_string(), Def::Tensor(n));
        }
        for name in &self.header.broken {
            self.values.entry(name.clone()).or_insert(Def::Broken);
        }
        self.find_batch_axes(stmts);
        let mut out = vec![];
        for stmt in stmts {
            match &stmt.kind {
                StmtKind::Let { target, value } => {
                    out.extend(self.definition(target, value).map(HStmt::Let))
                }
                StmtKind::Function { name, params, body } => self.function(name, params, body),
                StmtKind::Scan(scan) => out.extend(self.scan(scan)),
            }
        }
        for decl in &self.header.outputs {
            let defined = matches!(self.values.get(&*decl.name), Some(Def::Local(s)) if self.syms[s.0].output.is_some());
            let twice = self
                .header
                .tensors
                .iter()
                .any(|t| t.tensor.name == decl.name);
            if !defined && !twice && !self.attempted.contains(&*decl.name) {
                let error = Diagnostic::error(
                    "missing-output",
                    decl.span,
                    format!("the output `{}` is never assigned", decl.name),
                )
                .help(format!("add `{}[...] = ...` to the body", decl.name));
                self.errors.push(error);
            }
        }
        out
    }

    /// Batch axes are the leading axes that an output declares and its definition leaves out.
    fn find_batch_axes(&mut self, stmts: &[Stmt]) {
        let mut targets: Vec<&Target> = vec![];
        for stmt in stmts {
            match &stmt.kind {
                StmtKind::Let { target, .. } => targets.push(target),
                StmtKind::Scan(scan) => {
                    targets.extend(scan.body.iter().filter_map(|s| match &s.kind {
                        StmtKind::Let { target, .. } => Some(target),
                        _ => None,
                    }))
                }
                StmtKind::Function { .. } => {}
            }
        }
        for target in targets {
            let Some(out) = self
                .header
                .outputs
                .iter()
                .find(|o| *o.name == *target.name.name)
            else {
                continue;
            };
            let omitted = out.shape.len().saturating_sub(target.vars.len());
            for size in &out.shape[..omitted] {
                if let Ix::Dim(name) = size
                    && !self.batch.contains(name)
                {
                    self.batch.push(name.clone());
                }
            }
        }
        let dims = &self.header.sizes.dims;
        self.batch.sort_by_key(|b| dims.iter().position(|d| d == b));
    }

    // ---- index variables ----

    pub(super) fn push_var(&mut self, binder: &Binder) -> VarId {
        let name = &binder.name.name;
        let span = binder.name.span();
        let shadowed = self
            .scope
            .iter()
            .any(|(n, b)| n == name && matches!(b, Binding::Var(_)));
        if shadowed {
            let error = Diagnostic::error(
                "shadowed-index",
                span,
                format!("the index variable `{name}` is already in use here"),
            )
            .help(format!("call the inner one `{name}2`"));
            self.errors.push(error);
        }
        let range = self.ranges.fresh();
        let id = VarId(self.vars.len());
        self.vars.push(Var {
            name: name.clone(),
            range,
            explicit: binder.range.is_some(),
            span,
        });
        if let Some(expr) = &binder.range {
            match self.header.sizes.size(expr) {
                Ok(Some(size)) => {
                    let why = format!("`{name}` is given the range `{expr}` here");
                    let bound = self.ranges.bind(range, size, expr.span(), why, name);
                    self.errors.extend(bound.err());
                }
                Ok(None) => self.poison_range(range),
                Err(error) => {
                    self.errors.push(error);
                    self.poison_range(range);
                }
            }
        }
        self.name_batch_axis(id);
        self.scope.push((name.clone(), Binding::Var(id)));
        id
    }

    /// After a mistake in a range any size will do: nothing is built.
    fn poison_range(&mut self, range: RangeId) {
        let _ = self
            .ranges
            .bind(range, Ix::Const(1), Span::default(), String::new(), "");
    }

    /// A variable called like a batch axis is that axis.
    fn name_batch_axis(&mut self, id: VarId) {
        let (name, range, span) = (
            self.vars[id.0].name.clone(),
            self.vars[id.0].range,
            self.vars[id.0].span,
        );
        let grouped = self
            .header
            .groups
            .iter()
            .filter(|(h, _)| self.batch.contains(h))
            .map(|(_, g)| g);
        let Some(size) = self
            .batch
            .iter()
            .chain(grouped)
            .find(|b| b.to_lowercase() == name)
            .cloned()
        else {
            return;
        };
        let why = format!("`{name}` is the index of the batch axis `{size}`");
        let bound = self
            .ranges
            .bind(range, Ix::Dim(size.clone()), span, why, &name);
        self.errors.extend(bound.err());
        self.ambient.push((size, id));
    }

    pub(super) fn pop_vars(&mut self, vars: &[VarId]) {
        for var in vars.iter().rev() {
            self.scope.pop();
            let of_scan = self.scan.as_ref().is_some_and(|s| s.var == *var);
            if !of_scan && self.ambient.last().is_some_and(|(_, v)| v == var) {
                self.ambient.pop();
            }
        }
    }

    // ---- statements ----

    fn target_vars(&mut self, target: &Target) -> Vec<VarId> {
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

    fn fresh_copy(&mut self, binder: &Binder) -> VarId {
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

    fn repeated_index(&mut self, binder: &Binder) {
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

    fn definition(&mut self, target: &Target, value: &'m Expr) -> Option<HLet> {
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
    fn next_version(&mut self, carry: usize, target: &Target, vars: &[VarId]) -> Option<SymId> {
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
    fn define(&mut self, target: &Target, vars: &[VarId]) -> Option<SymId> {
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

    fn redefined(&mut self, target: &Target) -> bool {
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
    fn output_shape(&mut self, id: SymId, target: &Target, vars: &[VarId]) {
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

    fn function(&mut self, name: &'m Ident, params: &'m [Ident], body: &'m Expr) {
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

    // ---- scans ----

    fn scan(&mut self, scan: &'m Scan) -> Option<HStmt> {
        let var = self.push_var(&scan.var);
        let name = scan.var.name.name.clone();
        let mut carries = vec![];
        let mut inits = vec![];
        for carry in &scan.carries {
            let vars = self.target_vars(&carry.target);
            let init = self.expr(&carry.init);
            self.pop_vars(&vars);
            let defined = !self.redefined(&carry.target)
                && !carries
                    .iter()
                    .any(|(n, ..): &(String, SymId, bool)| *n == carry.target.name.name);
            let sym = self.new_sym(
                &carry.target.name.name,
                carry.target.name.span(),
                &vars,
                Life::Step,
            );
            if defined {
                carries.push((carry.target.name.name.clone(), sym, false));
            }
            inits.push((carry, sym, vars, init));
        }
        for (name, sym, _) in &carries {
            self.values.insert(name.clone(), Def::Local(*sym));
        }
        let before: Vec<String> = self.values.keys().cloned().collect();
        let functions: Vec<String> = self.functions.keys().cloned().collect();
        self.scan = Some(ScanScope {
            var,
            name: name.clone(),
            carries,
        });
        self.announce_collected(scan);
        let mut body = vec![];
        for stmt in &scan.body {
            match &stmt.kind {
                StmtKind::Let { target, value } => body.extend(self.definition(target, value)),
                StmtKind::Function { name, params, body } => self.function(name, params, body),
                StmtKind::Scan(_) => {}
            }
        }
        let scope = self.scan.take()?;
        self.pop_vars(&[var]);
        self.functions.retain(|name, _| functions.contains(name));
        for (name, def) in &mut self.values {
            if let Def::Local(id) = def
                && self.syms[id.0].life == Life::Step
                && !before.contains(name)
            {
                *def = Def::Gone(self.syms[id.0].span);
            }
        }
        let mut out = vec![];
        for (carry, sym, vars, init) in inits {
            let state = &carry.target.name.name;
            let Some((_, next, changed)) = scope.carries.iter().find(|(n, ..)| n == state) else {
                continue;
            };
            if !changed {
                let error = Diagnostic::error(
                    "unchanged-carry",
                    carry.target.at.0,
                    format!("the scan never changes the state `{state}`"),
                )
                .help(format!(
                    "add `{} = ...` to its body, or define it outside of the scan",
                    carry.target
                ));
                self.errors.push(error);
            }
            let last = self.new_sym(state, carry.target.name.span(), &vars, Life::Program);
            self.syms[last.0].root = sym;
            self.values.insert(state.clone(), Def::Local(last));
            out.push(HCarry {
                sym,
                vars,
                init,
                next: *next,
                last,
            });
        }
        Some(HStmt::Scan {
            var,
            reverse: scan.reverse,
            carries: out,
            body,
        })
    }

    /// Tensors that the scan collects can be read in its body before they are defined: what
    /// earlier steps wrote.
    fn announce_collected(&mut self, scan: &Scan) {
        let Some(var) = self.scan.as_ref().map(|s| s.var) else {
            return;
        };
        for stmt in &scan.body {
            let StmtKind::Let { target, .. } = &stmt.kind else {
                continue;
            };
            let name = &target.name.name;
            let collected = target
                .vars
                .iter()
                .any(|b| b.name.name == scan.var.name.name);
            if !collected || self.values.contains_key(name) {
                continue;
            }
            let id = self.new_sym(name, target.name.span(), &[], Life::Collected);
            let axis = |b: &Binder, this: &mut Self| {
                if b.name.name == scan.var.name.name {
                    this.vars[var.0].range
                } else {
                    this.ranges.fresh()
                }
            };
            let axes = target.vars.iter().map(|b| axis(b, self)).collect();
            let sym = &mut self.syms[id.0];
            sym.axes = axes;
            sym.time = target
                .vars
                .iter()
                .position(|b| b.name.name == scan.var.name.name);
            sym.defined = false;
            self.values.insert(name.clone(), Def::Local(id));
        }
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
