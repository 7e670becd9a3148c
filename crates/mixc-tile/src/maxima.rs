//! Factors that scores have in common are taken out of their running maximum.
//!
//! Scores of a softmax are products times a factor that is the same for all: `max(c x) = c max(x)` where c > 0, exactly,
//! since rounding keeps the order. Then nothing is multiplied but maxima, and `exp(c x - m)` is a multiply-add
//! for a target that computes it as a power of 2. Whether c is positive is known at run time only, so where it is
//! not, the products are multiplied by it at once and 1 takes its place:
//!
//! ```text
//! contract [i, j, d] s[i, j] = q[d, i] * k[d, j]     contract [i, j, d] s[i, j] = q[d, i] * k[d, j]
//!                                                    map [i, j] s[i, j] = select(0 < c, 1, c) * s[i, j]
//! map [i, j] t[i, j] = c * s[i, j]                   map [i, j] t[i, j] = s[i, j]
//! reduce max [i, j] m[i] (+)= t[i, j]                reduce max [i, j] m[i] (+)= t[i, j]
//! map [i, j] p[i, j] = exp(t[i, j] - m[i])           map [i, j] p[i, j] = exp(p * t[i, j] - p * m[i])
//!                                                    with p = select(0 < c, c, 1)
//! ```

use crate::visit::{each, elements, reads, written};
use crate::{Access, BufId, Expr, Kernel, Place, ReduceKind, Stmt};
use mixc_ir::Func;
use std::collections::BTreeSet;

/// The kernel with common factors of scores behind their maxima, if it has such scores.
pub fn factored(kernel: &Kernel) -> Option<Kernel> {
    let mut found: Option<Kernel> = None;
    for n in 0..kernel.bufs.len() {
        let current = found.as_ref().unwrap_or(kernel);
        if let Some(plan) = Plan::of(current, BufId(n as u32)) {
            found = Some(plan.carry_out(current));
        }
    }
    found
}

/// What is rewritten for one maximum.
struct Plan {
    maximum: BufId,
    /// The buffers whose maximum it is.
    scores: BTreeSet<BufId>,
    factor: Expr,
}

impl Plan {
    fn of(kernel: &Kernel, maximum: BufId) -> Option<Plan> {
        let mut scores = BTreeSet::new();
        let mut fits = true;
        each(&kernel.body, &mut |stmt| {
            if written(stmt).is_some_and(|dst| dst.buf == maximum) {
                match stmt {
                    Stmt::Map {
                        expr: Expr::Const(f32::NEG_INFINITY),
                        ..
                    } => {}
                    Stmt::Reduce {
                        kind: ReduceKind::Max,
                        expr: Expr::Elem(score),
                        ..
                    } => {
                        scores.insert(score.buf);
                    }
                    _ => fits = false,
                }
            }
        });
        let mut factor = None;
        for &score in &scores {
            let (own, product) = scaled(kernel, score)?;
            fits &= only_reader(kernel, product, score);
            fits &= *factor.get_or_insert_with(|| own.clone()) == own;
        }
        let plan = Plan {
            maximum,
            scores,
            factor: factor?,
        };
        each(&kernel.body, &mut |stmt| fits &= plan.can_rewrite(stmt));
        fits.then_some(plan)
    }

    fn concerns(&self, access: &Access) -> bool {
        access.buf == self.maximum || self.scores.contains(&access.buf)
    }

    /// Matrix products and gathers read elements as they are.
    fn can_rewrite(&self, stmt: &Stmt) -> bool {
        match stmt {
            Stmt::Load { .. } | Stmt::Contract { .. } => {
                !reads(stmt).into_iter().any(|a| self.concerns(a))
            }
            _ => true,
        }
    }

    fn carry_out(&self, kernel: &Kernel) -> Kernel {
        let mut kernel = kernel.clone();
        kernel.body = self.block(std::mem::take(&mut kernel.body));
        kernel
    }

    fn block(&self, body: Vec<Stmt>) -> Vec<Stmt> {
        let mut out = vec![];
        for mut stmt in body {
            match &mut stmt {
                Stmt::For { body, .. } => *body = self.block(std::mem::take(body)),
                Stmt::If {
                    then, otherwise, ..
                } => {
                    *then = self.block(std::mem::take(then));
                    *otherwise = self.block(std::mem::take(otherwise));
                }
                Stmt::Map { axes, dst, expr } if self.scores.contains(&dst.buf) => {
                    let mut product = None;
                    without_factor(expr, &mut product);
                    if let (Some(product), Some(sign)) = (product, self.unless_positive()) {
                        out.push(Stmt::Map {
                            axes: axes.clone(),
                            dst: product.clone(),
                            expr: times(sign, Expr::Elem(product)),
                        });
                    }
                }
                Stmt::Reduce { dst, .. } if dst.buf == self.maximum => {}
                Stmt::Map { expr, .. }
                | Stmt::Scan { expr, .. }
                | Stmt::Reduce { expr, .. }
                | Stmt::Store { src: expr, .. } => self.multiply(expr),
                Stmt::Load { .. } | Stmt::Contract { .. } => {}
            }
            out.push(stmt);
        }
        out
    }

    /// The factor where it is positive, else 1.
    fn positive(&self) -> Expr {
        match self.factor {
            Expr::Const(_) => self.factor.clone(),
            _ => select(self.is_positive(), self.factor.clone(), Expr::Const(1.0)),
        }
    }

    /// What the products are multiplied by at once: nothing for a constant, which is positive.
    fn unless_positive(&self) -> Option<Expr> {
        match self.factor {
            Expr::Const(_) => None,
            _ => Some(select(
                self.is_positive(),
                Expr::Const(1.0),
                self.factor.clone(),
            )),
        }
    }

    fn is_positive(&self) -> Expr {
        Expr::Call(Func::Lt, vec![Expr::Const(0.0), self.factor.clone()])
    }

    fn multiply(&self, expr: &mut Expr) {
        match expr {
            Expr::Const(_) | Expr::Scalar(_) | Expr::Index(_) => {}
            Expr::Elem(access) => {
                if self.concerns(access) {
                    *expr = times(self.positive(), expr.clone());
                }
            }
            Expr::Add(a, b) | Expr::Mul(a, b) => {
                self.multiply(a);
                self.multiply(b);
            }
            Expr::Call(_, args) => args.iter_mut().for_each(|a| self.multiply(a)),
        }
    }
}

fn times(factor: Expr, of: Expr) -> Expr {
    Expr::Mul(Box::new(factor), Box::new(of))
}

fn select(cond: Expr, then: Expr, otherwise: Expr) -> Expr {
    Expr::Call(Func::Select, vec![cond, then, otherwise])
}

/// The uniform factor of a buffer's elements, and the buffer that it multiplies, if one statement makes the buffer:
/// `c * x`, or that where a condition holds and -infinity elsewhere.
fn scaled(kernel: &Kernel, score: BufId) -> Option<(Expr, BufId)> {
    let mut makers = vec![];
    each(&kernel.body, &mut |stmt| {
        if written(stmt).is_some_and(|dst| dst.buf == score) {
            makers.push(stmt);
        }
    });
    let [Stmt::Map { axes, dst, expr }] = makers.as_slice() else {
        return None;
    };
    let mut expr = expr.clone();
    let mut product = None;
    let factor = without_factor(&mut expr, &mut product)?;
    // In place, the product has the axes of the score and no others.
    let along_axes = |a: &Access| {
        let all = a.places.iter().all(|p| matches!(p, Place::Axis(_)));
        all && a.places.len() == axes.len()
    };
    let product = product.filter(|p| along_axes(p) && along_axes(dst))?;
    Some((factor, product.buf))
}

/// Takes the factor away from `c * x` and `select(cond, c * x, -inf)`; gives it and the access x.
fn without_factor(expr: &mut Expr, product: &mut Option<Access>) -> Option<Expr> {
    match expr {
        Expr::Mul(a, b) => {
            let (factor, of) = match (&**a, &**b) {
                (factor, Expr::Elem(of)) if is_factor(factor) => (factor.clone(), of.clone()),
                (Expr::Elem(of), factor) if is_factor(factor) => (factor.clone(), of.clone()),
                _ => return None,
            };
            *product = Some(of.clone());
            *expr = Expr::Elem(of);
            Some(factor)
        }
        Expr::Call(Func::Select, args) => match args.as_mut_slice() {
            [cond, scaled, Expr::Const(f32::NEG_INFINITY)] => {
                let mut in_condition = vec![];
                elements(cond, &mut in_condition);
                let factor = without_factor(scaled, product)?;
                let of = product.as_ref()?.buf;
                in_condition.iter().all(|a| a.buf != of).then_some(factor)
            }
            _ => None,
        },
        _ => None,
    }
}

/// Whether an expression is the same for all elements, and not known to be 0 or less.
fn is_factor(expr: &Expr) -> bool {
    match expr {
        Expr::Const(c) => *c > 0.0 && c.is_finite(),
        other => uniform(other),
    }
}

/// Whether an expression is made of parameters and constants alone.
pub fn uniform(expr: &Expr) -> bool {
    match expr {
        Expr::Const(_) | Expr::Scalar(_) => true,
        Expr::Elem(_) | Expr::Index(_) => false,
        Expr::Add(a, b) | Expr::Mul(a, b) => uniform(a) && uniform(b),
        Expr::Call(_, args) => args.iter().all(uniform),
    }
}

/// Whether one statement reads a buffer, the one that makes `reader`.
fn only_reader(kernel: &Kernel, buf: BufId, reader: BufId) -> bool {
    let mut only = true;
    let mut writers = 0;
    each(&kernel.body, &mut |stmt| {
        let makes = written(stmt).map(|dst| dst.buf);
        writers += usize::from(makes == Some(buf));
        if reads(stmt).iter().any(|a| a.buf == buf) {
            only &= makes == Some(reader);
        }
    });
    only && writers == 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{KernelArgs, TensorData, interpret, parse_kernel};
    use mixc_text::Source;

    fn kernel(score: &str, after: &str) -> Kernel {
        let text = format!(
            "kernel k(dims: T; scalars: scale) {{
               in x: f32 [8, $T] unit
               out o: f32 [8]
               out top: f32 [8]
               shared xs: [8, 4]
               shared s: [8, 4]
               shared t: [8, 4]
               shared p: [8, 4]
               shared m: [8]
               shared sum: [8]
               grid one < 1
               map [i < 8] m[i] = -inf
               map [i < 8] sum[i] = 0.0
               for b in 0 .. ($T + 3) / 4 {{
                 load [i < 8, j < 4] xs[i, j] <- x[i, b * 4 + j]
                 map [i < 8, j < 4] s[i, j] = 2.0 * xs[i, j]
                 map [i < 8, j < 4] t[i, j] = {score}
                 reduce max [i < 8, j < 4] m[i] (+)= t[i, j]
                 map [i < 8, j < 4] p[i, j] = exp(t[i, j] - m[i])
                 reduce sum [i < 8, j < 4] sum[i] (+)= p[i, j]
                 {after}
               }}
               store [i < 8] o[i] <- sum[i]
               store [i < 8] top[i] <- m[i]
             }}"
        );
        let kernel = parse_kernel(&Source::new("kernel", &text)).unwrap();
        crate::verify(&kernel).unwrap();
        kernel
    }

    fn run(kernel: &Kernel, scale: f32) -> Vec<f32> {
        let x = (0..8 * 7).map(|n| ((n * 37) % 23) as f32 - 11.0).collect();
        let zeros = || TensorData::filled(&[8], 0.0);
        let mut args = KernelArgs {
            dims: [("T".into(), 7)].into(),
            scalars: [("scale".into(), scale)].into(),
            tensors: [
                ("x".into(), TensorData::new(&[8, 7], x)),
                ("o".into(), zeros()),
                ("top".into(), zeros()),
            ]
            .into(),
        };
        interpret(kernel, &mut args).unwrap();
        let mut all = args.tensors["o"].data.clone();
        all.extend(&args.tensors["top"].data);
        all
    }

    #[test]
    fn factors_of_any_sign_give_the_same_maxima_and_weights() {
        for score in [
            "scale * s[i, j]",
            "select(int(b * 4 + j) < int($T), s[i, j] * scale, -inf)",
            "0.25 * s[i, j]",
        ] {
            let kernel = kernel(score, "");
            let factored = factored(&kernel).unwrap();
            crate::verify(&factored).unwrap();
            for scale in [0.3, -0.7, 0.0, f32::NAN] {
                let (was, is) = (run(&kernel, scale), run(&factored, scale));
                let same = |(a, b): (&f32, &f32)| a == b || a.is_nan() && b.is_nan();
                assert!(
                    was.iter().zip(&is).all(same),
                    "{score} {scale}: {was:?} {is:?}"
                );
            }
        }
    }

    #[test]
    fn the_products_are_multiplied_only_where_the_factor_is_not_positive() {
        let text = factored(&kernel("scale * s[i, j]", ""))
            .unwrap()
            .to_string();
        assert!(
            text.contains("s[i, j] = select(0.0 < scale, 1.0, scale) * s[i, j]"),
            "{text}"
        );
        assert!(text.contains("t[i, j] = s[i, j]"), "{text}");
    }

    #[test]
    fn scores_stay_where_a_factor_cannot_leave() {
        // A factor for each row, a product that is read elsewhere, a maximum that something else changes.
        assert_eq!(factored(&kernel("xs[i, j] * s[i, j]", "")), None);
        assert_eq!(factored(&kernel("-0.5 * s[i, j]", "")), None);
        let reader = "reduce sum [i < 8, j < 4] sum[i] (+)= s[i, j]";
        assert_eq!(factored(&kernel("scale * s[i, j]", reader)), None);
        let other = "map [i < 8] m[i] = max(m[i], 0.0)";
        assert_eq!(factored(&kernel("scale * s[i, j]", other)), None);
    }
}
