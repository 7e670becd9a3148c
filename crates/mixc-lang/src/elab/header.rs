//! Declarations: sizes, tensors, outputs, constraints. Scalar defaults are resolved with the body.

use super::hir::OutDecl;
use super::size::{Sizes, constant};
use crate::ast::{CmpOp, Expr, ExprKind, Interval, Mixer, Output, Param};
use crate::parse::did_you_mean;
use mixc_ir::{Constraint, Ix, Kind, Name, Relation, Tensor};
use mixc_text::{Diagnostic, Span};

pub struct TensorDecl {
    pub tensor: Tensor,
    /// Stored with a further axis of size 2, which is in `tensor.shape`.
    pub complex: bool,
    pub span: Span,
}

pub struct ScalarDecl<'m> {
    pub name: Name,
    pub kind: Kind,
    pub range: (f64, f64),
    pub default: Option<&'m Expr>,
    pub span: Span,
}

#[derive(Default)]
pub struct Header<'m> {
    pub sizes: Sizes,
    pub tensors: Vec<TensorDecl>,
    pub scalars: Vec<ScalarDecl<'m>>,
    pub outputs: Vec<OutDecl>,
    pub constraints: Vec<Constraint>,
    /// Parameters and outputs whose declarations are mistakes.
    pub broken: Vec<String>,
    /// `(H, G)` for every constraint `H % G == 0`: heads that share.
    pub groups: Vec<(Name, Name)>,
}

#[derive(Clone, Copy, PartialEq)]
enum Element {
    Plain(Kind),
    Complex,
}

pub fn header<'m>(mixer: &'m Mixer, errors: &mut Vec<Diagnostic>) -> Header<'m> {
    let mut header = Header {
        sizes: sizes(mixer, errors),
        ..Header::default()
    };
    names_once(mixer, errors);
    for param in &mixer.params {
        let result = match &param.ty.shape {
            Some(shape) => tensor(param, shape, &header.sizes).map(|t| header.tensors.extend(t)),
            None => scalar(param).map(|s| header.scalars.push(s)),
        };
        if let Err(error) = result {
            errors.push(error);
            header.broken.push(param.name.name.clone());
        }
    }
    for out in &mixer.outputs {
        match output(out, &header.sizes) {
            Ok(decl) => header.outputs.extend(decl),
            Err(error) => {
                errors.push(error);
                header.broken.push(out.name.name.clone());
            }
        }
    }
    for expr in &mixer.constraints {
        match constraints(expr, &header.sizes) {
            Ok(list) => header.constraints.extend(list),
            Err(error) => errors.push(error),
        }
    }
    for c in &header.constraints {
        if let (Ix::Mod(a, b), Relation::Eq, Ix::Const(0)) = (&c.left, c.relation, &c.right)
            && let (Ix::Dim(a), Ix::Dim(b)) = (&**a, &**b)
        {
            header.groups.push((a.clone(), b.clone()));
        }
    }
    header
}

/// Size symbols in order of appearance; each must be the whole size of an axis of an input that
/// has to be given, or its value would not be known.
fn sizes(mixer: &Mixer, errors: &mut Vec<Diagnostic>) -> Sizes {
    let is_int = |p: &&crate::ast::Param| {
        p.ty.shape.is_none() && p.ty.kind.as_ref().is_some_and(|k| k.name == "int")
    };
    let ints: Vec<Name> = mixer
        .params
        .iter()
        .filter(is_int)
        .map(|p| p.name.name.as_str().into())
        .collect();
    let mut sizes = Sizes { dims: vec![], ints };
    let (mut given, mut optional): (Vec<Name>, Vec<(Name, Span)>) = (vec![], vec![]);
    for param in &mixer.params {
        for axis in param.ty.shape.iter().flatten() {
            let ExprKind::Name(name) = &axis.kind else {
                continue;
            };
            let word = name.name.as_str();
            if sizes.ints.iter().any(|i| &**i == word) {
                continue;
            }
            if !word.starts_with(|c: char| c.is_ascii_uppercase()) {
                let error = Diagnostic::error(
                    "size-name",
                    axis.span(),
                    format!("the size `{word}` does not start with a capital letter"),
                )
                .note("capital names are sizes, small ones are index variables")
                .help(format!(
                    "write `{}{}`",
                    word[..1].to_uppercase(),
                    &word[1..]
                ));
                errors.push(error);
            } else if let Some(twin) = sizes
                .dims
                .iter()
                .find(|d| d.to_lowercase() == word.to_lowercase() && &***d != word)
            {
                let what = format!("the sizes `{twin}` and `{word}` differ only in case");
                errors.push(
                    Diagnostic::error("size-case", axis.span(), what)
                        .help("give one of them another name"),
                );
            }
            if !sizes.is_dim(word) {
                sizes.dims.push(word.into());
            }
            if param.default.is_some() {
                optional.push((word.into(), axis.span()));
            } else {
                given.push(word.into());
            }
        }
    }
    for (name, span) in &optional {
        if !given.contains(name) {
            given.push(name.clone());
            let what = format!("the size `{name}` is an axis of optional inputs only");
            let error = Diagnostic::error("optional-size", *span, what)
                .note("its value is not known when the input is left out")
                .help(format!("make it an integer parameter (`{}: int`), or an axis of an input that must be given", name.to_lowercase()));
            errors.push(error);
        }
    }
    sizes
}

fn names_once(mixer: &Mixer, errors: &mut Vec<Diagnostic>) {
    let inputs = mixer.params.iter().map(|p| (&p.name, "a parameter"));
    let outputs = mixer.outputs.iter().map(|o| (&o.name, "an output"));
    let mut seen: Vec<(&crate::ast::Ident, &str)> = vec![];
    for (name, what) in inputs.chain(outputs) {
        match seen.iter().find(|(n, _)| n.name == name.name) {
            None => seen.push((name, what)),
            Some((first, kind)) => {
                let error = Diagnostic::error(
                    "duplicate-name",
                    name.span(),
                    format!("`{}` is declared twice", name.name),
                )
                .at(format!("{what} here"))
                .label(first.span(), format!("{kind} here"))
                .help(if what == "an output" {
                    format!(
                        "call the output `final_{}` or `{}_out`",
                        name.name, name.name
                    )
                } else {
                    "rename one of them".into()
                });
                errors.push(error);
            }
        }
    }
}

fn element(ty: &crate::ast::Type) -> Result<Element, Diagnostic> {
    let Some(word) = &ty.kind else {
        return Ok(Element::Plain(Kind::Real));
    };
    const KINDS: [&str; 5] = ["real", "f32", "int", "bool", "complex"];
    Ok(match word.name.as_str() {
        "real" | "f32" => Element::Plain(Kind::Real),
        "int" => Element::Plain(Kind::Int),
        "bool" => Element::Plain(Kind::Bool),
        "complex" => Element::Complex,
        other => {
            let mut error = Diagnostic::error(
                "unknown-type",
                word.span(),
                format!("unknown kind of element `{other}`"),
            )
            .note("expected real (or f32), int, bool or complex");
            error.help = if ["f16", "bf16", "f64", "i32", "i64"].contains(&other) {
                Some("how elements are stored is chosen when the mixer is compiled; write `real` or `int`".into())
            } else {
                did_you_mean(other, KINDS)
                    .or_else(|| Some("write one of these, or leave it out for real".into()))
            };
            return Err(error);
        }
    })
}

/// Sizes and letters of the axes.
type Shape = (Vec<Ix>, Vec<Name>);

fn shape(exprs: &[Expr], sizes: &Sizes) -> Result<Option<Shape>, Diagnostic> {
    let list: Vec<Option<Ix>> = exprs
        .iter()
        .map(|e| sizes.size(e))
        .collect::<Result<_, _>>()?;
    let names = exprs
        .iter()
        .map(|e| e.to_string().replace(' ', "").as_str().into())
        .collect();
    Ok(list
        .into_iter()
        .collect::<Option<Vec<Ix>>>()
        .map(|shape| (shape, names)))
}

fn tensor(param: &Param, exprs: &[Expr], sizes: &Sizes) -> Result<Option<TensorDecl>, Diagnostic> {
    let element = element(&param.ty)?;
    let Some((mut shape, mut axis_names)) = shape(exprs, sizes)? else {
        return Ok(None);
    };
    if element == Element::Complex {
        shape.push(Ix::Const(2));
        axis_names.push("reim".into());
    }
    let range = interval(param.range.as_ref())?;
    let default = match &param.default {
        None => None,
        Some(expr) => Some(constant(expr).ok_or_else(|| {
            Diagnostic::error(
                "tensor-default",
                expr.span(),
                format!("the default of `{}` is not a constant", param.name.name),
            )
            .at("expected a number: the value of every element")
            .help("combine tensors in the body, and default to 0 here")
        })?),
    };
    let kind = if let Element::Plain(kind) = element {
        kind
    } else {
        Kind::Real
    };
    let tensor = Tensor {
        name: param.name.name.as_str().into(),
        kind,
        shape,
        axis_names,
        range,
        default,
    };
    Ok(Some(TensorDecl {
        tensor,
        complex: element == Element::Complex,
        span: param.name.span(),
    }))
}

fn scalar(param: &Param) -> Result<ScalarDecl<'_>, Diagnostic> {
    let Element::Plain(kind) = element(&param.ty)? else {
        return Err(Diagnostic::error(
            "complex-scalar",
            param.ty.at.0,
            "a scalar parameter cannot be complex",
        )
        .help("use two real parameters and `complex(a, b)`, or a tensor `complex []`"));
    };
    let name = param.name.name.as_str().into();
    Ok(ScalarDecl {
        name,
        kind,
        range: interval(param.range.as_ref())?,
        default: param.default.as_ref(),
        span: param.name.span(),
    })
}

fn interval(range: Option<&Interval>) -> Result<(f64, f64), Diagnostic> {
    let Some(range) = range else {
        return Ok((f64::NEG_INFINITY, f64::INFINITY));
    };
    let end = |e: &Expr| {
        constant(e).ok_or_else(|| {
            Diagnostic::error(
                "range-end",
                e.span(),
                "the end of a declared range is not a constant",
            )
            .help("write a number, `inf` or `-inf`")
        })
    };
    let (low, high) = (end(&range.low)?, end(&range.high)?);
    if low > high || low.is_nan() || high.is_nan() {
        let span = range.low.span().to(range.high.span());
        return Err(Diagnostic::error(
            "empty-range",
            span,
            format!("the range from {low} to {high} is empty"),
        )
        .help("the lower end comes first"));
    }
    Ok((low, high))
}

fn output(out: &Output, sizes: &Sizes) -> Result<Option<OutDecl>, Diagnostic> {
    let Some(exprs) = &out.ty.shape else {
        return Err(Diagnostic::error(
            "output-shape",
            out.ty.at.0,
            format!("the output `{}` has no shape", out.name.name),
        )
        .help("write its sizes: `o: [B, H, T, V]`; a single number is `[]`"));
    };
    let complex = element(&out.ty)? == Element::Complex;
    let Some((shape, axis_names)) = shape(exprs, sizes)? else {
        return Ok(None);
    };
    Ok(Some(OutDecl {
        name: out.name.name.as_str().into(),
        complex,
        shape,
        axis_names,
        span: out.name.span(),
    }))
}

fn constraints(expr: &Expr, sizes: &Sizes) -> Result<Vec<Constraint>, Diagnostic> {
    let ExprKind::Compare { first, rest } = &expr.kind else {
        return Err(Diagnostic::error(
            "constraint",
            expr.span(),
            "a constraint is a comparison of sizes",
        )
        .help("for example `where H % G == 0, J >= I`"));
    };
    let (mut list, mut left) = (vec![], &**first);
    for (op, right) in rest {
        let (Some(a), Some(b)) = (sizes.size(left)?, sizes.size(right)?) else {
            return Ok(list);
        };
        list.push(match op {
            CmpOp::Eq => Constraint {
                left: a,
                relation: Relation::Eq,
                right: b,
            },
            CmpOp::Le => Constraint {
                left: a,
                relation: Relation::Le,
                right: b,
            },
            CmpOp::Lt => Constraint {
                left: a,
                relation: Relation::Lt,
                right: b,
            },
            CmpOp::Ge => Constraint {
                left: b,
                relation: Relation::Le,
                right: a,
            },
            CmpOp::Gt => Constraint {
                left: b,
                relation: Relation::Lt,
                right: a,
            },
            CmpOp::Ne => {
                return Err(Diagnostic::error(
                    "constraint",
                    expr.span(),
                    "sizes cannot be constrained with `!=`",
                )
                .help("use `==`, `<=`, `<`, `>=` or `>`"));
            }
        });
        left = right;
    }
    Ok(list)
}
