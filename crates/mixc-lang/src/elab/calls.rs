//! Name resolution of calls: functions of the language and of the user.

use super::hir::*;
use super::resolve::{Binding, FnDef, Resolver};
use crate::ast::{BinOp, CmpOp, Expr, Ident};
use crate::builtins::{Fun, Reduction};
use crate::parse::did_you_mean;
use mixc_ir::Func;
use mixc_text::{Diagnostic, Span};

/// Nodes made in one mixer, all expansions counted.
const MAX_NODES: usize = 200_000;
/// Functions within functions; a function sees only those before it, so this is generous.
const MAX_CALLS: usize = 40;

impl<'m> Resolver<'m> {
    pub(super) fn call(&mut self, name: &Ident, args: &[Expr], span: Span) -> H {
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

    pub(super) fn unknown_function(&self, name: &Ident) -> Diagnostic {
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

    pub(super) fn call_user(&mut self, def: FnDef<'m>, args: Vec<H>, span: Span) -> H {
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
}

pub(super) fn arguments(n: usize) -> String {
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
