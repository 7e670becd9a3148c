//! Name resolution of expressions.

use super::hir::*;
use super::resolve::{Binding, Def, Resolver};
use crate::ast::{BinOp, CmpOp, Expr, ExprKind, Ident};
use crate::parse::did_you_mean;
use mixc_ir::Kind;
use mixc_text::{Diagnostic, Span};

/// A definition that grows beyond this when its functions are expanded is refused.
const MAX_SIZE: usize = 20_000;
const MAX_DEPTH: usize = 300;
impl<'m> Resolver<'m> {
    pub(super) fn node(&mut self, kind: HirKind, span: Span) -> H {
        self.created += 1;
        let hir = Hir::new(kind, span);
        if hir.size > MAX_SIZE || hir.depth > MAX_DEPTH {
            let error = Diagnostic::error(
                "too-large",
                span,
                "this expression is too large once its functions are expanded",
            )
            .help("name parts of it as local tensors: `x[i, j] = ...`");
            return self.poison(error);
        }
        H::new(hir)
    }

    pub(super) fn poison(&mut self, error: Diagnostic) -> H {
        let span = error.span();
        // A function's body is resolved at every call: report its mistakes once.
        if !self.errors.contains(&error) {
            self.errors.push(error);
        }
        H::new(Hir::new(HirKind::Poison, span))
    }

    pub(super) fn expr(&mut self, expr: &Expr) -> H {
        let span = expr.span();
        match &expr.kind {
            ExprKind::Error => H::new(Hir::new(HirKind::Poison, span)),
            ExprKind::Int(value) => self.node(HirKind::Int(*value as i64), span),
            ExprKind::Float(value) => self.node(HirKind::Real(*value), span),
            ExprKind::Name(name) => self.name(name),
            ExprKind::Index { name, index } => self.read(name, index, span),
            ExprKind::Call { name, args } => self.call(name, args, span),
            ExprKind::Reduce { name, vars, args } => self.reduce(name, vars, args, span),
            ExprKind::Neg(inner) => {
                let inner = self.expr(inner);
                self.node(HirKind::Neg(inner), span)
            }
            ExprKind::Not(inner) => {
                let inner = self.expr(inner);
                self.node(HirKind::Not(inner), span)
            }
            ExprKind::Binary { op, left, right } => {
                let (left, right) = (self.expr(left), self.expr(right));
                self.node(HirKind::Bin(*op, left, right), span)
            }
            ExprKind::Compare { first, rest } => self.comparison(first, rest),
            ExprKind::If { then, cond, other } => {
                let (then, cond, other) = (self.expr(then), self.expr(cond), self.expr(other));
                self.node(HirKind::If { then, cond, other }, span)
            }
        }
    }

    /// `a <= b < c` is `a <= b and b < c`.
    pub(super) fn comparison(&mut self, first: &Expr, rest: &[(CmpOp, Expr)]) -> H {
        let mut left = self.expr(first);
        let mut all: Option<H> = None;
        for (op, right) in rest {
            let right = self.expr(right);
            let span = left.span.to(right.span);
            let one = self.node(HirKind::Cmp(*op, left, right.clone()), span);
            all = Some(match all {
                None => one,
                Some(before) => self.node(HirKind::Bin(BinOp::And, before, one), span),
            });
            left = right;
        }
        all.unwrap_or(left)
    }

    // ---- names ----

    pub(super) fn name(&mut self, name: &Ident) -> H {
        let span = name.span();
        let word = name.name.as_str();
        match word {
            "inf" => return self.node(HirKind::Real(f64::INFINITY), span),
            "pi" => return self.node(HirKind::Real(std::f64::consts::PI), span),
            "unlimited" => return self.node(HirKind::Int(super::size::UNLIMITED), span),
            "true" => return self.node(HirKind::Bool(true), span),
            "false" => return self.node(HirKind::Bool(false), span),
            _ => {}
        }
        if let Some((_, binding)) = self.scope.iter().rev().find(|(n, _)| n == word) {
            return match binding.clone() {
                Binding::Var(var) => self.node(HirKind::Var(var), span),
                Binding::Arg(hir) => hir,
            };
        }
        match self.values.get(word).cloned() {
            Some(Def::Scalar(name, kind)) => {
                let kind = match kind {
                    Kind::Int => HirKind::Size(name),
                    Kind::Real => HirKind::RealScalar(name),
                    Kind::Bool => HirKind::BoolScalar(name),
                };
                return self.node(kind, span);
            }
            Some(Def::Alias(hir)) => return hir,
            Some(_) => return self.read(name, &[], span),
            None => {}
        }
        if self.header.sizes.is_dim(word) {
            return self.node(HirKind::Size(word.into()), span);
        }
        if let Some(size) = self
            .header
            .sizes
            .dims
            .iter()
            .find(|d| d.to_lowercase() == word)
            .cloned()
            && let Some(batch) = self.batch_index(&size, span)
        {
            return batch;
        }
        let error = self.unknown(word, span);
        self.poison(error)
    }

    pub(super) fn unknown(&self, word: &str, span: Span) -> Diagnostic {
        if self.defining.as_deref() == Some(word) {
            let error = Diagnostic::error(
                "self-reference",
                span,
                format!("`{word}` is defined in terms of itself"),
            );
            return match &self.scan {
                Some(scan) => error.help(format!(
                    "to use the value of the step before, index it by the scan: `{word}[{0}, ...] = ... {word}[{0} - 1, ...]`",
                    scan.name
                )),
                None => error.help("a recurrence is written with `scan t in T carry ...`"),
            };
        }
        if let Some(f) = self.functions.get(word) {
            return Diagnostic::error("unknown-name", span, format!("`{word}` is a function"))
                .label(f.name.span(), "it is defined here")
                .help(format!("call it: `{word}(...)`"));
        }
        let mut error = Diagnostic::error("unknown-name", span, format!("unknown name `{word}`"));
        let upper = word.to_uppercase();
        let names = self
            .scope
            .iter()
            .map(|(n, _)| n.as_str())
            .chain(self.values.keys().map(String::as_str));
        let names: Vec<&str> = names
            .chain(self.header.sizes.dims.iter().map(|d| &**d))
            .collect();
        error.help = did_you_mean(word, names).or_else(|| {
            let is_size = self.header.sizes.is_dim(&upper);
            is_size.then(|| format!("`{word}` is not introduced here: put it on the left side, or reduce over it: `sum[{word}](...)`"))
        });
        if error.help.is_none() {
            let like_an_index =
                word.len() <= 2 && word.starts_with(|c: char| c.is_ascii_lowercase());
            error.help = Some(match like_an_index {
                true => format!(
                    "an index variable is introduced on the left side, or by a reduction: `sum[{word}](...)`"
                ),
                false => "define it before this line, or make it a parameter".into(),
            });
        }
        error
    }
}
