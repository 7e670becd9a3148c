//! Times a kernel from its text on random inputs: `time_kernel FILE B=1 H=8 ...` (sizes, then scalars).
//!
//! `cargo run --release -p mixc-cpu --example time_kernel -- kernel.tile B=1 H=8 T=4096 scale=0.125`
//! Prints the milliseconds of one thread, how it was compiled, and the layouts. Results are not checked.

use mixc_cpu::{LaunchArgs, Options, TensorPtr, Threads, compile};
use std::collections::BTreeMap;
use std::time::Instant;

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
    let mut given = std::env::args().skip(1);
    let file = given
        .next()
        .ok_or("usage: time_kernel FILE NAME=VALUE...")?;
    let mut values: BTreeMap<String, f64> = BTreeMap::new();
    for pair in given {
        let (name, value) = pair.split_once('=').ok_or("expected NAME=VALUE")?;
        values.insert(name.to_string(), value.parse()?);
    }
    let text = std::fs::read_to_string(&file)?;
    let kernels = mixc_tile::parse_kernels(&mixc_text::Source::new(&*file, text))
        .map_err(|e| format!("{e:?}"))?;
    for kernel in kernels {
        let compiled = compile(&kernel, &Options::default())?;
        let value = |name: &str| {
            values
                .get(name)
                .copied()
                .ok_or(format!("{name} is missing"))
        };
        let sizes = kernel
            .dims
            .iter()
            .map(|d| Ok((d.clone(), value(d)? as i64)))
            .collect::<Result<BTreeMap<_, _>, String>>()?;
        let mut memory = Vec::new();
        let mut tensors = Vec::new();
        for t in &kernel.tensors {
            let shape: Vec<i64> = t
                .shape
                .iter()
                .map(|ix| ix.eval_sizes(&sizes).ok_or("a size has no value"))
                .collect::<Result<_, _>>()?;
            let count = shape.iter().product::<i64>() as usize;
            // Small positive f32 values, whatever the element type makes of their bits.
            let data: Vec<f32> = (0..count * t.dtype.size_bytes() / 4 + 1)
                .map(|i| ((i * 2_654_435_761) % 1000) as f32 * 2e-3 - 1.0)
                .collect();
            memory.push(data);
            let mut strides = vec![1; shape.len()];
            for d in (1..shape.len()).rev() {
                strides[d - 1] = strides[d] * shape[d];
            }
            let ptr = memory
                .last_mut()
                .map_or(std::ptr::null_mut(), |m| m.as_mut_ptr().cast());
            tensors.push(TensorPtr {
                ptr,
                shape,
                strides,
            });
        }
        let scalars = kernel
            .scalars
            .iter()
            .map(|s| Ok(value(s)? as f32))
            .collect::<Result<_, String>>()?;
        let args = LaunchArgs {
            dims: kernel.dims.iter().map(|d| sizes[d]).collect(),
            scalars,
            tensors,
        };
        // SAFETY: the buffers outlive the call, have the shapes and strides given, and do not overlap.
        unsafe { compiled.launch(&args, &Threads::One) }?;
        let mut times: Vec<f64> = Vec::new();
        for _ in 0..5 {
            let (start, mut rounds) = (seconds(), 0);
            // Processor time comes in ticks of some milliseconds.
            while rounds == 0 || seconds() - start < 0.2 {
                // SAFETY: the buffers outlive the call, have the shapes and strides given, and do not overlap.
                unsafe { compiled.launch(&args, &Threads::One) }?;
                rounds += 1;
            }
            times.push((seconds() - start) * 1e3 / f64::from(rounds));
        }
        times.sort_by(f64::total_cmp);
        println!(
            "{}: {:.2} ms; compiled in {:.1} ms, {} bytes, scratch {}; innermost {:?}",
            kernel.name,
            times[2],
            compiled.compile_micros() as f64 * 1e-3,
            compiled.code_bytes(),
            compiled.scratch_bytes(),
            compiled.layouts()
        );
    }
    Ok(())
}
