//! Which unit computes a product, and which of its axes are rows.

use super::orient;
use crate::visit::{self, Key};
use crate::{Options, Precision};
use mixc_ir::{DType, Func, Name};
use mixc_tile::{Access, Expr, Kernel, Stmt};
use std::collections::HashMap;

/// What multiplies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Unit {
    Bf16,
    F16,
    Tf32,
    Tf32x3,
    /// Multiply-adds, tiles of the result in registers.
    Fma,
}

impl Unit {
    pub fn is_half(self) -> bool {
        matches!(self, Unit::Bf16 | Unit::F16)
    }

    pub fn is_matrix(self) -> bool {
        self != Unit::Fma
    }
}

/// dst[m, n] (+)= sum over k of rows[m, k] * columns[n, k], each of the three possibly several axes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Product {
    pub unit: Unit,
    pub m: Vec<(Name, usize)>,
    pub n: Vec<(Name, usize)>,
    pub k: Vec<(Name, usize)>,
    pub rows: Access,
    pub columns: Access,
    pub dst: Access,
    pub accumulate: bool,
    /// Rows that were computed go in as a rounded part and what it leaves, two 16-bit numbers.
    pub split_rows: bool,
    /// The result goes to outputs alone: rounding a factor is like rounding the output.
    pub passing: bool,
    /// How warpgroups compute it together, if they do.
    pub warpgroup: Option<super::Warpgroup>,
}

impl Product {
    /// Makes the rows columns and the columns rows.
    pub fn swap(&mut self) {
        std::mem::swap(&mut self.m, &mut self.n);
        std::mem::swap(&mut self.rows, &mut self.columns);
    }
}

/// Matrix units work on tiles of 16 x 8; below this extent more than half would be padding.
const SMALLEST: usize = 5;

/// Decides for every product with rows and columns. Others (a matrix and a vector, batches of
/// products) are sums like any other.
pub(crate) fn choose(kernel: &Kernel, options: &Options) -> HashMap<Key, Product> {
    let mut found = vec![];
    visit::each(&kernel.body, &mut |stmt| {
        if let Some(product) = split(stmt) {
            found.push((stmt as Key, product));
        }
    });
    orient::orient(kernel, options, &mut found);
    let passing = mixc_tile::flow::passing(kernel);
    for (_, product) in &mut found {
        product.unit = unit(kernel, options, product);
        product.passing = passing.contains(&product.dst.buf);
        product.split_rows = product.unit.is_half()
            && is_computed(kernel, &product.rows)
            && !product.passing
            && !are_weights(kernel, product.rows.buf);
    }
    found.into_iter().collect()
}

pub(super) fn split(stmt: &Stmt) -> Option<Product> {
    let Stmt::Contract {
        axes,
        accumulate,
        dst,
        a,
        b,
    } = stmt
    else {
        return None;
    };
    visit::plain(dst)?;
    let has = |access: &Access, name: &Name| {
        access
            .places
            .contains(&mixc_tile::Place::Axis(name.clone()))
    };
    let (mut m, mut n, mut k) = (vec![], vec![], vec![]);
    for axis in axes {
        let entry = (axis.name.clone(), axis.extent);
        match (has(dst, &axis.name), has(a, &axis.name), has(b, &axis.name)) {
            (true, true, false) => m.push(entry),
            (true, false, true) => n.push(entry),
            (false, true, true) => k.push(entry),
            _ => return None,
        }
    }
    if m.is_empty() || n.is_empty() || k.is_empty() {
        return None;
    }
    Some(Product {
        unit: Unit::Fma,
        m,
        n,
        k,
        rows: a.clone(),
        columns: b.clone(),
        dst: dst.clone(),
        accumulate: *accumulate,
        split_rows: false,
        passing: false,
        warpgroup: None,
    })
}

fn unit(kernel: &Kernel, options: &Options, product: &Product) -> Unit {
    let size = |axes: &[(Name, usize)]| axes.iter().map(|(_, n)| n).product::<usize>();
    if size(&product.m) < SMALLEST || size(&product.n) < SMALLEST || size(&product.k) < SMALLEST {
        return Unit::Fma;
    }
    let single = match options.precision {
        Precision::Fma => Unit::Fma,
        Precision::Tf32 => Unit::Tf32,
        Precision::Tf32x3 => Unit::Tf32x3,
    };
    let half = kernel.tensors.iter().find_map(|t| match t.dtype {
        DType::Bf16 => Some(Unit::Bf16),
        DType::F16 => Some(Unit::F16),
        _ => None,
    });
    match (
        source(kernel, &product.rows),
        source(kernel, &product.columns),
    ) {
        (Source::Loaded(DType::Bf16), Source::Loaded(DType::Bf16)) => Unit::Bf16,
        (Source::Loaded(DType::F16), Source::Loaded(DType::F16)) => Unit::F16,
        (Source::Loaded(DType::F32), _) | (_, Source::Loaded(DType::F32)) => single,
        (Source::Loaded(_), Source::Loaded(_)) => single,
        // What was computed is rounded to the type of the tensors. f16 has not the range for any value, only for
        // weights, which are at most 1; else it is rounded to tf32, which has f16's mantissa.
        (Source::Computed, _) | (_, Source::Computed) => match half {
            Some(Unit::Bf16) => Unit::Bf16,
            Some(unit) if fit_f16(kernel, product) => unit,
            Some(_) => Unit::Tf32,
            None => single,
        },
    }
}

/// Whether both factors are weights or were loaded as f16.
fn fit_f16(kernel: &Kernel, product: &Product) -> bool {
    [&product.rows, &product.columns]
        .into_iter()
        .all(|factor| match source(kernel, factor) {
            Source::Loaded(dtype) => dtype == DType::F16,
            Source::Computed => are_weights(kernel, factor.buf),
        })
}

#[derive(Clone, Copy)]
enum Source {
    Loaded(DType),
    Computed,
}

fn source(kernel: &Kernel, access: &Access) -> Source {
    let mut found = None;
    visit::each(&kernel.body, &mut |stmt| {
        if visit::written(stmt).is_some_and(|dst| dst.buf == access.buf) {
            let dtype = match stmt {
                Stmt::Load { tensor, .. } => kernel
                    .tensors
                    .iter()
                    .find(|t| t.name == *tensor)
                    .map(|t| t.dtype),
                _ => None,
            };
            found = match (found, dtype) {
                (None, Some(dtype)) => Some(Source::Loaded(dtype)),
                (Some(Source::Loaded(old)), Some(dtype)) if old == dtype => {
                    Some(Source::Loaded(dtype))
                }
                _ => Some(Source::Computed),
            };
        }
    });
    match found {
        Some(Source::Loaded(d @ (DType::F32 | DType::Bf16 | DType::F16))) => Source::Loaded(d),
        _ => Source::Computed,
    }
}

/// Whether a factor is not as it was loaded.
pub(super) fn is_computed(kernel: &Kernel, access: &Access) -> bool {
    matches!(source(kernel, access), Source::Computed)
}

/// Whether a tile holds weights exp(x - m): they are divided by their own sum in the end, and their rounding
/// averages out. What is summed up over a whole sequence (states, decayed keys) keeps every rounding.
pub(super) fn are_weights(kernel: &Kernel, buf: mixc_tile::BufId) -> bool {
    let mut all = true;
    visit::each(&kernel.body, &mut |stmt| {
        if visit::written(stmt).is_some_and(|dst| dst.buf == buf) {
            all &= matches!(stmt, Stmt::Map { expr, .. } if is_weight(expr));
        }
    });
    all
}

fn is_weight(expr: &Expr) -> bool {
    match expr {
        Expr::Const(x) => *x == 0.0,
        Expr::Call(Func::Exp, args) => matches!(args[..], [Expr::Call(Func::Sub, _)]),
        Expr::Call(Func::Select, args) => args[1..].iter().all(is_weight),
        _ => false,
    }
}
