//! Contractions in cache against the measured multiply-add peak of one core.

use mixc_cpu::{LaunchArgs, Options, TensorPtr, Threads, compile, measure_peak};
use std::time::Instant;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    for (m, n, k) in [
        (64, 64, 64),
        (64, 128, 64),
        (32, 64, 64),
        (64, 32, 32),
        (16, 64, 64),
        (2, 64, 64),
        (128, 16, 64),
    ] {
        if std::env::args()
            .nth(1)
            .is_some_and(|only| only != format!("{m}x{n}x{k}"))
        {
            continue;
        }
        let text = format!(
            "kernel product(dims: R) {{
      in a: f32 [{m}, {k}] unit
      in b: f32 [{k}, {n}] unit
      out c: f32 [{m}, {n}] unit
      shared ta: [{m}, {k}]
      shared tb: [{k}, {n}]
      shared tc: [{m}, {n}]
      load [m < {m}, k < {k}] ta[m, k] <- a[m, k]
      load [k < {k}, n < {n}] tb[k, n] <- b[k, n]
      map [m < {m}, n < {n}] tc[m, n] = 0.0
      for r in 0 .. $R {{
        contract [m < {m}, n < {n}, k < {k}] tc[m, n] (+)= ta[m, k] * tb[k, n]
      }}
      store [m < {m}, n < {n}] c[m, n] <- tc[m, n]
    }}"
        );
        let kernel = mixc_tile::parse_kernel(&mixc_text::Source::new("product.tile", text))
            .map_err(|e| format!("{e:?}"))?;
        let compiled = compile(&kernel, &Options::default())?;
        let mut tensors = [vec![0.5f32; m * k], vec![0.25f32; k * n], vec![0f32; m * n]];
        let rounds = 60_000_000 / (2 * m * n * k);
        let shapes = [(m, k), (k, n), (m, n)];
        let args = LaunchArgs {
            dims: vec![rounds as i64],
            scalars: vec![],
            tensors: tensors
                .iter_mut()
                .zip(shapes)
                .map(|(x, (r, c))| TensorPtr {
                    ptr: x.as_mut_ptr().cast(),
                    shape: vec![r as i64, c as i64],
                    strides: vec![c as i64, 1],
                })
                .collect(),
        };
        let mut best = f64::INFINITY;
        let peak = measure_peak(0.05)?.fma_128_gflops;
        let mut peak = peak;
        for _ in 0..40 {
            let start = Instant::now();
            // SAFETY: the buffers outlive the call, have the shapes and strides given, and do not overlap.
            unsafe { compiled.launch(&args, &Threads::One) }?;
            best = best.min(start.elapsed().as_secs_f64());
            peak = peak.max(measure_peak(0.001)?.fma_128_gflops);
        }
        let gflops = (rounds * 2 * m * n * k) as f64 / best * 1e-9;
        println!(
            "{m} x {n} x {k}: {gflops:.1} GFLOP/s, {:.0}% of {peak:.1}",
            100.0 * gflops / peak
        );
        if std::env::var_os("SHOW").is_some() {
            println!("{:?}\n{}", compiled.layouts(), compiled.disassembly());
        }
    }
    Ok(())
}
