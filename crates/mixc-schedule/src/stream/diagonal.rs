//! Sums with a decay between the streamed position and the row: from the diagonal downwards.

use super::reach::reach;
use super::{Loop, Node, emit_updates};
use crate::ScheduleError;
use crate::builder::{Binding, Builder};
use crate::lower::emit_reduce;
use mixc_ir::{Ix, Name, T, Term};
use mixc_tile::{Expr, ReduceKind, Stmt};
use std::sync::Arc;

/// Decays between the streamed axis and a row axis (not plain masks) in the loop's terms.
pub fn decays(b: &Builder, plan: &Loop) -> Vec<T> {
    let mut found: Vec<T> = vec![];
    for node in &plan.nodes {
        node.term.visit(&mut |t| {
            if let Term::Ss { j, decay, .. } = &**t
                && *j == plan.j
                && !decay.is_const(1.0)
                && !found.contains(t)
                && b.known_expr(t).is_none()
            {
                found.push(t.clone());
            }
        });
    }
    found
}

/// Blocks from the diagonal downwards. A decay from j to i across blocks is the product of three
/// parts, each a product of decays and so within their range: from the start of i's block to i, over
/// the blocks between (a running product), and from j to the end of its block
/// (the block law of semiseparable matrices: Dao & Gu 2024, arXiv 2405.21060, section 6).
pub fn emit_from_diagonal(
    b: &mut Builder,
    plan: &Loop,
    var: &Name,
    decays: &[T],
) -> Result<(), ScheduleError> {
    if !plan.softmaxes.is_empty() {
        return Err(ScheduleError::unsupported(
            "a decay inside a softmax".into(),
        ));
    }
    let block = b.stream_block as i64;
    let row = match &*decays[0] {
        Term::Ss { i, .. } => i.clone(),
        _ => {
            return Err(ScheduleError::internal(
                "a decay is a semiseparable mask".into(),
            ));
        }
    };
    let Some(Binding::Tile { base, extent, .. }) = b.axes.get(&row).map(|a| a.binding.clone())
    else {
        return Err(ScheduleError::unsupported(format!(
            "a decay towards axis {row}, which is not in the tile"
        )));
    };
    if extent as i64 != block {
        return Err(ScheduleError::unsupported(
            "a decay between tiles of different extents".into(),
        ));
    }
    let level = b.top();
    let diagonal = base.clone() / block;
    let reach = reach(b, plan)?;
    let first = match &reach.lo {
        Some(lo) => lo.clone().max(Ix::Const(0)) / block,
        None => Ix::Const(0),
    };

    // The diagonal block.
    let inner = b.open();
    b.bind(
        &plan.j,
        Binding::Tile {
            base: base.clone(),
            extent: b.stream_block,
            end: Some(plan.size.clone()),
        },
        inner,
    );
    let result = emit_updates(b, plan, inner);
    let body = b.close();
    result?;
    let next = diagonal.clone() + 1;
    b.emit(
        level,
        Stmt::For {
            var: var.clone(),
            lo: diagonal.clone(),
            hi: next,
            reverse: false,
            body,
        },
    );

    // Running products over whole blocks, one for each decay.
    let mut between = vec![];
    for ss in decays {
        let Term::Ss { j, decay, .. } = &**ss else {
            continue;
        };
        let renamed = decay.substitute(&[(j.clone(), Ix::Axis(row.clone()))].into());
        let axes: Vec<Name> = b
            .tile_axes(&renamed)
            .into_iter()
            .filter(|a| *a != row)
            .collect();
        let product = b.buffer("between", &axes);
        b.emit_map(level, product.clone(), Expr::Const(1.0));
        between.push((ss.clone(), product, axes));
    }
    let inner = b.open();
    let base = Ix::Axis(var.clone()) * block;
    b.bind(
        &plan.j,
        Binding::Tile {
            base,
            extent: b.stream_block,
            end: None,
        },
        inner,
    );
    let mut parts = vec![];
    for (ss, product, axes) in &between {
        let Term::Ss {
            j,
            i,
            strict,
            decay,
        } = &**ss
        else {
            continue;
        };
        let on_i = decay.substitute(&[(j.clone(), Ix::Axis(i.clone()))].into());
        let to_row = Arc::new(Term::CumProd {
            axis: i.clone(),
            exclusive: *strict,
            body: on_i,
        });
        let from_key = Arc::new(Term::SufProd {
            axis: j.clone(),
            body: decay.clone(),
        });
        let running = b.as_term(product, axes, inner);
        parts.push((ss.clone(), Term::product(vec![to_row, running, from_key])));
    }
    let replaced = Loop {
        j: plan.j.clone(),
        size: plan.size.clone(),
        nodes: plan
            .nodes
            .iter()
            .map(|n| n.with_decays_replaced(&parts))
            .collect(),
        softmaxes: vec![],
    };
    let result = emit_updates(b, &replaced, inner).and_then(|()| {
        for (ss, product, _) in &between {
            let Term::Ss { j, decay, .. } = &**ss else {
                continue;
            };
            let over = [j.clone()];
            emit_reduce(
                b,
                inner,
                ReduceKind::Prod,
                true,
                product.clone(),
                &over,
                &Term::one(),
                decay,
            )?;
        }
        Ok(())
    });
    b.axes.remove(&plan.j);
    let body = b.close();
    result?;
    b.emit(
        level,
        Stmt::For {
            var: var.clone(),
            lo: first,
            hi: diagonal,
            reverse: true,
            body,
        },
    );
    Ok(())
}

impl Node {
    fn with_decays_replaced(&self, parts: &[(T, T)]) -> Node {
        let mut replace = |t: T| {
            parts
                .iter()
                .find(|(ss, _)| *ss == t)
                .map_or(t, |(_, new)| new.clone())
        };
        Node {
            original: self.original.clone(),
            term: self.term.rebuild(&mut replace),
            acc: self.acc.clone(),
        }
    }
}
