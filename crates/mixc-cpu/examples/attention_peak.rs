//! Causal flash attention against the measured multiply-add peak of one core.
//!
//! `cargo run --release -p mixc-cpu --example attention_peak [-- I-BLOCK J-BLOCK D T H]`
//! Results are compared with plain f64 loops before anything is timed.

use mixc_cpu::{Compiled, LaunchArgs, Options, TensorPtr, Threads, compile, measure_peak};
use std::time::Instant;

fn kernel_text(bi: usize, bj: usize, d: usize) -> String {
    let body = |mask: &str| {
        format!(
            "load [j < {bj}, d < {d}] tk[j, d] <- k[b, h, j0 * {bj} + j, d]
      load [j < {bj}, e < {d}] tv[j, e] <- v[b, h, j0 * {bj} + j, e]
      contract [i < {bi}, j < {bj}, d < {d}] s[i, j] = tq[i, d] * tk[j, d]
      {mask}
      map [i < {bi}] before[i] = m[i]
      reduce max [i < {bi}, j < {bj}] m[i] (+)= s[i, j]
      map [i < {bi}] before[i] = exp2(before[i] - m[i])
      map [i < {bi}] l[i] = l[i] * before[i]
      map [i < {bi}, j < {bj}] s[i, j] = exp2(s[i, j] - m[i])
      reduce sum [i < {bi}, j < {bj}] l[i] (+)= s[i, j]
      map [i < {bi}, e < {d}] acc[i, e] = acc[i, e] * before[i]
      contract [i < {bi}, e < {d}, j < {bj}] acc[i, e] (+)= s[i, j] * tv[j, e]"
        )
    };
    let mask = format!(
        "map [i < {bi}, j < {bj}] s[i, j] = select(int(j0 * {bj} + j) <= int(i0 * {bi} + i), s[i, j], -inf)"
    );
    format!(
        "kernel attention(dims: B, H, T; scalars: scale) {{
    in q: f32 [$B, $H, $T, {d}] unit
    in k: f32 [$B, $H, $T, {d}] unit
    in v: f32 [$B, $H, $T, {d}] unit
    out o: f32 [$B, $H, $T, {d}] unit
    shared tq: [{bi}, {d}]
    shared tk: [{bj}, {d}]
    shared tv: [{bj}, {d}]
    shared s: [{bi}, {bj}]
    register m: [{bi}]
    register before: [{bi}]
    register l: [{bi}]
    register acc: [{bi}, {d}]
    grid b < $B, h < $H, i0 < ($T + {bi} - 1) / {bi}
    load [i < {bi}, d < {d}] tq[i, d] <- q[b, h, i0 * {bi} + i, d]
    map [i < {bi}, d < {d}] tq[i, d] = tq[i, d] * (scale * 1.44269504)
    map [i < {bi}] m[i] = -inf
    map [i < {bi}] l[i] = 0.0
    map [i < {bi}, e < {d}] acc[i, e] = 0.0
    for j0 in 0 .. i0 * {bi} / {bj} {{
      {}
    }}
    for j0 in i0 * {bi} / {bj} .. ceil_div(min($T, (i0 + 1) * {bi}), {bj}) {{
      {}
    }}
    map [i < {bi}] l[i] = recip0(l[i])
    store [i < {bi}, e < {d}] o[b, h, i0 * {bi} + i, e] <- acc[i, e] * l[i]
  }}",
        body(""),
        body(&mask)
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

struct Problem {
    h: usize,
    t: usize,
    d: usize,
    tensors: [Vec<f32>; 4],
}

impl Problem {
    fn new(h: usize, t: usize, d: usize) -> Problem {
        let n = h * t * d;
        Problem {
            h,
            t,
            d,
            tensors: [values(1, n), values(2, n), values(3, n), vec![f32::NAN; n]],
        }
    }

    fn run(&mut self, compiled: &Compiled) -> Result<(), mixc_cpu::LaunchError> {
        let (h, t, d) = (self.h as i64, self.t as i64, self.d as i64);
        let args = LaunchArgs {
            dims: vec![1, h, t],
            scalars: vec![1.0 / (d as f32).sqrt()],
            tensors: self
                .tensors
                .iter_mut()
                .map(|x| TensorPtr {
                    ptr: x.as_mut_ptr().cast(),
                    shape: vec![1, h, t, d],
                    strides: vec![h * t * d, t * d, d, 1],
                })
                .collect(),
        };
        // SAFETY: the buffers outlive the call, have the shapes and strides given, and do not overlap.
        unsafe { compiled.launch(&args, &Threads::One) }
    }

    /// Largest relative error per row of the output, against f64.
    fn error(&self) -> f64 {
        let (h, t, d) = (self.h, self.t, self.d);
        let [q, k, v, o] = &self.tensors;
        let scale = 1.0 / (d as f64).sqrt();
        let (mut difference, mut size) = (0f64, 0f64);
        for h in 0..h {
            for i in 0..t {
                let row = |x: &[f32], i: usize| x[(h * t + i) * d..][..d].to_vec();
                let qi = row(q, i);
                let scores: Vec<f64> = (0..=i)
                    .map(|j| {
                        row(k, j)
                            .iter()
                            .zip(&qi)
                            .map(|(a, b)| f64::from(*a) * f64::from(*b))
                            .sum::<f64>()
                            * scale
                    })
                    .collect();
                let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let p: Vec<f64> = scores.iter().map(|s| (s - most).exp()).collect();
                let total: f64 = p.iter().sum();
                let mut want = vec![0f64; d];
                for (j, p) in p.iter().enumerate() {
                    row(v, j)
                        .iter()
                        .zip(&mut want)
                        .for_each(|(v, w)| *w += p / total * f64::from(*v));
                }
                for (w, g) in want.iter().zip(row(o, i)) {
                    difference += (w - f64::from(g)).powi(2);
                    size += w * w;
                }
            }
        }
        (difference / size).sqrt()
    }
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
    let given: Vec<usize> = std::env::args()
        .skip(1)
        .filter_map(|a| a.parse().ok())
        .collect();
    let of = |i: usize, default: usize| given.get(i).copied().unwrap_or(default);
    let (d, t, h) = (of(2, 64), of(3, 4096), of(4, 8));
    let blocks = if given.is_empty() {
        vec![(64, 64), (128, 32), (128, 64), (256, 32), (256, 64)]
    } else {
        vec![(of(0, 128), of(1, 64))]
    };
    let peak = measure_peak(0.5)?;
    println!(
        "peak: {:.1} GFLOP/s at 128 bits, {:.1} GB/s",
        peak.fma_128_gflops, peak.bandwidth_gbps
    );
    for (bi, bj) in blocks {
        let kernel = mixc_tile::parse_kernel(&mixc_text::Source::new(
            "attention.tile",
            kernel_text(bi, bj, d),
        ))
        .map_err(|e| format!("{e:?}"))?;
        let compiled = compile(&kernel, &Options::default())?;
        let mut small = Problem::new(2, 333, d);
        small.run(&compiled)?;
        let error = small.error();
        let mut problem = Problem::new(h, t, d);
        problem.run(&compiled)?;
        let mut times = Vec::new();
        let mut peaks = Vec::new();
        for _ in 0..5 {
            let start = seconds();
            problem.run(&compiled)?;
            times.push(seconds() - start);
            peaks.push(measure_peak(0.02)?.fma_128_gflops);
        }
        times.sort_by(f64::total_cmp);
        peaks.sort_by(f64::total_cmp);
        let flops = 4.0 * d as f64 * (t * (t + 1) / 2 * h) as f64;
        let (best, median) = (flops / times[0] * 1e-9, flops / times[2] * 1e-9);
        println!(
            "{bi:4} x {bj:3}: median {median:5.1}, best {best:5.1} GFLOP/s, {:.0}% of the peak ({:.1}..{:.1}); error {error:.1e}; compiled in {:.1} ms, {} bytes, scratch {}",
            100.0 * median / peaks[2],
            peaks[0],
            peaks[4],
            compiled.compile_micros() as f64 * 1e-3,
            compiled.code_bytes(),
            compiled.scratch_bytes(),
        );
        if std::env::var_os("SHOW").is_some() {
            println!("{:?}\n{}", compiled.layouts(), compiled.disassembly());
        }
    }
    Ok(())
}
