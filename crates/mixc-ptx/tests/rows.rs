//! What is computed in registers stays there: factors of products as their rows, and single numbers.

mod common;

use common::{Case, Config};
use mixc_ptx::{Precision, Target};

fn config(target: Target) -> Config {
    Config {
        target,
        precision: Precision::Tf32x3,
        warps: 4,
        stages: 1,
        aligned: true,
        producer: false,
    }
}

/// Scores [64, 64] that are multiplied with values, and a state [64, 64] from a product that is added to their result:
/// as rows the scores stay in registers, so that of all computed tiles only the state has a place in shared memory,
/// in 16 bits: what is made of it is rounded to as many. What goes into the state, an output in f32, keeps more.
#[test]
fn scores_are_rows_and_a_state_is_columns() {
    let text = "kernel chunk() {
      in q: bf16 [64, 64] unit
      in k: bf16 [64, 64] unit
      in v: bf16 [64, 64] unit
      out o: bf16 [64, 64] unit
      out last: f32 [64, 64] unit
      shared tq: [64, 64]
      shared tk: [64, 64]
      shared tv: [64, 64]
      shared state: [64, 64]
      shared s: [64, 64]
      shared p: [64, 64]
      shared t: [64, 64]
      shared x: [64, 64]
      shared y: [64, 64]
      load [i < 64, a < 64] tq[i, a] <- q[i, a]
      load [j < 64, a < 64] tk[j, a] <- k[j, a]
      load [j < 64, e < 64] tv[j, e] <- v[j, e]
      map [j < 64, a < 64] t[j, a] = 0.5 * tk[j, a]
      contract [a < 64, e < 64, j < 64] state[a, e] = t[j, a] * tv[j, e]
      contract [j < 64, i < 64, a < 64] s[j, i] = tk[j, a] * tq[i, a]
      map [i < 64, j < 64] p[i, j] = select(int(j) <= int(i), 0.25 * s[j, i], 0.0)
      contract [e < 64, i < 64, j < 64] x[e, i] = tv[j, e] * p[i, j]
      contract [e < 64, i < 64, a < 64] y[e, i] = state[a, e] * tq[i, a]
      store [i < 64, e < 64] o[i, e] <- x[e, i] + 0.125 * y[e, i]
      store [a < 64, e < 64] last[a, e] <- state[a, e]
    }";
    for target in [Target::Sm80, Target::Sm90a] {
        let case = Case::new(text).filled();
        let (loaded, state) = (3 * 64 * 64 * 2, 64 * 64 * 2);
        let built = case.build(&config(target));
        assert_eq!(built.lowered.shared_bytes, loaded + state, "{target}");
        let (ran, expected) = (
            case.simulate(&built.lowered, &built.ptx).unwrap(),
            case.expected(),
        );
        assert_eq!(
            case.difference(&ran.tensors, &expected, 2e-2),
            None,
            "{target}"
        );
        // Factors in two bf16 parts keep 16 bits.
        let mut state = ran.tensors.clone();
        state.insert("o".to_owned(), expected["o"].clone());
        assert_eq!(case.difference(&state, &expected, 1e-4), None, "{target}");
    }
}

/// No thread waits for a number that it can find itself.
#[test]
fn single_numbers_need_no_barrier() {
    let text = "kernel scaled() {
      in x: f32 [64] unit
      out y: f32 [64] unit
      shared t: [64]
      shared total: []
      shared factor: []
      load [n < 64] t[n] <- x[n]
      reduce sum [n < 64] total[] = t[n] * t[n]
      map [] factor[] = rsqrt(total[] + 1.0)
      store [n < 64] y[n] <- factor[] * t[n]
    }";
    for target in [Target::Sm80, Target::Sm90a] {
        let case = Case::new(text).filled();
        let built = case.build(&config(target));
        let barriers = built.ptx.matches("bar.sync").count();
        assert_eq!(barriers, 1, "only the load is waited for");
        case.agrees_in(&[config(target)], 1e-5);
    }
}

/// A state [7, 5] that is loaded, scaled and added to in shared memory: the registers of a tile of 16 x 8 hold each
/// element several times, and it is scaled and added to once.
#[test]
fn short_accumulators_in_shared_memory() {
    let text = "kernel state() {
      in k: f32 [64, 7] unit
      in v: f32 [64, 5] unit
      in first: f32 [7, 5] unit
      out last: f32 [7, 5] unit
      out y: f32 [64, 5] unit
      shared tk: [7, 32]
      shared tv: [5, 32]
      shared state: [7, 5]
      shared sums: [5, 32]
      load [a < 7, e < 5] state[a, e] <- first[a, e]
      for n in 0 .. 2 {
        load [t < 32, a < 7] tk[a, t] <- k[n * 32 + t, a]
        load [t < 32, e < 5] tv[e, t] <- v[n * 32 + t, e]
        map [a < 7, e < 5] state[a, e] = 0.5 * state[a, e]
        contract [e < 5, t < 32, a < 7] sums[e, t] = state[a, e] * tk[a, t]
        store [t < 32, e < 5] y[n * 32 + t, e] <- sums[e, t]
        contract [a < 7, e < 5, t < 32] state[a, e] (+)= tk[a, t] * tv[e, t]
      }
      store [a < 7, e < 5] last[a, e] <- state[a, e]
    }";
    let both = [Target::Sm80, Target::Sm90a].map(config);
    Case::new(text).agrees_in(&both, 1e-4);
}
