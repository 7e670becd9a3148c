//! What one core of this machine can do at most, measured.

use crate::error::CompileError;
use crate::machine;
use cranelift_codegen::ir::{AbiParam, BlockArg, InstBuilder, types::F32X4, types::I64};
use cranelift_codegen::ir::{MemFlagsData, condcodes::IntCC};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use cranelift_jit::{JITBuilder, JITModule};
use cranelift_module::{Linkage, Module, default_libcall_names};
use std::time::{Duration, Instant};

/// Measured peaks of one thread.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Peak {
    /// f32 multiply-adds on 128-bit vectors, counted as two operations.
    pub fma_128_gflops: f64,
    /// Reading memory well beyond the caches, in 10^9 bytes a second.
    pub bandwidth_gbps: f64,
}

/// Measures for about `seconds` (at least a few milliseconds each).
///
/// # Errors
/// If this machine cannot run generated code.
pub fn measure_peak(seconds: f64) -> Result<Peak, CompileError> {
    let half = Duration::from_secs_f64((seconds / 2.0).clamp(0.005, 60.0));
    Ok(Peak {
        fma_128_gflops: multiply_adds(half)?,
        bandwidth_gbps: bandwidth(half),
    })
}

/// Independent accumulators; enough to hide a latency of 4 to 5 cycles on two units.
const ACCUMULATORS: usize = 12;

fn multiply_adds(time: Duration) -> Result<f64, CompileError> {
    let codegen = |what: String| CompileError::Codegen {
        kernel: "peak".into(),
        what,
    };
    let (isa, _) = machine::isa(false)?;
    let mut module = JITModule::new(JITBuilder::with_isa(isa, default_libcall_names()));
    let mut context = module.make_context();
    context
        .func
        .signature
        .params
        .extend([AbiParam::new(I64), AbiParam::new(I64)]);
    let id = module
        .declare_function("peak", Linkage::Export, &context.func.signature)
        .map_err(|e| codegen(e.to_string()))?;
    let mut frontend = FunctionBuilderContext::new();
    let mut b = FunctionBuilder::new(&mut context.func, &mut frontend);
    let (entry, head, exit) = (b.create_block(), b.create_block(), b.create_block());
    b.append_block_params_for_function_params(entry);
    b.switch_to_block(entry);
    let (memory, rounds) = (b.block_params(entry)[0], b.block_params(entry)[1]);
    let flags = MemFlagsData::new().with_notrap();
    let x = b.ins().load(F32X4, flags, memory, 0);
    let mut start = vec![BlockArg::from(rounds)];
    start.extend((0..ACCUMULATORS).map(|_| BlockArg::from(x)));
    b.ins().jump(head, &start);
    b.switch_to_block(head);
    let left = b.append_block_param(head, I64);
    let mut acc: Vec<_> = (0..ACCUMULATORS)
        .map(|_| b.append_block_param(head, F32X4))
        .collect();
    // acc * acc + [memory]: overwrites the accumulator, so there is nothing to move.
    for _ in 0..8 {
        for a in &mut acc {
            let z = b.ins().load(F32X4, flags, memory, 16);
            *a = b.ins().fma(*a, x, z);
        }
    }
    let one = b.ins().iconst(I64, 1);
    let left = b.ins().isub(left, one);
    let zero = b.ins().iconst(I64, 0);
    let more = b.ins().icmp(IntCC::SignedGreaterThan, left, zero);
    let mut next = vec![BlockArg::from(left)];
    next.extend(acc.iter().map(|a| BlockArg::from(*a)));
    b.ins().brif(more, head, &next, exit, &[]);
    b.switch_to_block(exit);
    for (i, a) in acc.iter().enumerate() {
        b.ins().store(flags, *a, memory, 32 + 16 * i as i32);
    }
    b.ins().return_(&[]);
    b.seal_all_blocks();
    b.finalize(module.target_config());
    module
        .define_function(id, &mut context)
        .map_err(|e| codegen(format!("{e:?}")))?;
    module
        .finalize_definitions()
        .map_err(|e| codegen(e.to_string()))?;
    let code = module.get_finalized_function(id);
    // SAFETY: just defined with two 64-bit parameters; the module is freed after the last call.
    let run =
        unsafe { std::mem::transmute::<*const u8, unsafe extern "C" fn(*mut f32, i64)>(code) };
    let mut memory = [0.5f32; 8 + 4 * ACCUMULATORS];
    let rounds = 20_000;
    let mut best = f64::INFINITY;
    let end = Instant::now() + time;
    while best.is_infinite() || Instant::now() < end {
        let start = Instant::now();
        // SAFETY: the function reads 8 and writes 4 * ACCUMULATORS floats behind them.
        unsafe { run(memory.as_mut_ptr(), rounds) };
        best = best.min(start.elapsed().as_secs_f64());
    }
    // SAFETY: `run` is not used any more.
    unsafe { module.free_memory() };
    Ok((rounds as usize * 8 * ACCUMULATORS * 8) as f64 / best * 1e-9)
}

fn bandwidth(time: Duration) -> f64 {
    let words = vec![1u64; 16 << 20];
    let mut best = f64::INFINITY;
    let end = Instant::now() + time;
    let mut sum = 0u64;
    while best.is_infinite() || Instant::now() < end {
        let start = Instant::now();
        let parts = words.chunks_exact(8).fold([0u64; 8], |mut acc, c| {
            acc.iter_mut()
                .zip(c)
                .for_each(|(a, x)| *a = a.wrapping_add(*x));
            acc
        });
        sum = sum.wrapping_add(std::hint::black_box(parts).iter().sum());
        best = best.min(start.elapsed().as_secs_f64());
    }
    std::hint::black_box(sum);
    (words.len() * 8) as f64 / best * 1e-9
}
