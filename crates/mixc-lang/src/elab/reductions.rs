//! Name resolution of reductions and of functions of an index.

use super::calls::arguments;
use super::hir::*;
use super::resolve::{Binding, Resolver};
use crate::ast::{Binder, Expr, Ident};
use crate::builtins::Reduction;
use crate::parse::did_you_mean;
use mixc_text::{Diagnostic, Span};

impl Resolver<'_> {
    pub(super) fn reduce(&mut self, name: &Ident, vars: &[Binder], args: &[Expr], span: Span) -> H {
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
    pub(super) fn outer_var(
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
