//! Derived operators against their definitions spelled out with sums and masks, on random terms.
//!
//! Both sides are evaluated over random sizes, a split that may be ragged included.

use mixc_interp::{Array, Env, eval_term};
use mixc_ir::{Func, Ix, Name, Split, T, Term, parse_term};
use mixc_text::Source;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A problem: sizes T and C, data, and random terms `P`, `Q` over (t, d).
#[derive(Clone, Debug)]
struct Case {
    env: Env,
    terms: BTreeMap<&'static str, T>,
}

fn case() -> impl Strategy<Value = Case> {
    let data = proptest::collection::vec(-2.0..2.0, 32);
    (0i64..7, 1i64..5, data, leafy(), leafy(), predicate()).prop_map(|(t, c, data, p, q, m)| {
        let mut env = Env::default();
        let chunks = (t + c - 1) / c;
        for (axis, size) in [("i", t), ("j", t), ("t", t), ("m", t), ("d", 2)] {
            env.axes.insert(axis.into(), size);
        }
        let mut split = |axis: &str, outer: &str, inner: &str, size: &str, chunks: i64, c: i64| {
            env.axes.extend([(outer.into(), chunks), (inner.into(), c)]);
            let (axis, outer, inner) = (axis.into(), outer.into(), inner.into());
            env.splits.push(Split {
                axis,
                outer,
                inner,
                size: Ix::dim(size),
            });
        };
        // i and j in chunks, `l1` and `m1` other positions in the chunk i0; chunks of i and j in
        // chunks of 2 again.
        for (axis, outer, inner) in [
            ("t", "i0", "i1"),
            ("j", "j0", "j1"),
            ("t", "i0", "l1"),
            ("t", "i0", "m1"),
        ] {
            split(axis, outer, inner, "C", chunks, c);
        }
        for (axis, outer, inner) in [("i1", "i2", "i3"), ("j1", "j2", "j3"), ("i1", "i2", "l3")] {
            split(axis, outer, inner, "C2", (c + 1) / 2, 2);
        }
        env.sizes
            .extend([("T".into(), t), ("C".into(), c), ("C2".into(), 2)]);
        let (t, d) = (t as usize, 2);
        env.tensors
            .insert("x".into(), Array::new(vec![t, d], data[..t * d].to_vec()));
        env.tensors
            .insert("y".into(), Array::new(vec![t], data[20..20 + t].to_vec()));
        Case {
            env,
            terms: BTreeMap::from([("P", p), ("Q", q), ("M", m)]),
        }
    })
}

/// Small terms over `t` and `d` with values of moderate size.
fn leafy() -> impl Strategy<Value = T> {
    let read = |axis: &'static str, shift: i64| match axis {
        "t" => Term::read("y", vec![Ix::axis("t") + shift]),
        _ => Term::read("x", vec![Ix::axis("t") + shift, Ix::axis("d")]),
    };
    let leaf = prop_oneof![
        (-1i64..2).prop_map(move |shift| read("t", shift)),
        (-1i64..2).prop_map(move |shift| read("d", shift)),
        (-2.0..2.0).prop_map(Term::constant),
        Just(Term::map(
            Func::Tanh,
            vec![Arc::new(Term::Index(Ix::axis("t") - Ix::axis("d")))]
        )),
    ];
    leaf.prop_recursive(3, 8, 2, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 1..3)
                .prop_map(|args| Arc::new(Term::Add(args))),
            proptest::collection::vec(inner.clone(), 1..3).prop_map(Term::product),
            inner
                .clone()
                .prop_map(|x| Term::map(Func::Sigmoid, vec![x])),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| Term::map(Func::Max, vec![a, b])),
            (inner.clone(), predicate()).prop_map(|(x, m)| Term::product(vec![m, x])),
            (predicate(), inner.clone(), inner)
                .prop_map(|(c, a, b)| Term::map(Func::Select, vec![c, a, b])),
        ]
    })
}

fn predicate() -> impl Strategy<Value = T> {
    let position = || Arc::new(Term::Index(Ix::axis("t")));
    prop_oneof![
        Just(Term::one()),
        (0i64..6)
            .prop_map(move |n| Term::map(Func::Ne, vec![position(), Term::constant(n as f64)])),
        (-1.0..1.0).prop_map(|v| Term::map(
            Func::Lt,
            vec![Term::read("y", vec![Ix::axis("t")]), Term::constant(v)]
        )),
    ]
}

impl Case {
    /// `text` with `P@j` standing for the term P at t = j, `P@j0.j1` for t = j0 * C + j1, and
    /// `P@j0.j2.j3` for t = j0 * C + (j2 * C2 + j3).
    fn value(&self, text: &str, axes: &[&str]) -> Array {
        let mut spelled = text.to_string();
        for (name, term) in &self.terms {
            while let Some(at) = spelled.find(&format!("{name}@")) {
                let rest = &spelled[at + name.len() + 1..];
                let end = rest
                    .find(|c: char| !c.is_ascii_alphanumeric() && c != '.')
                    .unwrap_or(rest.len());
                let parts: Vec<Ix> = rest[..end].split('.').map(Ix::axis).collect();
                let index = match parts.as_slice() {
                    [a, b, c] => a.clone() * Ix::dim("C") + (b.clone() * Ix::dim("C2") + c.clone()),
                    [a, b] => a.clone() * Ix::dim("C") + b.clone(),
                    one => one[0].clone(),
                };
                let here = term.substitute(&BTreeMap::from([("t".into(), index)]));
                spelled.replace_range(at..at + name.len() + 1 + end, &format!("({here})"));
            }
        }
        let source = Source::new("law", spelled);
        let term =
            parse_term(&source).unwrap_or_else(|errors| panic!("{}", source.render(&errors)));
        let axes: Vec<Name> = axes.iter().map(|a| Name::from(*a)).collect();
        eval_term(&term, &axes, &self.env)
            .unwrap_or_else(|error| panic!("{error}\n{}", source.text))
    }

    fn equal(&self, left: &str, right: &str, axes: &[&str]) -> Result<(), TestCaseError> {
        let (a, b) = (self.value(left, axes), self.value(right, axes));
        prop_assert_eq!(&a.shape, &b.shape);
        let norm = b
            .data
            .iter()
            .filter(|v| v.is_finite())
            .fold(1.0, |n: f64, v| n.max(v.abs()));
        for (a, b) in a.data.iter().zip(&b.data) {
            let same = a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= 1e-12 * norm;
            prop_assert!(same, "{} = {}\n{} = {}", left, a, right, b);
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_semiseparable_mask_is_a_masked_product(c in case()) {
        c.equal("ss[j <= i](P@j)", "(#j <= #i) * prod[m](P@m if #j < #m and #m <= #i)", &["i", "j", "d"])?;
        c.equal("ss[j < i](P@j)", "(#j < #i) * prod[m](P@m if #j < #m and #m < #i)", &["i", "j", "d"])?;
    }

    #[test]
    fn a_scan_is_a_sum_under_a_semiseparable_mask(c in case()) {
        c.equal("scan[j <= i](P@j, Q@j, 0)", "sum[j](ss[j <= i](P@j) * Q@j)", &["i", "d"])?;
        c.equal("scan[j < i](P@j, Q@j, 0)", "sum[j](ss[j < i](P@j) * Q@j)", &["i", "d"])?;
    }

    #[test]
    fn the_initial_state_of_a_scan_decays(c in case()) {
        let s0 = "x[0, d]";
        c.equal(&format!("scan[j <= i](P@j, Q@j, {s0})"),
            &format!("scan[j <= i](P@j, Q@j, 0) + cumprod[i](P@i) * {s0}"), &["i", "d"])?;
        c.equal(&format!("scan[j < i](P@j, Q@j, {s0})"),
            &format!("scan[j < i](P@j, Q@j, 0) + cumprod_before[i](P@i) * {s0}"), &["i", "d"])?;
        c.equal(&format!("last[j](P@j, Q@j, {s0})"),
            &format!("sum[j](cumprod_after[j](P@j) * Q@j) + prod[j](P@j) * {s0}"), &["d"])?;
    }

    #[test]
    fn the_last_state_is_the_scan_at_the_end(c in case()) {
        c.equal("last[j](P@j, Q@j, 3)",
            "sum[i]((#i == #($T - 1)) * scan[j <= i](P@j, Q@j, 3)) + (#$T == 0) * 3", &["d"])?;
        c.equal("scan[j <= i](P@j, Q@j, 3)", "P@i * scan[j < i](P@j, Q@j, 3) + Q@i", &["i", "d"])?;
    }

    #[test]
    fn cumulative_operators_are_masked_reductions(c in case()) {
        let axes = &["i", "d"];
        c.equal("cumsum[i](P@i)", "sum[m]((#m <= #i) * P@m)", axes)?;
        c.equal("cumprod[i](P@i)", "prod[m](P@m if #m <= #i)", axes)?;
        c.equal("cumprod_before[i](P@i)", "prod[m](P@m if #m < #i)", axes)?;
        c.equal("cumprod_after[i](P@i)", "prod[m](P@m if #i < #m)", axes)?;
    }

    #[test]
    fn softmax_is_exp_over_its_sum(c in case()) {
        let axes = &["i", "d"];
        let weights = "select(M@i, exp(P@i), 0) * recip0(sum[m](select(M@m, exp(P@m), 0)))";
        c.equal("softmax[i](P@i if M@i)", weights, axes)?;
        c.equal("recip0(online[j](P@j, 1 if M@j)) * online[j](P@j, Q@j if M@j)",
            "sum[j](softmax[j](P@j if M@j) * Q@j)", &["d"])?;
        c.equal("max[j](P@j if M@j) + log(online[j](P@j, 1 if M@j))", "lse[j](P@j if M@j)", &["d"])?;
        c.equal("lse[j](P@j if M@j)", "log(sum[j](select(M@j, exp(P@j), 0)))", &["d"])?;
    }

    // From here on the axis is split, and the last chunk may be short.

    #[test]
    fn a_reduction_of_parts_is_the_reduction(c in case()) {
        c.equal("sum[j0](sum[j1](P@j0.j1))", "sum[j](P@j)", &["d"])?;
        c.equal("prod[j0](prod[j1](P@j0.j1))", "prod[j](P@j)", &["d"])?;
        c.equal("lse[j0](lse[j1](P@j0.j1))", "lse[j](P@j)", &["d"])?;
        c.equal("max[j0, j1](P@j0.j1 if M@j0.j1)", "max[j](P@j if M@j)", &["d"])?;
        c.equal("online[j0](max[j1](P@j0.j1), online[j1](P@j0.j1, Q@j0.j1))", "online[j](P@j, Q@j)", &["d"])?;
    }

    #[test]
    fn merging_a_split_term_gives_it_back(c in case()) {
        c.equal("merge[t = i0, i1](P@i0.i1)", "P@t", &["t", "d"])?;
        c.equal("merge[t = i0, i1](cumsum[i1](P@i0.i1) + sum[j0, j1]((#j0 < #i0) * P@j0.j1))",
            "cumsum[t](P@t)", &["t", "d"])?;
    }

    /// The block law of semiseparable masks (Dao & Gu 2024, arXiv 2405.21060, section 6).
    #[test]
    fn a_scan_by_chunks_is_the_scan(c in case()) {
        let inside = "sum[l1](ss[l1 <= i1](P@i0.l1) * Q@i0.l1)";
        let before = "scan[j0 < i0](prod[j1](P@j0.j1), sum[j1](cumprod_after[j1](P@j0.j1) * Q@j0.j1), 3)";
        let chunks = format!("merge[t = i0, i1]({inside} + cumprod[i1](P@i0.i1) * {before})");
        c.equal(&chunks, "scan[j <= t](P@j, Q@j, 3)", &["t", "d"])?;
    }

    /// Blocked scan (Blelloch 1990): scan chunks from the state before each.
    #[test]
    fn a_scan_of_scans_is_the_scan(c in case()) {
        let before = "scan[j0 < i0](prod[j1](P@j0.j1), last[j1](P@j0.j1, Q@j0.j1, 0), 3)";
        let chunks = format!("merge[t = i0, i1](scan[m1 <= i1](P@i0.m1, Q@i0.m1, {before}))");
        c.equal(&chunks, "scan[j <= t](P@j, Q@j, 3)", &["t", "d"])?;
    }

    #[test]
    fn chunks_of_chunks_are_ragged_too(c in case()) {
        c.equal("sum[j0, j2, j3](P@j0.j2.j3)", "sum[j](P@j)", &["d"])?;
        c.equal("prod[j0](prod[j2](prod[j3](P@j0.j2.j3)))", "prod[j](P@j)", &["d"])?;
        c.equal("merge[t = i0, i1](merge[i1 = i2, i3](P@i0.i2.i3))", "P@t", &["t", "d"])?;
        let inside = "sum[l3](ss[l3 <= i3](P@i0.i2.l3) * Q@i0.i2.l3)";
        let step = "prod[j3](P@i0.j2.j3), sum[j3](cumprod_after[j3](P@i0.j2.j3) * Q@i0.j2.j3)";
        let before = format!("scan[j2 < i2]({step}, y[i0])");
        c.equal(&format!("merge[i1 = i2, i3]({inside} + cumprod[i3](P@i0.i2.i3) * {before})"),
            "scan[l1 <= i1](P@i0.l1, Q@i0.l1, y[i0])", &["i0", "i1", "d"])?;
    }
}
