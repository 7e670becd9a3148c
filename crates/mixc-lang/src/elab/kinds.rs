//! What every local tensor holds and which batch axes it has: two small fixpoints, because a state
//! depends on itself.

use super::header::Header;
use super::hir::*;
use crate::ast::BinOp;
use crate::builtins::{Fun, Reduction};
use mixc_ir::{Func, Kind, Name};
use std::collections::BTreeSet;

/// Kinds of values, each contained in the next (predicates count as 0 and 1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Type {
    /// Nothing is known yet.
    Unknown,
    Bool,
    Int,
    Real,
    Complex,
}

/// One entry for each symbol; versions of a state share those of their root.
pub struct Facts {
    pub types: Vec<Type>,
    pub batch: Vec<BTreeSet<Name>>,
}

pub fn facts(header: &Header<'_>, syms: &[Sym], body: &[HStmt]) -> Facts {
    let mut facts = Facts {
        types: vec![Type::Unknown; syms.len()],
        batch: vec![BTreeSet::new(); syms.len()],
    };
    for (n, sym) in syms.iter().enumerate() {
        if let Some(out) = sym.output.map(|o| &header.outputs[o]) {
            let lead = out.shape.len().saturating_sub(sym.axes.len());
            facts.batch[n] = out.axis_names[..lead].iter().cloned().collect();
            facts.types[n] = if out.complex {
                Type::Complex
            } else {
                Type::Unknown
            };
        }
    }
    let definitions: Vec<(usize, &H)> = body
        .iter()
        .flat_map(|stmt| match stmt {
            HStmt::Let(l) => vec![(l.sym, &l.value)],
            HStmt::Scan { carries, body, .. } => {
                let inits = carries.iter().map(|c| (c.sym, &c.init));
                inits
                    .chain(body.iter().map(|l| (l.sym, &l.value)))
                    .collect()
            }
        })
        .map(|(sym, value)| (syms[sym.0].root.0, value))
        .collect();
    loop {
        let mut changed = false;
        for (sym, value) in &definitions {
            let ty = facts.types[*sym].max(type_of(value, header, syms, &facts.types));
            changed |= ty != facts.types[*sym];
            facts.types[*sym] = ty;
            let before = facts.batch[*sym].len();
            let mut needs = std::mem::take(&mut facts.batch[*sym]);
            needed(value, header, syms, *sym, &facts.batch, &mut needs);
            changed |= needs.len() != before;
            facts.batch[*sym] = needs;
        }
        if !changed {
            break;
        }
    }
    for (n, sym) in syms.iter().enumerate() {
        facts.types[n] = facts.types[sym.root.0];
        facts.batch[n] = facts.batch[sym.root.0].clone();
    }
    facts
}

/// Adds the batch axes that a value is a function of.
fn needed(
    h: &H,
    header: &Header<'_>,
    syms: &[Sym],
    own: usize,
    batch: &[BTreeSet<Name>],
    out: &mut BTreeSet<Name>,
) {
    match &h.kind {
        HirKind::Batch(size) => {
            out.insert(size.clone());
        }
        HirKind::Local { sym, captured, .. } => {
            let root = syms[sym.0].root.0;
            // The symbol's own axes are being collected in `out`.
            let axes = if root == own {
                BTreeSet::new()
            } else {
                batch[root].clone()
            };
            let outer = |size: &Name| {
                header
                    .groups
                    .iter()
                    .filter(|(_, g)| g == size)
                    .map(|(h, _)| h.clone())
                    .collect::<Vec<_>>()
            };
            let is_captured = |size: &Name| {
                captured
                    .iter()
                    .any(|(n, _)| n == size || outer(size).contains(n))
            };
            out.extend(axes.into_iter().filter(|size| !is_captured(size)));
        }
        _ => {}
    }
    for child in h.kind.children() {
        needed(child, header, syms, own, batch, out);
    }
}

pub fn type_of(h: &H, header: &Header<'_>, syms: &[Sym], types: &[Type]) -> Type {
    let of = |h: &H| type_of(h, header, syms, types);
    match &h.kind {
        HirKind::Poison => Type::Unknown,
        HirKind::Int(_) | HirKind::Var(_) | HirKind::Batch(_) | HirKind::Size(_) => Type::Int,
        HirKind::Real(_) | HirKind::RealScalar(_) => Type::Real,
        HirKind::Bool(_) | HirKind::BoolScalar(_) | HirKind::Cmp(..) | HirKind::Not(_) => {
            Type::Bool
        }
        HirKind::Tensor { tensor, .. } => tensor_type(header, *tensor),
        HirKind::Local { sym, .. } => types[syms[sym.0].root.0],
        HirKind::Neg(a) => of(a).max(Type::Int),
        HirKind::Bin(BinOp::And | BinOp::Or, ..) => Type::Bool,
        HirKind::Bin(BinOp::Pow, ..) => Type::Real,
        HirKind::Bin(_, a, b) => numbers(of(a), of(b)),
        HirKind::If { then, other, .. } => of(then).max(of(other)),
        HirKind::Call(fun, args) => {
            call_type(*fun, args.iter().map(of).max().unwrap_or(Type::Real))
        }
        HirKind::Reduce(r, _, args) => reduce_type(*r, args.first().map_or(Type::Real, of)),
    }
}

pub fn tensor_type(header: &Header<'_>, tensor: usize) -> Type {
    let decl = &header.tensors[tensor];
    match decl.tensor.kind {
        _ if decl.complex => Type::Complex,
        Kind::Real => Type::Real,
        Kind::Int => Type::Int,
        Kind::Bool => Type::Bool,
    }
}

fn numbers(a: Type, b: Type) -> Type {
    a.max(b).max(Type::Int)
}

fn call_type(fun: Fun, arg: Type) -> Type {
    match fun {
        Fun::Min | Fun::Max => arg.max(Type::Int),
        Fun::Int => Type::Int,
        Fun::Complex | Fun::Expi => Type::Complex,
        Fun::Conj => Type::Complex,
        Fun::Map(Func::Exp) => arg.max(Type::Real),
        Fun::Map(Func::Floor | Func::Ceil | Func::Round) => Type::Int,
        Fun::Map(Func::Abs) if arg == Type::Int => Type::Int,
        Fun::Real | Fun::Re | Fun::Im | Fun::Map(_) => Type::Real,
    }
}

fn reduce_type(reduction: Reduction, arg: Type) -> Type {
    match reduction {
        Reduction::Sum | Reduction::Prod | Reduction::Cumsum | Reduction::Cumprod => {
            arg.max(Type::Int)
        }
        Reduction::Max | Reduction::Min => arg.max(Type::Int),
        Reduction::Mean => arg.max(Type::Real),
        Reduction::Lse | Reduction::Softmax => Type::Real,
        Reduction::Any | Reduction::All | Reduction::Topk => Type::Bool,
        Reduction::Argmax | Reduction::Argmin | Reduction::Rank => Type::Int,
    }
}
