//! Name resolution: statements to resolved definitions.

use super::header::Header;
use super::hir::*;
use super::ranges::{RangeId, Ranges};
use crate::ast::{Binder, Expr, Ident, Stmt, StmtKind, Target};
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
    pub(super) fn find_batch_axes(&mut self, stmts: &[Stmt]) {
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
    pub(super) fn poison_range(&mut self, range: RangeId) {
        let _ = self
            .ranges
            .bind(range, Ix::Const(1), Span::default(), String::new(), "");
    }

    /// A variable called like a batch axis is that axis.
    pub(super) fn name_batch_axis(&mut self, id: VarId) {
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
}
