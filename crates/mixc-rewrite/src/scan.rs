//! From the body of a scan to a structured transition.
//!
//! Each next state is split into monomials: summed axes, factors without state, at most one state.
//! Monomials with the state at its own place make up the decay (scalar or diagonal by its axes),
//! those without state the input. Anything else keeps its sequential form, with the reason.

use crate::terms::{AxisSizes, fresh_axis, substitute};
use mixc_ir::{Carry, Func, Ix, Let, Name, Scan, T, Term};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What statements behind the scan can read, as terms without state.
pub struct Closed {
    /// Collected lets, over axes that include `axis`.
    pub collected: Vec<(Name, Vec<Name>, T)>,
    /// States after the last step.
    pub last: Vec<(Name, Vec<Name>, T)>,
    /// The axis of the steps: for a reverse scan a mirrored copy of the scan's own.
    pub axis: Name,
}

/// A product with at most one state.
#[derive(Clone)]
struct Monomial {
    axes: Vec<Name>,
    factors: Vec<T>,
    state: Option<Vec<Ix>>,
}

/// The scan's lets must already be free of lets from outside that can be inlined.
pub fn analyse(scan: &Scan, sizes: &mut AxisSizes) -> Result<Closed, String> {
    let body = inline_locals(scan, sizes)?;
    let (axis, body) = if scan.reverse {
        mirrored(scan, body, sizes)?
    } else {
        (scan.axis.clone(), body)
    };
    let mut states: BTreeMap<Name, State> = BTreeMap::new();
    let mut waiting: Vec<&Carry> = scan.carries.iter().collect();
    let steps = fresh_axis(sizes, &scan.axis, "k");
    while !waiting.is_empty() {
        let before = waiting.len();
        let mut still = vec![];
        for carry in waiting {
            let next = body
                .iter()
                .find(|l| l.name == carry.next)
                .ok_or("a state has no next value")?;
            let own = |name: &Name| *name == carry.name;
            match with_states(&next.value, scan, &states, &own, sizes)? {
                Some(value) => {
                    let state = solve(carry, next, &value, &axis, &steps, sizes)?;
                    states.insert(carry.name.clone(), state);
                }
                None => still.push(carry),
            }
        }
        if still.len() == before {
            let names: Vec<&str> = still.iter().map(|c| &*c.name).collect();
            return Err(format!(
                "the states {} depend on each other within a step",
                names.join(", ")
            ));
        }
        waiting = still;
    }
    let mut collected = vec![];
    for l in body.iter().filter(|l| l.axes.contains(&axis)) {
        let value = with_states(&l.value, scan, &states, &|_| false, sizes)?
            .ok_or("a let reads an unknown state")?;
        collected.push((l.name.clone(), l.axes.clone(), value));
    }
    let last = scan
        .carries
        .iter()
        .map(|c| {
            (
                c.last.clone(),
                states[&c.name].axes.clone(),
                states[&c.name].last.clone(),
            )
        })
        .collect();
    Ok(Closed {
        collected,
        last,
        axis,
    })
}

/// A solved state, as terms over its axes (and the axis of the steps).
struct State {
    axes: Vec<Name>,
    before: T,
    after: T,
    last: T,
}

/// Lets of one step inlined into each other. Next states stay reads, so that they are recognised.
fn inline_locals(scan: &Scan, sizes: &mut AxisSizes) -> Result<Vec<Let>, String> {
    let next: BTreeSet<&Name> = scan.carries.iter().map(|c| &c.next).collect();
    let all: BTreeSet<&Name> = scan.body.iter().map(|l| &l.name).collect();
    let mut done: Vec<Let> = vec![];
    for l in &scan.body {
        let value = replace_reads(&l.value, &mut |tensor, index| {
            if next.contains(tensor) || !all.contains(tensor) {
                return Ok(None);
            }
            let Some(local) = done.iter().find(|d| d.name == *tensor) else {
                return Err(format!("{} reads {tensor} of other steps", l.name));
            };
            for (axis, ix) in local.axes.iter().zip(index) {
                if *axis == scan.axis && *ix != Ix::Axis(scan.axis.clone()) {
                    return Err(format!("{} reads {tensor} of other steps", l.name));
                }
            }
            read_as(&local.axes, &local.value, index, sizes).map(Some)
        })?;
        done.push(Let {
            name: l.name.clone(),
            axes: l.axes.clone(),
            value,
        });
    }
    Ok(done)
}

fn read_as(axes: &[Name], value: &T, index: &[Ix], sizes: &mut AxisSizes) -> Result<T, String> {
    let map = axes.iter().cloned().zip(index.iter().cloned()).collect();
    substitute(value, &map, sizes).ok_or_else(|| "a value is read at a computed index".to_string())
}

type Replace<'a> = dyn FnMut(&Name, &[Ix]) -> Result<Option<T>, String> + 'a;

fn replace_reads(term: &T, replace: &mut Replace) -> Result<T, String> {
    if let Term::Read { tensor, index } = &**term {
        return Ok(replace(tensor, index)?.unwrap_or_else(|| term.clone()));
    }
    let mut children = vec![];
    for child in term.children() {
        children.push(replace_reads(child, replace)?);
    }
    Ok(Arc::new(term.with_children(children)))
}

/// Positions counted from the other end: steps run forward along the mirrored axis.
fn mirrored(
    scan: &Scan,
    body: Vec<Let>,
    sizes: &mut AxisSizes,
) -> Result<(Name, Vec<Let>), String> {
    let axis = fresh_axis(sizes, &scan.axis, "r");
    let size = sizes
        .get(&axis)
        .cloned()
        .ok_or("the axis of the scan has no size")?;
    let map = BTreeMap::from([(scan.axis.clone(), size - 1 - Ix::Axis(axis.clone()))]);
    let rename = |a: &Name| {
        if *a == scan.axis {
            axis.clone()
        } else {
            a.clone()
        }
    };
    let mut lets = vec![];
    for l in body {
        let value = substitute(&l.value, &map, sizes)
            .ok_or_else(|| format!("{} has a prefix operation over the reversed axis", l.name))?;
        lets.push(Let {
            name: l.name,
            axes: l.axes.iter().map(rename).collect(),
            value,
        });
    }
    Ok((axis, lets))
}

/// Reads of solved states replaced by their terms; None if a state other than `own` is not solved.
fn with_states(
    term: &T,
    scan: &Scan,
    states: &BTreeMap<Name, State>,
    own: &dyn Fn(&Name) -> bool,
    sizes: &mut AxisSizes,
) -> Result<Option<T>, String> {
    let mut unsolved = false;
    let value = replace_reads(term, &mut |tensor, index| {
        let Some(carry) = scan
            .carries
            .iter()
            .find(|c| c.name == *tensor || c.next == *tensor)
        else {
            return Ok(None);
        };
        if own(tensor) {
            return Ok(None);
        }
        let Some(state) = states.get(&carry.name) else {
            unsolved = true;
            return Ok(None);
        };
        let value = if *tensor == carry.name {
            &state.before
        } else {
            &state.after
        };
        // A next state that is collected is read at the current step.
        let index: Vec<Ix> = if index.len() > state.axes.len() {
            let next = scan
                .body
                .iter()
                .find(|l| l.name == carry.next)
                .ok_or("a state has no next value")?;
            let keep = next
                .axes
                .iter()
                .zip(index)
                .filter(|(a, _)| **a != scan.axis)
                .map(|(_, ix)| ix.clone());
            keep.collect()
        } else {
            index.to_vec()
        };
        read_as(&state.axes, value, &index, sizes).map(Some)
    })?;
    Ok((!unsolved).then_some(value))
}

fn solve(
    carry: &Carry,
    next: &Let,
    value: &T,
    axis: &Name,
    steps: &Name,
    sizes: &mut AxisSizes,
) -> Result<State, String> {
    let axes: Vec<Name> = next.axes.iter().filter(|a| *a != axis).cloned().collect();
    let own: Vec<Ix> = axes.iter().map(|a| Ix::Axis(a.clone())).collect();
    let mut kept = vec![];
    let mut inputs = vec![];
    for monomial in monomials(value, &carry.name, sizes)? {
        let product = Term::sum(monomial.axes.clone(), monomial.factors.clone());
        match monomial.state {
            None => inputs.push(product),
            Some(index) if index == own && !index.iter().any(|ix| bound_in(ix, &monomial.axes)) => {
                kept.push(product)
            }
            Some(index) if index.iter().any(|ix| bound_in(ix, &monomial.axes)) => {
                return Err(format!(
                    "the state {} is mixed across its elements (a low-rank or dense transition): no law for it yet",
                    carry.name
                ));
            }
            Some(_) => {
                return Err(format!(
                    "the state {} is read at a computed index",
                    carry.name
                ));
            }
        }
    }
    let over_steps = |term: T, sizes: &mut AxisSizes| {
        let map = BTreeMap::from([(axis.clone(), Ix::Axis(steps.clone()))]);
        substitute(&term, &map, sizes)
            .ok_or("a transition cannot be written over the steps".to_string())
    };
    let decay = over_steps(total(kept), sizes)?;
    let input = over_steps(total(inputs), sizes)?;
    let init_axes = carry.axes.iter().cloned().zip(own).collect();
    let init =
        substitute(&carry.init, &init_axes, sizes).ok_or("the initial state cannot be renamed")?;
    let scan = |strict| {
        let (decay, input, init) = (decay.clone(), input.clone(), init.clone());
        Arc::new(Term::Scan {
            j: steps.clone(),
            i: axis.clone(),
            strict,
            decay,
            input,
            init,
        })
    };
    let last = Arc::new(Term::Last {
        j: steps.clone(),
        decay: decay.clone(),
        input: input.clone(),
        init: init.clone(),
    });
    Ok(State {
        axes,
        before: scan(true),
        after: scan(false),
        last,
    })
}

fn bound_in(ix: &Ix, axes: &[Name]) -> bool {
    ix.axes().iter().any(|a| axes.contains(a))
}

fn total(mut terms: Vec<T>) -> T {
    match terms.len() {
        0 => Term::zero(),
        1 => unwrap_single(terms.remove(0)),
        _ => Arc::new(Term::Add(terms.into_iter().map(unwrap_single).collect())),
    }
}

/// A product of one factor as that factor, an empty product as 1.
fn unwrap_single(term: T) -> T {
    match &*term {
        Term::Sum { axes, factors } if axes.is_empty() && factors.is_empty() => Term::one(),
        Term::Sum { axes, factors } if axes.is_empty() && factors.len() == 1 => factors[0].clone(),
        _ => term,
    }
}

fn reads(term: &T, state: &Name) -> bool {
    let mut found = false;
    term.visit(&mut |t| found |= matches!(&**t, Term::Read { tensor, .. } if tensor == state));
    found
}

/// The term as a sum of monomials in the state.
fn monomials(term: &T, state: &Name, sizes: &mut AxisSizes) -> Result<Vec<Monomial>, String> {
    if !reads(term, state) {
        return Ok(vec![Monomial {
            axes: vec![],
            factors: vec![term.clone()],
            state: None,
        }]);
    }
    match &**term {
        Term::Read { index, .. } => Ok(vec![Monomial {
            axes: vec![],
            factors: vec![],
            state: Some(index.clone()),
        }]),
        Term::Add(terms) => {
            let mut all = vec![];
            for t in terms {
                all.extend(monomials(t, state, sizes)?);
            }
            Ok(all)
        }
        Term::Sum { axes, factors } => {
            let mut products = vec![Monomial {
                axes: axes.clone(),
                factors: vec![],
                state: None,
            }];
            for factor in factors {
                let choices = monomials(factor, state, sizes)?;
                let mut longer = vec![];
                for product in &products {
                    for choice in &choices {
                        longer.push(product.times(choice, state)?);
                    }
                }
                products = longer;
            }
            Ok(products)
        }
        Term::Map { f, args } => mapped(*f, args, state, sizes),
        _ => Err(format!(
            "the state {state} is below an operation that is not linear in it"
        )),
    }
}

fn mapped(
    f: Func,
    args: &[T],
    state: &Name,
    sizes: &mut AxisSizes,
) -> Result<Vec<Monomial>, String> {
    let scaled = |all: Vec<Monomial>, by: T| -> Vec<Monomial> {
        let scale = |mut m: Monomial| {
            m.factors.push(by.clone());
            m
        };
        all.into_iter().map(scale).collect()
    };
    let minus = || Term::constant(-1.0);
    match (f, args) {
        (Func::Neg, [x]) => Ok(scaled(monomials(x, state, sizes)?, minus())),
        (Func::Sub, [x, y]) => {
            let mut all = monomials(x, state, sizes)?;
            all.extend(scaled(monomials(y, state, sizes)?, minus()));
            Ok(all)
        }
        (Func::Div, [x, y]) if !reads(y, state) => Ok(scaled(
            monomials(x, state, sizes)?,
            Term::map(Func::Recip, vec![y.clone()]),
        )),
        (Func::Select, [c, x, y]) if !reads(c, state) => {
            let condition = Term::map(Func::Ne, vec![c.clone(), Term::zero()]);
            let otherwise = Term::map(Func::Not, vec![c.clone()]);
            let mut all = scaled(monomials(x, state, sizes)?, condition);
            all.extend(scaled(monomials(y, state, sizes)?, otherwise));
            Ok(all)
        }
        _ => Err(format!(
            "the state {state} is below {}, which is not linear",
            f.name()
        )),
    }
}

impl Monomial {
    fn times(&self, other: &Monomial, state: &Name) -> Result<Monomial, String> {
        if self.state.is_some() && other.state.is_some() {
            return Err(format!("the state {state} is multiplied by itself"));
        }
        if self.axes.iter().any(|a| other.axes.contains(a)) {
            return Err("two sums over the same axis are multiplied".to_string());
        }
        let mut product = self.clone();
        product.axes.extend(other.axes.iter().cloned());
        product.factors.extend(other.factors.iter().cloned());
        product.state = product.state.or_else(|| other.state.clone());
        Ok(product)
    }
}
