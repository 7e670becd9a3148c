//! Kernels that share work and buffers store the same bits, and the rules fire only where they may.

mod common;

use common::{args, nan, tensor};
use mixc_text::Source;
use mixc_tile::reuse::reuse;
use mixc_tile::{Kernel, interpret, parse_kernel, verify};

/// The kernel around the statements of a step, which may use a, b, c and v.
fn around(step: &str) -> Kernel {
    let text = format!(
        "kernel k(dims: T) {{
           in x: f32 [$T, 8] unit
           out y: f32 [$T, 8] unit
           shared a: [8, 8]  shared b: [8, 8]  shared c: [8, 8]  shared v: [8]
           load [i < 8, d < 8] a[i, d] <- x[i, d]
           map [i < 8] v[i] = 0.0
           map [i < 8, d < 8] c[i, d] = 0.0
           for t in 0 .. $T {{
             {step}
           }}
           store [i < 8, d < 8] y[i, d] <- a[i, d] + v[i]
         }}"
    );
    let source = Source::new("test.tile", &text);
    parse_kernel(&source).unwrap_or_else(|errors| panic!("{}", source.render(&errors)))
}

/// The statements of the step afterwards; the kernel stores what it stored.
fn step(step: &str) -> Vec<String> {
    let before = around(step);
    let mut after = before.clone();
    reuse(&mut after);
    assert_eq!(verify(&after), Ok(()), "{after}");
    let stored = |kernel: &Kernel| {
        let tensors = vec![("x", tensor(3, &[16, 8])), ("y", nan(&[16, 8]))];
        let mut args = args(&[("T", 16)], &[], tensors);
        interpret(kernel, &mut args).unwrap();
        args.tensors.remove("y").unwrap()
    };
    let bits =
        |kernel: &Kernel| -> Vec<u32> { stored(kernel).data.iter().map(|v| v.to_bits()).collect() };
    assert_eq!(bits(&before), bits(&after), "{after}");
    let text = after.to_string();
    let lines = text.lines().map(|l| l.trim().to_owned());
    let lines = lines.skip_while(|l| !l.starts_with("for")).skip(1);
    lines.take_while(|l| l != "}").collect()
}

#[test]
fn what_a_later_statement_computes_is_reduced() {
    let sum = "reduce sum [i < 8, d < 8] v[i] (+)= exp(a[i, d])";
    let tile = "map [i < 8, d < 8] b[i, d] = exp(a[i, d])";
    let last = "map [i < 8, d < 8] a[i, d] = a[i, d] * b[i, d]";
    assert_eq!(
        step(&format!("{sum} {tile} {last}")),
        [tile, "reduce sum [i < 8, d < 8] v[i] (+)= b[i, d]", last]
    );
}

#[test]
fn what_changes_in_between_is_computed_twice() {
    let sum = "reduce sum [i < 8, d < 8] v[i] (+)= exp(a[i, d])";
    let tile = "map [i < 8, d < 8] c[i, d] = exp(a[i, d])";
    let change = "map [i < 8, d < 8] a[i, d] = a[i, d] * 0.5";
    let first = "map [i < 8, d < 8] c[i, d] = a[i, d] * 2.0";
    let used = "map [i < 8, d < 8] a[i, d] = a[i, d] + c[i, d]";
    for kept in [
        [sum, change, tile, used],
        // The tile's old values are still read, or are made, behind the reduction.
        [sum, used, tile, used],
        [sum, first, used, tile],
    ] {
        assert_eq!(step(&kept.join(" ")), kept);
    }
}

#[test]
fn what_is_only_copied_is_made_in_place() {
    let found = step(
        "map [i < 8, d < 8] b[i, d] = a[i, d] * 0.5
         reduce sum [i < 8, d < 8] v[i] (+)= b[i, d]
         map [i < 8, d < 8] a[i, d] = b[i, d]",
    );
    assert_eq!(
        found,
        [
            "map [i < 8, d < 8] a[i, d] = a[i, d] * 0.5",
            "reduce sum [i < 8, d < 8] v[i] (+)= a[i, d]"
        ]
    );
}

#[test]
fn copies_stay_where_both_values_are_needed() {
    let make = "map [i < 8, d < 8] b[i, d] = a[i, d] * 0.5";
    let copy = "map [i < 8, d < 8] a[i, d] = b[i, d]";
    let old = "reduce sum [i < 8, d < 8] v[i] (+)= a[i, d]";
    let new = "reduce sum [i < 8, d < 8] v[i] (+)= b[i, d]";
    let transposed = "map [d < 8, i < 8] b[i, d] = a[d, i] * 0.5";
    let load = "load [i < 8, d < 8] b[i, d] <- x[t + i, d]";
    let part = "map [i < 4, d < 8] b[i, d] = a[i, d] * 0.5";
    let kept: [&[&str]; 5] = [
        &[make, old, copy],
        &[make, copy, new],
        &[make, part, copy],
        &[transposed, copy],
        &[load, copy],
    ];
    for kept in kept {
        assert_eq!(step(&kept.join(" ")), kept);
    }
}
