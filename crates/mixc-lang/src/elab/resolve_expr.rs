//! Name resolution of expressions.

use super::hir::*;
use super::ranges::show;
use super::resolve::{Binding, Def, FnDef, Resolver, indices};
use crate::ast::{BinOp, Binder, CmpOp, Expr, ExprKind, Ident};
use crate::builtins::{Fun, Reduction};
use crate::parse::did_you_mean;
use mixc_ir::{Func, Ix, Kind, Name};
use mixc_text::{Diagnostic, Span};

/// A definition that grows beyond this when its functions are expanded is refused.
const MAX_SIZE: usize = 20_000;
const MAX_DEPTH: usize = 300;
/// Nodes made in one mixer, all expansions counted.
const MAX_NODES: usize = 200_000;
/// Functions within functions; a function sees only those before it, so this is generous.
const MAX_CALLS: usize = 40;

impl<'m> Resolver<'m> {
    fn node(&mut self, kind: HirKind, span: Span) -> H {
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

    fn poison(&mut self, error: Diagnostic) -> H {
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
    fn comparison(&mut self, first: &Expr, rest: &[(CmpOp, Expr)]) -> H {
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

    fn name(&mut self, name: &Ident) -> H {
        let span = name.span();
        let word = name.name.as_str();
        match word {
            "inf" => return self.node(HirKind::Real(f64::INFINITY), span),
            "pi" => return self.node(HirKind::Real(std::f64::consts::PI), span),
            "int_max" => return self.node(HirKind::Int(i64::from(i32::MAX)), span),
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

    fn unknown(&self, word: &str, span: Span) -> Diagnostic {
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

    // ---- batch axes ----

    /// The index of an axis that is not written: a variable called like it, or the batch axis.
    fn batch_index(&mut self, size: &Name, span: Span) -> Option<H> {
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

    fn read(&mut self, name: &Ident, index: &[Expr], span: Span) -> H {
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

    fn read_input(&mut self, n: usize, index: Vec<H>, span: Span) -> H {
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

    fn unindexed(
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

    fn var_runs_over(&mut self, var: VarId, size: Ix, span: Span, why: String) {
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

    fn read_local(&mut self, id: SymId, index: Vec<H>, span: Span) -> H {
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
    fn usage(&self, sym: &Sym) -> String {
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

    // ---- calls ----

    fn call(&mut self, name: &Ident, args: &[Expr], span: Span) -> H {
        let args: Vec<H> = args.iter().map(|e| self.expr(e)).collect();
        if let Some(def) = self.functions.get(&name.name).copied() {
            return self.call_user(def, args, span);
        }
        let Some(fun) = Fun::by_name(&name.name) else {
            let error = self.unknown_function(name);
            return self.poison(error);
        };
        let (least, most) = fun.arity();
        if args.len() < least || args.len() > most {
            let expected = if most == usize::MAX {
                format!("at least {least} arguments")
            } else {
                arguments(least)
            };
            let what = format!("`{}` takes {expected}, found {}", name.name, args.len());
            let mut error = Diagnostic::error("argument-count", span, what);
            error.help = Some(match fun {
                Fun::Min | Fun::Max => {
                    format!("over an axis it is written `{}[j](...)`", name.name)
                }
                _ => format!(
                    "write `{}({})`",
                    name.name,
                    ["x", "y", "z"][..least].join(", ")
                ),
            });
            return self.poison(error);
        }
        let kind = operator(fun, &args).unwrap_or_else(|| HirKind::Call(fun, args.clone()));
        self.node(kind, span)
    }

    fn unknown_function(&self, name: &Ident) -> Diagnostic {
        let word = name.name.as_str();
        if let Some(r) = Reduction::by_name(word) {
            let over = if r.binds() {
                "runs over"
            } else {
                "is a function of"
            };
            return Diagnostic::error(
                "missing-axis",
                name.span(),
                format!("`{word}` does not say which axis it {over}"),
            )
            .help(format!("write `{word}[j](...)`"));
        }
        if self.values.contains_key(word) {
            return Diagnostic::error(
                "called-tensor",
                name.span(),
                format!("`{word}` is not a function"),
            )
            .help(format!("elements are read with brackets: `{word}[...]`"));
        }
        let mut names: Vec<&str> = self.functions.keys().map(|f| f.as_str()).collect();
        for name in Fun::names() {
            names.push(name);
        }
        let mut error = Diagnostic::error(
            "unknown-function",
            name.span(),
            format!("unknown function `{word}`"),
        );
        error.help = match word {
            "ln" => Some("the natural logarithm is `log`".into()),
            "sqr" | "square" => Some("write `x ** 2` or `x * x`".into()),
            "logsumexp" => Some("write `lse[j](...)`".into()),
            "swish" => Some("did you mean `silu`?".into()),
            "where" | "select" => Some("a choice is written `x if c else y`".into()),
            _ => did_you_mean(word, names),
        };
        error
    }

    fn call_user(&mut self, def: FnDef<'m>, args: Vec<H>, span: Span) -> H {
        if def.index >= self.visible_functions || self.calls >= MAX_CALLS {
            let error = Diagnostic::error(
                "recursion",
                span,
                format!("the function `{}` cannot be called here", def.name.name),
            )
            .label(def.name.span(), "it is defined here")
            .note("a function can call only functions that are defined before it")
            .help("a recurrence over positions is written with `scan`");
            return self.poison(error);
        }
        if args.len() != def.params.len() {
            let what = format!(
                "`{}` takes {}, found {}",
                def.name.name,
                arguments(def.params.len()),
                args.len()
            );
            let params: Vec<&str> = def.params.iter().map(|p| p.name.as_str()).collect();
            return self.poison(
                Diagnostic::error("argument-count", span, what)
                    .label(def.name.span(), "it is defined here")
                    .help(format!("write `{}({})`", def.name.name, params.join(", "))),
            );
        }
        let args = def
            .params
            .iter()
            .zip(args)
            .map(|(p, a)| (p.name.clone(), Binding::Arg(a)))
            .collect();
        self.call_body(def, args)
    }

    /// Expands a function: its body sees its parameters and the variable of the scan around it,
    /// not the variables of the caller.
    pub(super) fn call_body(&mut self, def: FnDef<'m>, mut args: Vec<(String, Binding)>) -> H {
        if let Some(scan) = &self.scan
            && !args.iter().any(|(n, _)| *n == scan.name)
        {
            args.insert(0, (scan.name.clone(), Binding::Var(scan.var)));
        }
        if self.created > MAX_NODES {
            let error = Diagnostic::error(
                "too-large",
                def.name.span(),
                "the functions of this mixer expand too far",
            )
            .help("name intermediate results as local tensors: `x[i, j] = ...`");
            return self.poison(error);
        }
        let scope = std::mem::replace(&mut self.scope, args);
        let visible = std::mem::replace(&mut self.visible_functions, def.index);
        self.calls += 1;
        let value = self.expr(def.body);
        self.calls -= 1;
        self.visible_functions = visible;
        self.scope = scope;
        value
    }

    // ---- reductions ----

    fn reduce(&mut self, name: &Ident, vars: &[Binder], args: &[Expr], span: Span) -> H {
        let Some(reduction) = Reduction::by_name(&name.name) else {
            let mut error = Diagnostic::error(
                "unknown-reduction",
                name.span(),
                format!("unknown reduction `{}`", name.name),
            );
            error.help = did_you_mean(&name.name, Reduction::ALL.iter().map(|r| r.name()));
            let names: Vec<&str> = Reduction::ALL.iter().map(|r| r.name()).collect();
            return self.poison(error.note(format!("known: {}", names.join(", "))));
        };
        if args.len() != reduction.args() {
            let what = format!(
                "`{}` takes {}, found {}",
                name.name,
                arguments(reduction.args()),
                args.len()
            );
            let mut error = Diagnostic::error("argument-count", span, what);
            error.help = Some(match reduction {
                Reduction::Topk => {
                    "write `topk[j](x[j], k)`: whether j is among the k largest".into()
                }
                _ => format!("write `{}[j](x[j])`", name.name),
            });
            return self.poison(error);
        }
        if vars.is_empty() {
            let error = Diagnostic::error(
                "missing-axis",
                span,
                format!("`{}` does not say which axis it runs over", name.name),
            )
            .help(format!("write `{}[j](...)`", name.name));
            return self.poison(error);
        }
        if vars.len() > 1 && !several(reduction) {
            let error = Diagnostic::error(
                "one-axis",
                vars[1].name.span(),
                format!("`{}` runs over one axis", name.name),
            )
            .help("nest two of them, or give the positions one index: `x[n / W, n % W]`");
            return self.poison(error);
        }
        if reduction.binds() {
            let ids: Vec<VarId> = vars.iter().map(|b| self.push_var(b)).collect();
            let args = args.iter().map(|e| self.expr(e)).collect();
            self.pop_vars(&ids);
            return self.node(HirKind::Reduce(reduction, ids, args), span);
        }
        let mut ids = vec![];
        for binder in vars {
            match self.outer_var(reduction, binder) {
                Ok(Some(var)) => ids.push(var),
                Ok(None) => return H::new(Hir::new(HirKind::Poison, span)),
                Err(error) => return self.poison(error),
            }
        }
        let args = args.iter().map(|e| self.expr(e)).collect();
        self.node(HirKind::Reduce(reduction, ids, args), span)
    }

    /// The variable of a softmax, which comes from outside.
    fn outer_var(
        &mut self,
        reduction: Reduction,
        binder: &Binder,
    ) -> Result<Option<VarId>, Diagnostic> {
        let name = binder.name.name.as_str();
        let found = self
            .scope
            .iter()
            .rev()
            .find(|(n, _)| n == name)
            .map(|(_, b)| b.clone());
        let var = match found {
            Some(Binding::Var(var)) => var,
            Some(Binding::Arg(arg)) => match arg.kind {
                HirKind::Var(var) => var,
                HirKind::Poison => return Ok(None),
                _ => {
                    let what = format!(
                        "`{}` needs an index variable, and `{name}` stands for an expression here",
                        reduction.name()
                    );
                    return Err(
                        Diagnostic::error("not-a-variable", binder.name.span(), what)
                            .help("call the function with an index variable"),
                    );
                }
            },
            None => {
                let what = format!("the index variable `{name}` is not in scope");
                return Err(Diagnostic::error("unbound-axis", binder.name.span(), what)
                    .note(format!("`{}` does not introduce `{name}`: its value is a function of `{name}`", reduction.name()))
                    .help(format!("put `{name}` on the left side, or around it: `sum[{name}](... {}[{name}](...))`", reduction.name())));
            }
        };
        if self.scan.as_ref().is_some_and(|s| s.var == var) {
            return Err(Diagnostic::error(
                "scan-axis",
                binder.name.span(),
                format!(
                    "`{}` over `{name}` inside the scan over `{name}`",
                    reduction.name()
                ),
            )
            .note("one step of a scan sees one position")
            .help("compute it before or behind the scan, as a local tensor"));
        }
        if let Some(range) = &binder.range {
            return Err(Diagnostic::error(
                "range-in-read",
                range.span(),
                "the range is given where the variable is introduced",
            )
            .help(format!("write `{}[{name}](...)`", reduction.name())));
        }
        Ok(Some(var))
    }
}

fn several(reduction: Reduction) -> bool {
    use Reduction::*;
    matches!(
        reduction,
        Sum | Mean | Prod | Max | Min | Lse | Any | All | Softmax
    )
}

fn arguments(n: usize) -> String {
    if n == 1 {
        "1 argument".into()
    } else {
        format!("{n} arguments")
    }
}

/// Functions that are operators under another name.
fn operator(fun: Fun, args: &[H]) -> Option<HirKind> {
    let Fun::Map(func) = fun else { return None };
    let arg = |n: usize| args[n].clone();
    Some(match func {
        Func::Neg => HirKind::Neg(arg(0)),
        Func::Not => HirKind::Not(arg(0)),
        Func::Sub => HirKind::Bin(BinOp::Sub, arg(0), arg(1)),
        Func::Div => HirKind::Bin(BinOp::Div, arg(0), arg(1)),
        Func::Mod => HirKind::Bin(BinOp::Mod, arg(0), arg(1)),
        Func::Pow => HirKind::Bin(BinOp::Pow, arg(0), arg(1)),
        Func::And => HirKind::Bin(BinOp::And, arg(0), arg(1)),
        Func::Or => HirKind::Bin(BinOp::Or, arg(0), arg(1)),
        Func::Lt => HirKind::Cmp(CmpOp::Lt, arg(0), arg(1)),
        Func::Le => HirKind::Cmp(CmpOp::Le, arg(0), arg(1)),
        Func::Eq => HirKind::Cmp(CmpOp::Eq, arg(0), arg(1)),
        Func::Ne => HirKind::Cmp(CmpOp::Ne, arg(0), arg(1)),
        Func::Select => HirKind::If {
            cond: arg(0),
            then: arg(1),
            other: arg(2),
        },
        _ => return None,
    })
}
