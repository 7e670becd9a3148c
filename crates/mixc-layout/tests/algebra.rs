//! The laws of layouts, each against pointwise application over all points.

mod common;

use std::collections::{HashMap, HashSet};

use common::{at, held, next, points};
use mixc_layout::{LANE, Layout, LayoutError, REGISTER, WARP};
use proptest::prelude::*;

/// A layout with these outputs and inputs and random vectors, many of them zero or repeated.
fn layout(
    ins: &'static [&'static str],
    outs: &'static [&'static str],
    most: u32,
) -> impl Strategy<Value = Layout> {
    let sizes = prop::collection::vec(0..=most, ins.len() + outs.len());
    (sizes, any::<u64>(), 0u64..3).prop_map(move |(sizes, mut seed, zeros)| {
        let (in_bits, out_bits) = sizes.split_at(ins.len());
        let pairs: Vec<_> = outs.iter().copied().zip(out_bits.iter().copied()).collect();
        let mut layout = Layout::new(&pairs);
        for (name, bits) in ins.iter().zip(in_bits) {
            layout = layout.with_input(name);
            for _ in 0..*bits {
                let keep = next(&mut seed) % 4 >= zeros;
                let vector: Vec<_> = pairs
                    .iter()
                    .map(|(n, b)| {
                        (
                            *n,
                            if keep {
                                next(&mut seed) as u32 & ((1 << b) - 1)
                            } else {
                                0
                            },
                        )
                    })
                    .collect();
                layout = layout.with_bit(name, &vector);
            }
        }
        layout
    })
}

fn values_at(layout: &Layout, point: &[(String, u32)]) -> Vec<u32> {
    layout.values(&at(point))
}

/// The elements of a layout with the number of places that hold each.
fn image(layout: &Layout) -> HashMap<Vec<u32>, usize> {
    let mut image = HashMap::new();
    for point in points(layout) {
        *image.entry(values_at(layout, &point)).or_default() += 1;
    }
    image
}

proptest! {
    #[test]
    fn application_commutes_with_xor(
        layout in layout(&["a", "b"], &["x", "y"], 4), p in any::<[u32; 2]>(), q in any::<[u32; 2]>(),
    ) {
        let mask = |v: u32, input: &str| v & ((1 << layout.in_bits(input)) - 1);
        let of = |v: [u32; 2]| layout.values(&[("a", mask(v[0], "a")), ("b", mask(v[1], "b"))]);
        let sum: Vec<u32> = of(p).iter().zip(of(q)).map(|(l, r)| l ^ r).collect();
        prop_assert_eq!(of([p[0] ^ q[0], p[1] ^ q[1]]), sum);
    }

    #[test]
    fn rank_injective_and_surjective_count_elements(l in layout(&["a", "b"], &["x", "y"], 3)) {
        let image = image(&l);
        prop_assert_eq!(image.len(), 1 << l.rank());
        prop_assert_eq!(l.is_injective(), image.values().all(|n| *n == 1));
        prop_assert_eq!(l.is_surjective(), image.len() == 1 << l.total_out_bits());
    }

    /// The places without free bits hold every element once, and are the smallest that do.
    #[test]
    fn free_bits_are_redundant(l in layout(&["a", "b", "c"], &["x", "y"], 3)) {
        let free: Vec<u32> = l.ins().map(|(name, _)| l.free_bits(name)).collect();
        let mut kept = HashMap::new();
        // From the last input to the first, the order of places as numbers.
        let mut all = points(&l);
        all.sort_by_key(|p| p.iter().rev().map(|(_, v)| *v).collect::<Vec<_>>());
        let mut smallest = HashMap::new();
        for point in &all {
            smallest.entry(values_at(&l, point)).or_insert(point);
            if point.iter().zip(&free).all(|((_, v), mask)| v & mask == 0) {
                let before = kept.insert(values_at(&l, point), point);
                prop_assert!(before.is_none());
            }
        }
        prop_assert_eq!(kept, smallest);
        for (name, bits) in l.ins() {
            for bit in 0..bits {
                let zero = l.basis(name, bit).iter().all(|v| *v == 0);
                prop_assert!(!zero || l.free_bits(name) >> bit & 1 == 1);
            }
        }
    }

    #[test]
    fn composition_is_application_after_application(
        f in layout(&["a", "b"], &["x", "y"], 3), g in layout(&["x", "y", "z"], &["u", "v"], 3),
    ) {
        let fits = f.outs().all(|(name, bits)| bits <= g.in_bits(name));
        let Ok(composed) = f.compose(&g) else {
            prop_assert!(!fits);
            return Ok(());
        };
        prop_assert!(fits);
        for point in points(&f) {
            let middle = f.apply(&at(&point));
            prop_assert_eq!(values_at(&composed, &point), values_at(&g, &middle));
        }
    }

    #[test]
    fn composition_is_associative(seeds in any::<[u64; 3]>(), bits in 1u32..6) {
        // Surjective layouts over one coordinate, chained by names.
        let [f, g, h] = seeds.map(|seed| held(vec![("x", bits)], 0, seed));
        let chain = |l: Layout| {
            let order = Layout::new(&[("x", bits)]);
            let flat = l.ins().flat_map(|(n, b)| (0..b).map(move |b| (n, b)));
            flat.fold(order, |o, (n, b)| o.with_bit("x", &[("x", l.basis(n, b)[0])]))
        };
        let (f, g, h) = (chain(f), chain(g), chain(h));
        let left = f.compose(&g).unwrap().compose(&h).unwrap();
        let right = f.compose(&g.compose(&h).unwrap()).unwrap();
        prop_assert_eq!(left, right);
    }

    #[test]
    fn inverses_undo(l in layout(&["a", "b"], &["x", "y"], 3), seed in any::<u64>()) {
        let bijection = held(vec![("x", 3), ("y", 2)], 0, seed);
        let inverse = bijection.invert().unwrap();
        for point in points(&bijection) {
            let back = inverse.apply(&at(&bijection.apply(&at(&point))));
            prop_assert_eq!(back, point);
        }
        prop_assert_eq!(l.invert().is_ok(), l.is_injective() && l.is_surjective());
        let wanted = LayoutError::NotSurjective { rank: l.rank(), bits: l.total_out_bits() };
        match l.pseudo_invert() {
            Err(error) => prop_assert_eq!(error, wanted),
            Ok(inverse) => {
                for element in points(&inverse) {
                    let place = inverse.apply(&at(&element));
                    prop_assert_eq!(l.apply(&at(&place)), element);
                    for (name, value) in place {
                        prop_assert_eq!(value & l.free_bits(&name), 0);
                    }
                }
            }
        }
    }

    #[test]
    fn projection_drops_coordinates(l in layout(&["a", "b"], &["x", "y", "z"], 3)) {
        let kept = l.project(&["z", "x"]);
        for point in points(&l) {
            let all = values_at(&l, &point);
            prop_assert_eq!(values_at(&kept, &point), vec![all[2], all[0]]);
        }
    }

    #[test]
    fn products_apply_to_low_and_high_bits(
        low in layout(&["a", "b"], &["x", "y"], 2), high in layout(&["b", "c"], &["y", "z"], 2),
    ) {
        let product = low.product(&high);
        for p in points(&low) {
            for q in points(&high) {
                let b = p[1].1 | q[0].1 << low.in_bits("b");
                let found = product.values(&[("a", p[0].1), ("b", b), ("c", q[1].1)]);
                let (l, h) = (values_at(&low, &p), values_at(&high, &q));
                prop_assert_eq!(found, vec![l[0], l[1] | h[0] << low.out_bits("y"), h[1]]);
            }
        }
    }

    #[test]
    fn renaming_changes_names_only(l in layout(&["a", "b"], &["x", "y"], 3)) {
        let renamed = l.rename_in("a", "c").rename_out("y", "z");
        for p in points(&l) {
            let found = renamed.apply(&[("c", p[0].1), ("b", p[1].1)]);
            let values = values_at(&l, &p);
            prop_assert_eq!(found, vec![("x".into(), values[0]), ("z".into(), values[1])]);
        }
    }

    /// The place found holds the element wanted, and no place that does is in a nearer warp, or as
    /// near a warp and a nearer lane, for the single bits that a conversion is made of.
    #[test]
    fn conversions_find_the_element_near_by(seeds in any::<[u64; 2]>()) {
        let tile = vec![("m", 3), ("n", 2)];
        let [from, to] = seeds.map(|seed| held(tile.clone(), 3, seed));
        let moved = from.conversion(&to).unwrap();
        for wanted in points(&to) {
            let place = moved.apply(&at(&wanted));
            prop_assert_eq!(from.apply(&at(&place)), to.apply(&at(&wanted)));
        }
        let stays = |moved: &Layout, name: &str| points(&to).iter().all(|wanted| {
            let own = wanted.iter().find(|(n, _)| n == name).unwrap().1;
            moved.apply_to(name, &at(wanted)) == own
        });
        // Could every thread find all that it wants within its warp, its lane?
        let could = |names: &[&str]| points(&to).iter().all(|wanted| {
            let element = to.apply(&at(wanted));
            points(&from).iter().any(|place| {
                let same = |n: &str| place.iter().find(|p| p.0 == n) == wanted.iter().find(|p| p.0 == n);
                names.iter().all(|n| same(n)) && from.apply(&at(place)) == element
            })
        });
        prop_assert_eq!(stays(&moved, WARP), could(&[WARP]));
        if could(&[WARP]) {
            prop_assert_eq!(stays(&moved, LANE), could(&[WARP, LANE]));
        }
        if could(&[WARP, LANE]) {
            prop_assert_eq!(stays(&moved, REGISTER), could(&[WARP, LANE, REGISTER]));
        }
    }
}

#[test]
fn conversions_need_the_same_tile_and_all_elements() {
    let whole = Layout::identity(LANE, "m", 2);
    let other = Layout::identity(LANE, "m", 3);
    let half = Layout::new(&[("m", 2)]).with_bit(LANE, &[("m", 1)]);
    let error = whole.conversion(&other).unwrap_err();
    assert!(
        matches!(error, LayoutError::DifferentTiles { .. }),
        "{error}"
    );
    let error = half.conversion(&whole).unwrap_err();
    let wanted = LayoutError::NotHeld {
        input: LANE.into(),
        bit: 1,
    };
    assert_eq!(error, wanted);
    assert!(whole.conversion(&half).is_ok());
}

/// Warps are dearer than registers in whatever order a layout lists them.
#[test]
fn conversions_stay_in_the_warp() {
    let to = Layout::new(&[("m", 1)])
        .with_bit(REGISTER, &[("m", 1)])
        .with_bit(WARP, &[]);
    for order in [[REGISTER, WARP], [WARP, REGISTER]] {
        let from = Layout::new(&[("m", 1)]);
        let from = order
            .iter()
            .fold(from, |l, input| l.with_bit(input, &[("m", 1)]));
        let moved = from.conversion(&to).unwrap();
        assert_eq!(moved.apply_to(WARP, &[(WARP, 1)]), 1);
        assert_eq!(moved.apply_to(REGISTER, &[(WARP, 1)]), 1);
    }
}

#[test]
fn composition_names_the_mistake() {
    let f = Layout::identity("a", "x", 2);
    let missing = f.compose(&Layout::identity("y", "z", 2)).unwrap_err();
    assert_eq!(missing.to_string(), "`x` is no input of the outer layout");
    let wide = f.compose(&Layout::identity("x", "z", 1)).unwrap_err();
    assert_eq!(wide.to_string(), "`x` has 2 bits, the outer layout takes 1");
}

#[test]
fn layouts_print_as_tables() {
    let layout = Layout::new(&[("m", 2), ("n", 1)])
        .with_bit(REGISTER, &[("n", 1)])
        .with_bit(LANE, &[("m", 1), ("n", 1)])
        .with_bit(LANE, &[])
        .with_input(WARP);
    let lines = [
        "layout m[4] n[2]",
        "register 1 -> n 1",
        "lane     1 -> m 1, n 1",
        "lane     2 -> -",
        "warp    ",
    ];
    assert_eq!(layout.to_string(), lines.join("\n"));
}

#[test]
fn wide_layouts_do_not_overflow() {
    let wide = ["a", "b", "c", "d"]
        .iter()
        .fold(Layout::new(&[]), |l, name| {
            l.product(&Layout::identity(name, name, 32))
        });
    assert_eq!((wide.rank(), wide.total_out_bits()), (128, 128));
    assert_eq!(wide.invert().unwrap(), wide);
    assert_eq!(wide.free_bits("d"), 0);
    let names: HashSet<_> = wide.apply(&[("d", u32::MAX)]).into_iter().collect();
    assert!(names.contains(&("d".to_string(), u32::MAX)));
}
