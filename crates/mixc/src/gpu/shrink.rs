//! Smaller problems for the same kernels: few enough points for the interpreter, and lengths that break tilings.

use crate::Sizes;
use crate::problem::{fits, work};
use mixc_ir::{Kind, Name, Program};

/// Sizes above this are lengths, not sizes of heads.
const LONG: i64 = 256;
/// Lengths that are taken instead, the first that keeps the kernels: odd ones make rows that are not aligned, which
/// some kernels are not made for.
const AWKWARD: [i64; 4] = [193, 200, 208, 256];
/// A length that still has several tiles.
const SEVERAL_TILES: i64 = 96;

/// `sizes` with lengths and then batches cut down until the terms have at most `most` points together, or nothing
/// is left to cut. A step is taken only if the constraints hold after it and `keeps` agrees. Integer scalars that
/// reach far are cut down with the lengths, so that they still leave something out.
pub(super) fn shrink(
    program: &Program,
    sizes: &Sizes,
    most: f64,
    keeps: &dyn Fn(&Sizes) -> bool,
) -> Sizes {
    let mut found = sizes.clone();
    let mut dims: Vec<(Name, i64)> = sizes
        .iter()
        .filter(|(name, _)| program.dims.contains(name))
        .map(|(name, n)| (name.clone(), *n))
        .collect();
    dims.sort_by_key(|(_, n)| *n);
    let (others, lengths): (Vec<_>, Vec<_>) = dims.into_iter().partition(|(_, n)| *n <= LONG);
    let take = |found: &mut Sizes, name: &Name, n: i64| {
        let mut next = found.clone();
        next.insert(name.clone(), n);
        let good = fits(program, &next) && keeps(&next);
        if good {
            *found = next;
        }
        good
    };
    for (name, _) in &lengths {
        let mut awkward = AWKWARD.into_iter();
        awkward.any(|n| take(&mut found, name, n));
    }
    let halve = |found: &mut Sizes, name: &Name, least: i64| {
        while work(program, found) > most && found[name] > least {
            let half = (found[name] / 2).max(least);
            if !take(found, name, half) {
                break;
            }
        }
    };
    // Different numbers of each, so that one index taken for another shows.
    for (at, (name, _)) in others.iter().enumerate() {
        halve(&mut found, name, 1 << at.min(3));
    }
    for least in [SEVERAL_TILES, 1] {
        for (name, _) in lengths.iter().rev() {
            halve(&mut found, name, least);
        }
        for (name, _) in &others {
            halve(&mut found, name, 1);
        }
    }
    let shortest = lengths.iter().map(|(name, _)| found[name]).min();
    let integers = program.scalars.iter().filter(|s| s.kind == Kind::Int);
    for scalar in integers {
        let given = found.get(&scalar.name).copied();
        if let (Some(given), Some(shortest)) = (given, shortest)
            && given > shortest / 3
        {
            take(&mut found, &scalar.name, shortest / 3);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Mixer;

    fn sizes(all: &[(&str, i64)]) -> Sizes {
        all.iter().map(|(n, v)| ((*n).into(), *v)).collect()
    }

    #[test]
    fn lengths_and_batches_shrink_and_heads_keep_their_size() {
        let program = Mixer::load("attention_window").unwrap().program;
        let all = [("B", 2), ("H", 64), ("G", 8), ("I", 32768), ("J", 32768)];
        let mut large = sizes(&all);
        large.extend(sizes(&[("D", 64), ("E", 64), ("window_left", 1023)]));
        let keeps = |s: &Sizes| s[&Name::from("D")] == 64 && s[&Name::from("E")] == 64;
        let small = shrink(&program, &large, 2e7, &keeps);
        let of = |name: &str| small[&Name::from(name)];
        assert!(work(&program, &small) <= 2e7);
        assert_eq!((of("D"), of("E")), (64, 64));
        assert!(of("H") % of("G") == 0 && of("H") > 1);
        assert!(of("I") >= SEVERAL_TILES && of("J") >= SEVERAL_TILES);
        assert!(of("window_left") < of("J") / 2);
    }

    #[test]
    fn nothing_shrinks_that_must_be_kept() {
        let program = Mixer::load("causal_conv1d").unwrap().program;
        let large: Sizes = program.dims.iter().map(|d| (d.clone(), 300)).collect();
        assert_eq!(shrink(&program, &large, 10.0, &|_| false), large);
    }
}
