//! A gated recurrence over a matrix state, step by step and chunk by chunk, on one core.
//!
//! `cargo run --release -p mixc-cpu --example recurrence_peak [-- NAME]`. Both kernels compute the same, and
//! their results are compared before anything is timed.

use mixc_cpu::{Compiled, LaunchArgs, Options, TensorPtr, Threads, compile, measure_peak};
use std::time::Instant;

const K: usize = 64;
const V: usize = 64;

fn steps() -> String {
    format!(
        "kernel steps(dims: H, T) {{
    in q: f32 [$H, $T, {K}] unit
    in k: f32 [$H, $T, {K}] unit
    in v: f32 [$H, $T, {V}] unit
    in g: f32 [$H, $T] unit
    out o: f32 [$H, $T, {V}] unit
    register s: [{K}, {V}]
    register tq: [{K}]
    register tk: [{K}]
    register tv: [{V}]
    register to: [{V}]
    register tg: []
    register f: []
    grid h < $H
    map [a < {K}, e < {V}] s[a, e] = 0.0
    for t in 0 .. $T {{
      load [] tg[] <- g[h, t]
      map [] f[] = exp(tg[])
      load [a < {K}] tq[a] <- q[h, t, a]
      load [a < {K}] tk[a] <- k[h, t, a]
      load [e < {V}] tv[e] <- v[h, t, e]
      map [a < {K}, e < {V}] s[a, e] = f[] * s[a, e] + tk[a] * tv[e]
      reduce sum [a < {K}, e < {V}] to[e] = tq[a] * s[a, e]
      store [e < {V}] o[h, t, e] <- to[e]
    }}
  }}"
    )
}

fn chunks(c: usize) -> String {
    let body = format!(
        "load [t < {c}] tg[t] <- g[h, t0 * {c} + t]
      load [t < {c}, a < {K}] tq[t, a] <- q[h, t0 * {c} + t, a]
      load [t < {c}, a < {K}] tk[t, a] <- k[h, t0 * {c} + t, a]
      load [t < {c}, e < {V}] tv[t, e] <- v[h, t0 * {c} + t, e]
      scan sum [t < {c}] along t cum[t] = tg[t]
      contract [i < {c}, j < {c}, a < {K}] p[i, j] = tq[i, a] * tk[j, a]
      map [i < {c}, j < {c}] p[i, j] = select(int(j) <= int(i), p[i, j] * exp(cum[i] - cum[j]), 0.0)
      map [i < {c}, a < {K}] tq[i, a] = tq[i, a] * exp(cum[i])
      contract [i < {c}, e < {V}, a < {K}] acc[i, e] = tq[i, a] * s[a, e]
      contract [i < {c}, e < {V}, j < {c}] acc[i, e] (+)= p[i, j] * tv[j, e]
      store [i < {c}, e < {V}] o[h, t0 * {c} + i, e] <- acc[i, e]
      map [j < {c}, a < {K}] tk[j, a] = tk[j, a] * exp(cum[{c} - 1] - cum[j])
      map [a < {K}, e < {V}] s[a, e] = s[a, e] * exp(cum[{c} - 1])
      contract [a < {K}, e < {V}, j < {c}] s[a, e] (+)= tk[j, a] * tv[j, e]"
    );
    format!(
        "kernel chunks(dims: H, T) {{
    in q: f32 [$H, $T, {K}] unit
    in k: f32 [$H, $T, {K}] unit
    in v: f32 [$H, $T, {V}] unit
    in g: f32 [$H, $T] unit
    out o: f32 [$H, $T, {V}] unit
    register s: [{K}, {V}]
    shared tq: [{c}, {K}]
    shared tk: [{c}, {K}]
    shared tv: [{c}, {V}]
    shared p: [{c}, {c}]
    shared acc: [{c}, {V}]
    shared tg: [{c}]
    shared cum: [{c}]
    grid h < $H
    map [a < {K}, e < {V}] s[a, e] = 0.0
    for t0 in 0 .. ceil_div($T, {c}) {{
      {body}
    }}
  }}"
    )
}

fn values(seed: u64, count: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..count)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
        })
        .collect()
}

fn run(
    compiled: &Compiled,
    h: usize,
    t: usize,
    tensors: &mut [Vec<f32>; 5],
) -> Result<(), mixc_cpu::LaunchError> {
    let tensors = tensors
        .iter_mut()
        .enumerate()
        .map(|(n, x)| {
            let (h, t) = (h as i64, t as i64);
            let ptr = x.as_mut_ptr().cast();
            match n {
                3 => TensorPtr {
                    ptr,
                    shape: vec![h, t],
                    strides: vec![t, 1],
                },
                _ => TensorPtr {
                    ptr,
                    shape: vec![h, t, 64],
                    strides: vec![t * 64, 64, 1],
                },
            }
        })
        .collect();
    let args = LaunchArgs {
        dims: vec![h as i64, t as i64],
        scalars: vec![],
        tensors,
    };
    // SAFETY: the buffers outlive the call, have the shapes and strides given, and do not overlap.
    unsafe { compiled.launch(&args, &Threads::One) }
}

/// Processor time of this thread where the system tells it, so that a busy machine matters less.
fn seconds() -> f64 {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    let start = START.get_or_init(Instant::now);
    let own = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    match own.and_then(|s| s.split(' ').next().and_then(|n| n.parse::<f64>().ok())) {
        Some(nanos) => nanos * 1e-9,
        None => start.elapsed().as_secs_f64(),
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (h, t) = (8, 4096);
    let n = h * t * 64;
    let gates = values(4, h * t).iter().map(|x| -0.1 * x.abs()).collect();
    let mut tensors = [
        values(1, n),
        values(2, n),
        values(3, n),
        gates,
        vec![f32::NAN; n],
    ];
    let mut reference: Option<Vec<f32>> = None;
    // Update and readout of a step: a product, a product added, a product summed.
    let by_steps = 5.0 * (K * V * t * h) as f64;
    // Products of a chunk: triangles counted once.
    let by_chunks = |c: usize| {
        let c = c as f64;
        let triangle = c * (c + 1.0) / 2.0;
        2.0 * (triangle * (K + V) as f64 + 2.0 * c * (K * V) as f64) * (t * h) as f64 / c
    };
    for (name, text, flops) in [
        ("steps", steps(), by_steps),
        ("chunks of 32", chunks(32), by_chunks(32)),
        ("chunks of 64", chunks(64), by_chunks(64)),
    ] {
        if std::env::args()
            .nth(1)
            .is_some_and(|only| !name.contains(&only))
        {
            continue;
        }
        let kernel = mixc_tile::parse_kernel(&mixc_text::Source::new("k.tile", text))
            .map_err(|e| format!("{e:?}"))?;
        let compiled = compile(&kernel, &Options::default())?;
        run(&compiled, h, t, &mut tensors)?;
        let result = tensors[4].clone();
        let difference = match &reference {
            None => 0.0,
            Some(r) => {
                let d: f64 = r
                    .iter()
                    .zip(&result)
                    .map(|(a, b)| f64::from(a - b).powi(2))
                    .sum();
                let s: f64 = r.iter().map(|a| f64::from(*a).powi(2)).sum();
                (d / s).sqrt()
            }
        };
        reference.get_or_insert(result);
        let mut times = Vec::new();
        let mut peak: f64 = 0.0;
        for _ in 0..7 {
            let start = seconds();
            // Processor time comes in ticks of some milliseconds.
            for _ in 0..10 {
                run(&compiled, h, t, &mut tensors)?;
            }
            times.push((seconds() - start) / 10.0);
            peak = peak.max(measure_peak(0.01)?.fma_128_gflops);
        }
        times.sort_by(f64::total_cmp);
        let gflops = flops / times[3] * 1e-9;
        println!(
            "{name}: {:.2} ms, {gflops:.1} GFLOP/s, {:.0}% of {peak:.1}; differs by {difference:.1e}; compiled in {:.1} ms",
            times[3] * 1e3,
            100.0 * gflops / peak,
            compiled.compile_micros() as f64 * 1e-3
        );
        if std::env::var_os("SHOW").is_some() {
            println!("{:?}\n{}", compiled.layouts(), compiled.disassembly());
        }
    }
    Ok(())
}
