//! Equal subterms of a program as one shared term, so that later stages see what is computed once.

use mixc_ir::{Program, Stmt, T, Term};
use std::collections::HashMap;
use std::sync::Arc;

/// Shares equal subterms across all lets.
pub fn share_subterms(program: &mut Program) {
    let mut known = HashMap::new();
    for stmt in &mut program.body {
        if let Stmt::Let(l) = stmt {
            l.value = shared(&l.value, &mut known);
        }
    }
}

/// A node without its children, and the identities of those.
type Key = (String, Vec<usize>);

fn shared(term: &T, known: &mut HashMap<Key, T>) -> T {
    let children: Vec<T> = term
        .children()
        .into_iter()
        .map(|c| shared(c, known))
        .collect();
    let identities = children.iter().map(|c| Arc::as_ptr(c) as usize).collect();
    let hollow = term.with_children(vec![Term::zero(); children.len()]);
    let key = (format!("{hollow:?}"), identities);
    known
        .entry(key)
        .or_insert_with(|| Arc::new(term.with_children(children)))
        .clone()
}

#[cfg(test)]
mod tests {
    use super::*;
    use mixc_ir::{Ix, Let};

    #[test]
    fn equal_terms_in_different_lets_are_one() {
        let product = || {
            Term::product(vec![
                Term::read("x", vec![Ix::axis("i")]),
                Term::constant(2.0),
            ])
        };
        let one = |name: &str| {
            Stmt::Let(Let {
                name: name.into(),
                axes: vec!["i".into()],
                value: product(),
            })
        };
        let mut program = Program {
            body: vec![one("a"), one("b")],
            ..Program::default()
        };
        share_subterms(&mut program);
        let values: Vec<T> = program.lets().map(|l| l.value.clone()).collect();
        assert!(Arc::ptr_eq(&values[0], &values[1]));
    }
}
