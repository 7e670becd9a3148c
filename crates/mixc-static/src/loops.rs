//! The loops of a tile kernel that hold its matrix products, and how often they turn.

use mixc_ir::{Ix, Name};
use mixc_tile::counts::{Counts, counts};
use mixc_tile::{Access, BufId, Expr, Kernel, Stmt};
use std::collections::BTreeMap;

/// A loop with products in its body, outside of loops further inside.
#[derive(Clone, Debug, PartialEq)]
pub struct TileLoop {
    /// Turns in one launch, over all grid points.
    pub turns: u64,
    /// Whether it has no loop inside.
    pub is_flat: bool,
    /// What one turn does.
    pub turn: Counts,
    pub body: Vec<Stmt>,
}

/// The loops with products, in the order of the text. Loops whose work does not follow from `sizes` are left out.
pub fn tile_loops(kernel: &Kernel, sizes: &BTreeMap<Name, i64>) -> Vec<TileLoop> {
    let mut found = vec![];
    visit(&kernel.body, &mut vec![], &mut |path, target| {
        let (Stmt::For { body, .. }, true) = (target, has_product(target)) else {
            return;
        };
        let of = |body: Vec<Stmt>, grid: bool| {
            let mut reduced = Kernel {
                body,
                ..kernel.clone()
            };
            if !grid {
                for axis in &mut reduced.grid {
                    axis.extent = Ix::Const(1);
                }
            }
            counts(&reduced, sizes).ok()
        };
        let turns = of(vec![along(path, target, &|s| with_body(s, tick()))], true);
        let once = |s: &Stmt| first_turn(s, body_of(s).to_vec());
        let turn = of(vec![along_first(path, once(target))], false);
        if let (Some(turns), Some(turn)) = (turns, turn) {
            found.push(TileLoop {
                turns: turns.statements,
                is_flat: !body.iter().any(has_loop),
                turn,
                body: body.clone(),
            });
        }
    });
    found
}

/// A statement around another, and whether that is in its first part: a loop's body, the side of a condition.
type Around<'k> = (&'k Stmt, bool);

/// Every loop with the statements around it, outermost first.
fn visit<'k>(
    body: &'k [Stmt],
    path: &mut Vec<Around<'k>>,
    f: &mut dyn FnMut(&[Around<'k>], &'k Stmt),
) {
    for stmt in body {
        if let Stmt::For { .. } = stmt {
            f(path, stmt);
        }
        let parts: Vec<(&[Stmt], bool)> = match stmt {
            Stmt::For { body, .. } => vec![(body, true)],
            Stmt::If {
                then, otherwise, ..
            } => vec![(then, true), (otherwise, false)],
            _ => vec![],
        };
        for (part, side) in parts {
            path.push((stmt, side));
            visit(part, path, f);
            path.pop();
        }
    }
}

fn has_product(stmt: &Stmt) -> bool {
    let Stmt::For { body, .. } = stmt else {
        return false;
    };
    any(body, &|s| matches!(s, Stmt::Contract { .. }))
}

/// Whether a statement is one, outside of loops.
fn any(body: &[Stmt], is: &dyn Fn(&Stmt) -> bool) -> bool {
    body.iter().any(|stmt| match stmt {
        Stmt::If {
            then, otherwise, ..
        } => any(then, is) || any(otherwise, is),
        Stmt::For { .. } => false,
        other => is(other),
    })
}

fn has_loop(stmt: &Stmt) -> bool {
    match stmt {
        Stmt::For { .. } => true,
        Stmt::If {
            then, otherwise, ..
        } => then.iter().chain(otherwise).any(has_loop),
        _ => false,
    }
}

fn body_of(stmt: &Stmt) -> &[Stmt] {
    match stmt {
        Stmt::For { body, .. } => body,
        _ => &[],
    }
}

fn with_body(stmt: &Stmt, new: Vec<Stmt>) -> Stmt {
    let mut stmt = stmt.clone();
    if let Stmt::For { body, .. } = &mut stmt {
        *body = new;
    }
    stmt
}

/// The loop for its index 0 alone.
fn first_turn(stmt: &Stmt, new: Vec<Stmt>) -> Stmt {
    match stmt {
        Stmt::For { var, reverse, .. } => Stmt::For {
            var: var.clone(),
            lo: Ix::Const(0),
            hi: Ix::Const(1),
            reverse: *reverse,
            body: new,
        },
        other => other.clone(),
    }
}

/// A statement that counts as one and does nothing.
fn tick() -> Vec<Stmt> {
    vec![Stmt::Map {
        axes: vec![],
        dst: Access {
            buf: BufId(0),
            places: vec![],
        },
        expr: Expr::Const(0.0),
    }]
}

/// The changed target with nothing but the statements around it.
fn along(path: &[Around], target: &Stmt, change: &dyn Fn(&Stmt) -> Stmt) -> Stmt {
    let mut inner = change(target);
    for (around, side) in path.iter().rev() {
        inner = match around {
            Stmt::If { cond, .. } => {
                let (then, otherwise) = if *side {
                    (vec![inner], vec![])
                } else {
                    (vec![], vec![inner])
                };
                Stmt::If {
                    cond: cond.clone(),
                    then,
                    otherwise,
                }
            }
            other => with_body(other, vec![inner]),
        };
    }
    inner
}

/// The statement inside the first turns of the loops around it.
fn along_first(path: &[Around], target: Stmt) -> Stmt {
    let loops = path.iter().rev().map(|(s, _)| s);
    let loops = loops.filter(|s| matches!(s, Stmt::For { .. }));
    loops.fold(target, |inner, around| first_turn(around, vec![inner]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use mixc_tile::parse_kernel;

    #[test]
    fn turns_are_counted_over_the_grid_and_work_within_one_turn() {
        let text = "kernel k(dims: T) {
            in q: bf16 [$T, 16] unit
            out o: f32 [$T, 16]
            shared a: [16, 16]  shared b: [16, 16]  shared c: [16, 16]
            grid i0 < ceil_div($T, 16)
            load [i < 16, d < 16] a[i, d] <- q[i0 * 16 + i, d]
            for j0 in 0 .. i0 + 1 {
              load [i < 16, d < 16] b[i, d] <- q[j0 * 16 + i, d]
              contract [i < 16, j < 16, d < 16] c[i, j] (+)= a[i, d] * b[j, d]
              for r in 0 .. 3 {
                map [i < 16, j < 16] c[i, j] = 2.0 * c[i, j]
              }
            }
            store [i < 16, d < 16] o[i0 * 16 + i, d] <- c[i, d]
        }";
        let kernel = parse_kernel(&mixc_text::Source::new("test", text)).unwrap();
        let loops = tile_loops(&kernel, &[("T".into(), 64)].into());
        assert_eq!(loops.len(), 1);
        // 1 + 2 + 3 + 4 turns.
        assert_eq!((loops[0].turns, loops[0].is_flat), (10, false));
        assert_eq!(loops[0].turn.contract_fmas, 16 * 16 * 16);
        assert_eq!(loops[0].turn.loaded_bytes, 16 * 16 * 2);
    }
}
