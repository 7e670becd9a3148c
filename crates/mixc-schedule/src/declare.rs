//! The arguments of a kernel: sizes, scalars and the tensors that its body touches.

use crate::Request;
use crate::group::storage_order;
use mixc_ir::{DType, Ix, Kind, Name, Program, Stmt as CoreStmt};
use mixc_tile::{Expr, Kernel, LoadIx, Stmt, TensorArg, Usage};
use std::collections::BTreeSet;

/// Fills in dims, scalars and the tensors that the body touches.
pub fn declare_tensors(kernel: &mut Kernel, program: &Program, request: &Request) {
    kernel.dims = program.dims.clone();
    kernel.dims.extend(
        program
            .scalars
            .iter()
            .filter(|s| s.kind == Kind::Int)
            .map(|s| s.name.clone()),
    );
    kernel.scalars = program
        .scalars
        .iter()
        .filter(|s| s.kind == Kind::Real)
        .map(|s| s.name.clone())
        .collect();
    let (mut read, mut written) = (BTreeSet::new(), BTreeSet::new());
    touched(&kernel.body, &mut read, &mut written);
    for grid in &kernel.grid {
        elements(&grid.extent, &mut read);
    }
    let is_output = |name: &Name| program.outputs.iter().any(|o| o.name == *name);
    for name in read.union(&written) {
        let (shape, kind) = match program.tensor(name) {
            Some(tensor) => (tensor.shape.clone(), tensor.kind),
            None => (shape_of(program, name), Kind::Real),
        };
        let default = match kind {
            Kind::Real => DType::F32,
            Kind::Int => DType::I64,
            Kind::Bool => DType::Bool,
        };
        let usage = match (
            program.tensor(name).is_some(),
            is_output(name),
            written.contains(name),
        ) {
            (true, ..) => Usage::In,
            // A scan that looks back at what it has stored.
            _ if read.contains(name) && written.contains(name) => Usage::Work,
            (_, true, true) => Usage::Out,
            (_, true, false) => Usage::In,
            _ => Usage::Work,
        };
        kernel.tensors.push(TensorArg {
            name: name.clone(),
            dtype: request.dtypes.get(name).copied().unwrap_or(default),
            usage,
            shape,
            unit_inner: !request.strided.contains(name),
        });
    }
}

/// The stored shape of a let, a collected let or a final carry.
fn shape_of(program: &Program, name: &Name) -> Vec<Ix> {
    let sizes = |axes: &[Name]| axes.iter().map(|a| program.axes[a].clone()).collect();
    if let Some(l) = program.lets().find(|l| l.name == *name) {
        return sizes(&storage_order(program, l));
    }
    let carries = program.body.iter().flat_map(|s| match s {
        CoreStmt::Scan(s) => s.carries.as_slice(),
        CoreStmt::Let(_) => &[],
    });
    carries
        .into_iter()
        .find(|c| c.last == *name)
        .map(|c| sizes(&c.axes))
        .unwrap_or_default()
}

fn touched(stmts: &[Stmt], read: &mut BTreeSet<Name>, written: &mut BTreeSet<Name>) {
    for stmt in stmts {
        match stmt {
            Stmt::For { lo, hi, body, .. } => {
                elements(lo, read);
                elements(hi, read);
                touched(body, read, written);
            }
            Stmt::If {
                cond,
                then,
                otherwise,
            } => {
                elements(&cond.left, read);
                elements(&cond.right, read);
                touched(then, read, written);
                touched(otherwise, read, written);
            }
            Stmt::Load { tensor, index, .. } => {
                read.insert(tensor.clone());
                for ix in index {
                    if let LoadIx::Ix(ix) = ix {
                        elements(ix, read);
                    }
                }
            }
            Stmt::Store {
                tensor, index, src, ..
            } => {
                written.insert(tensor.clone());
                index.iter().for_each(|ix| elements(ix, read));
                in_expr(src, read);
            }
            Stmt::Map { expr, .. } | Stmt::Reduce { expr, .. } | Stmt::Scan { expr, .. } => {
                in_expr(expr, read);
            }
            Stmt::Contract { .. } => {}
        }
    }
}

fn in_expr(expr: &Expr, read: &mut BTreeSet<Name>) {
    match expr {
        Expr::Index(ix) => elements(ix, read),
        Expr::Add(a, b) | Expr::Mul(a, b) => {
            in_expr(a, read);
            in_expr(b, read);
        }
        Expr::Call(_, args) => args.iter().for_each(|a| in_expr(a, read)),
        Expr::Const(_) | Expr::Scalar(_) | Expr::Elem(_) => {}
    }
}

fn elements(ix: &Ix, read: &mut BTreeSet<Name>) {
    ix.visit_leaves(&mut |leaf| {
        if let Ix::Elem(tensor, _) = leaf {
            read.insert(tensor.clone());
        }
    });
}
