//! Kernels with a producer warpgroup: bulk tensor copies, mbarriers, products that overlap with elementwise work,
//! blocks that go through several grid points. In the simulator against the tile interpreter, with mistakes
//! planted in the generated PTX.

mod common;

use common::{Case, Config, permuted, values};
use mixc_ptx::{Param, Precision, Target};
use mixc_sim::FindingKind::{
    self, Deadlock, MissingProxyFence, Race, ReadBeforeWait, UninitShared,
};

/// Softmax attention with keys that end anywhere; the last two or three blocks look where.
fn attention(rows: usize, keys: usize, features: usize) -> String {
    let turn = |n: usize, score: &str, weight: &str| {
        format!(
            "load [d < {features}, j < {keys}] k{n}[d, j] <- k[b, h / ($H / $G), jb * {keys} + j, d]
             contract [i < {rows}, j < {keys}, d < {features}] s{n}[i, j] = qt[d, i] * k{n}[d, j]
             map [i < {rows}, j < {keys}] x{n}[i, j] = {score}
             map [i < {rows}] old[i] = m[i]
             reduce max [i < {rows}, j < {keys}] m[i] (+)= x{n}[i, j]
             map [i < {rows}] shift[i] = select(m[i] == -inf, 0.0, m[i])
             map [i < {rows}] alpha[i] = exp(old[i] - shift[i])
             map [i < {rows}, j < {keys}] p{n}[i, j] = exp(x{n}[i, j] - shift[i])
             map [i < {rows}] l[i] = l[i] * alpha[i]
             reduce sum [i < {rows}, j < {keys}] l[i] (+)= {weight}
             map [e < {features}, i < {rows}] acc[e, i] = acc[e, i] * alpha[i]
             load [e < {features}, j < {keys}] v{n}[e, j] <- v[b, h / ($H / $G), jb * {keys} + j, e]
             contract [e < {features}, i < {rows}, j < {keys}] acc[e, i] (+)= p{n}[i, j] * v{n}[e, j]"
        )
    };
    let tiles = |n: usize| {
        format!(
            "shared k{n}: [{features}, {keys}]
             shared s{n}: [{rows}, {keys}]
             shared x{n}: [{rows}, {keys}]
             shared p{n}: [{rows}, {keys}]
             shared v{n}: [{features}, {keys}]"
        )
    };
    let whole = turn(1, "scale * s1[i, j]", "p1[i, j]");
    let cut = turn(
        2,
        &format!("select(int(jb * {keys} + j) < int($J), scale * s2[i, j], -inf)"),
        &format!("select(int(jb * {keys} + j) < int($J), p2[i, j], 0.0)"),
    );
    format!(
        "kernel attention(dims: B, H, G, I, J; scalars: scale) {{
          in q: bf16 [$B, $H, $I, {features}] unit
          in k: bf16 [$B, $G, $J, {features}] unit
          in v: bf16 [$B, $G, $J, {features}] unit
          out o: f32 [$B, $H, $I, {features}] unit
          shared m: [{rows}]
          shared old: [{rows}]
          shared shift: [{rows}]
          shared alpha: [{rows}]
          shared l: [{rows}]
          shared acc: [{features}, {rows}]
          shared qt: [{features}, {rows}]
          {}
          {}
          shared f: [{rows}]
          grid b < $B, h < $H, ib < ($I + {rows} - 1) / {rows}
          map [i < {rows}] m[i] = -inf
          map [i < {rows}] l[i] = 0.0
          map [e < {features}, i < {rows}] acc[e, i] = 0.0
          load [d < {features}, i < {rows}] qt[d, i] <- q[b, h, ib * {rows} + i, d]
          for jb in 0 .. max($J / {keys} - 2, 0) {{ {whole} }}
          for jb in max($J / {keys} - 2, 0) .. ($J + {keys} - 1) / {keys} {{ {cut} }}
          map [i < {rows}] f[i] = recip0(l[i])
          store [i < {rows}, e < {features}] o[b, h, ib * {rows} + i, e] <- f[i] * acc[e, i]
        }}",
        tiles(1),
        tiles(2),
    )
}

fn case(text: &str, sizes: [i64; 4]) -> Case {
    let [h, g, i, j] = sizes;
    Case::new(text)
        .dim("B", 1)
        .dim("H", h)
        .dim("G", g)
        .dim("I", i)
        .dim("J", j)
        .scalar("scale", 0.3)
}

fn config(warps: u32, stages: u32) -> Config {
    Config {
        target: Target::Sm90a,
        precision: Precision::Tf32x3,
        warps,
        stages,
        aligned: true,
        producer: true,
    }
}

/// Weights go into the second product as bf16.
const TOLERANCE: f32 = 4e-3;

#[test]
fn attention_agrees_on_ragged_sizes() {
    let text = attention(64, 32, 64);
    for sizes in [
        [3, 1, 130, 100],
        [1, 1, 1, 1],
        [2, 2, 64, 32],
        [4, 2, 5, 0],
        [1, 1, 70, 64],
    ] {
        case(&text, sizes).agrees_in(&[config(4, 2), config(4, 3)], TOLERANCE);
    }
}

#[test]
fn two_warpgroups_with_four_stages() {
    let text = attention(128, 64, 32);
    for sizes in [[3, 1, 200, 330], [1, 1, 128, 64]] {
        case(&text, sizes).agrees_in(&[config(8, 2), config(8, 4)], TOLERANCE);
    }
}

/// Features of 96 and 48 elements lie in panels of 64 and of 32 bytes.
#[test]
fn tiles_in_narrow_panels() {
    for features in [96, 48, 16] {
        let text = attention(64, 16, features);
        case(&text, [2, 1, 66, 40]).agrees_in(&[config(4, 2)], TOLERANCE);
    }
}

#[test]
fn positions_before_heads_need_no_copy() {
    let text = attention(64, 32, 64);
    let data = |seed, n: usize| {
        values(seed, n)
            .iter()
            .map(|v| half::bf16::from_f32(*v).to_f32())
            .collect()
    };
    case(&text, [2, 2, 70, 45])
        .tensor(
            "q",
            permuted(&[1, 2, 70, 64], &[0, 2, 1, 3], data(1, 2 * 70 * 64)),
        )
        .tensor(
            "k",
            permuted(&[1, 2, 45, 64], &[0, 2, 1, 3], data(2, 2 * 45 * 64)),
        )
        .tensor(
            "v",
            permuted(&[1, 2, 45, 64], &[2, 0, 1, 3], data(3, 2 * 45 * 64)),
        )
        .agrees_in(&[config(4, 2)], TOLERANCE);
}

#[test]
fn what_no_tensor_map_can_describe_is_loaded_by_the_threads_that_compute() {
    let case = case(&attention(64, 32, 64), [1, 1, 40, 40]);
    let maps = |config: &Config| {
        let lowered = mixc_ptx::lower(
            &case.clone().filled().kernel,
            &case.clone().filled().options(config),
        );
        let lowered = lowered.unwrap();
        let maps = lowered.params.iter().filter(|p| matches!(p, Param::Map(_)));
        (maps.count(), lowered.persistent.is_some(), lowered.threads)
    };
    assert_eq!(maps(&config(4, 2)), (3, true, 256));
    let unaligned = Config {
        aligned: false,
        ..config(4, 2)
    };
    assert_eq!(maps(&unaligned), (0, false, 128));
    let older = Config {
        target: Target::Sm80,
        ..config(4, 2)
    };
    assert_eq!(maps(&older), (0, false, 128));
}

/// The lines of `text` that `wanted` picks, each changed alone.
fn changed(text: &str, wanted: &str, to: impl Fn(&str) -> String) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    let places = (0..lines.len()).filter(|n| lines[*n].contains(wanted));
    places
        .map(|n| {
            let new = to(lines[n]);
            let mut all: Vec<&str> = lines.clone();
            all[n] = &new;
            all.join("\n") + "\n"
        })
        .collect()
}

/// How a line is changed.
type Change = Box<dyn Fn(&str) -> String>;

#[test]
fn mistakes_in_the_protocol_are_found() {
    let text = attention(64, 32, 64);
    let cases: Vec<Case> = [[2, 1, 130, 230], [3, 3, 64, 300], [3, 1, 64, 50]]
        .map(|s| case(&text, s).filled())
        .into();
    let built = cases[0].build(&config(4, 2));
    let without = |_: &str| String::new();
    let table: Vec<(&str, usize, &str, Change, &[FindingKind])> = vec![
        (
            "no wait for a tile or a free stage",
            // Values of a turn are read after the keys of the next one, so a free stage of theirs means that
            // the next stage of keys is free.
            5,
            "mbarrier.try_wait",
            Box::new(without),
            &[Race, UninitShared, ReadBeforeWait, Deadlock],
        ),
        (
            "a stage is not handed back",
            0,
            "@p mbarrier.arrive",
            Box::new(without),
            &[Deadlock],
        ),
        (
            "fewer bytes are waited for",
            0,
            "mbarrier.arrive.expect_tx",
            Box::new(|l: &str| {
                l.replace(
                    "mbarrier.arrive.expect_tx.shared::cta.b64 _, [",
                    "mbarrier.arrive.shared::cta.b64 _, [",
                )
                .rsplit_once(',')
                .map_or(String::new(), |(head, _)| format!("{head};"))
            }),
            &[Race, UninitShared, ReadBeforeWait, Deadlock],
        ),
        (
            "a box is not copied",
            0,
            "cp.async.bulk.tensor",
            Box::new(without),
            &[Deadlock],
        ),
        (
            "a product is not waited for",
            0,
            "wgmma.wait_group",
            Box::new(without),
            &[ReadBeforeWait, Race],
        ),
        (
            "an mbarrier does not start",
            0,
            "mbarrier.init",
            Box::new(without),
            &[
                Deadlock,
                Race,
                FindingKind::InvalidOperand,
                FindingKind::UninitShared,
            ],
        ),
        (
            "products see registers too early",
            // Nothing touches registers between the score product of a turn and the deferred one.
            2,
            "wgmma.fence",
            Box::new(|l: &str| l.replace("wgmma.fence.sync.aligned; ", "")),
            &[MissingProxyFence],
        ),
    ];
    for (what, equivalent, pattern, change, kinds) in table {
        let mutants = changed(&built.ptx, pattern, change);
        assert!(!mutants.is_empty(), "{what}: no place");
        let unnoticed = mutants.iter().enumerate().filter(|(n, ptx)| {
            let hidden = !cases.iter().any(|case| {
                let ran = case
                    .simulate(&built.lowered, ptx)
                    .unwrap_or_else(|e| panic!("{what}: {e}"));
                ran.findings.iter().any(|f| kinds.contains(&f.kind))
            });
            if hidden {
                println!("{what}: nothing found at place {n}");
            }
            hidden
        });
        let unnoticed = unnoticed.count();
        let all = mutants.len();
        assert!(
            unnoticed <= equivalent,
            "{what}: {unnoticed} of {all} places unnoticed"
        );
        println!("{what}: {} places", mutants.len());
    }
}
