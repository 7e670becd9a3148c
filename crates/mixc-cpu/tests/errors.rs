//! What a kernel or a launch that cannot work is answered with.

mod common;

use common::kernel;
use mixc_cpu::{LaunchArgs, LaunchError, Options, TensorPtr, Threads, compile, measure_peak};
use mixc_ir::Ix;
use mixc_tile::{Expr, Kernel, Place, Stmt};

const COPY: &str = "kernel copy(dims: N) {
  in a: f32 [$N, 4] unit
  out c: f32 [$N, 4] unit
  shared t: [8, 4]
  grid g < ($N + 7) / 8
  load [n < 8, m < 4] t[n, m] <- a[g * 8 + n, m]
  store [n < 8, m < 4] c[g * 8 + n, m] <- t[n, m]
}";

fn message(kernel: &Kernel) -> String {
    compile(kernel, &Options::default())
        .expect_err("an error was expected")
        .to_string()
}

#[test]
fn compile_errors_name_the_statement_and_the_reason() {
    let broken = |change: fn(&mut Kernel)| {
        let mut k = kernel(COPY);
        change(&mut k);
        message(&k)
    };
    let unknown = broken(|k| {
        if let Stmt::Store { src, .. } = &mut k.body[1] {
            *src = Expr::Scalar("alpha".into());
        }
    });
    assert!(
        unknown.contains("`store c` over [n:8, m:4]") && unknown.contains("unknown scalar `alpha`"),
        "{unknown}"
    );
    let outside = broken(|k| {
        if let Stmt::Load { dst, .. } = &mut k.body[0] {
            dst.places[0] = Place::At(Ix::Const(9));
        }
    });
    assert!(
        outside.contains("load t <- a") && outside.contains("position 9 is outside dimension 0"),
        "{outside}"
    );
    let rank = broken(|k| k.bufs[0].shape = vec![8]);
    assert!(rank.contains("has 1 dimensions, not 2"), "{rank}");
    let missing = broken(|k| k.tensors.truncate(1));
    assert!(missing.contains("unknown tensor `c`"), "{missing}");
    let large = broken(|k| {
        if let Stmt::Load { axes, .. } = &mut k.body[0] {
            axes[0].extent = 9;
        }
    });
    assert!(
        large.contains("axis `n` takes 9 values, dimension 0 of `t` has 8"),
        "{large}"
    );
}

#[test]
fn launches_with_other_arguments_than_declared_are_refused() {
    let compiled = compile(&kernel(COPY), &Options::default()).unwrap();
    let (mut a, mut c) = (vec![1f32; 12], vec![0f32; 12]);
    let tensor = |x: &mut Vec<f32>, shape: &[i64], strides: &[i64]| TensorPtr {
        ptr: x.as_mut_ptr().cast(),
        shape: shape.to_vec(),
        strides: strides.to_vec(),
    };
    let good = LaunchArgs {
        dims: vec![3],
        scalars: vec![],
        tensors: vec![
            tensor(&mut a, &[3, 4], &[4, 1]),
            tensor(&mut c, &[3, 4], &[4, 1]),
        ],
    };
    let refused = |change: &dyn Fn(&mut LaunchArgs)| {
        let mut args = good.clone();
        change(&mut args);
        // SAFETY: a launch that is refused touches nothing; the buffers fit the kernel otherwise.
        unsafe { compiled.launch(&args, &Threads::One) }.expect_err("an error was expected")
    };
    assert!(matches!(
        refused(&|x| x.dims.clear()),
        LaunchError::Count {
            what: "sizes",
            expected: 1,
            got: 0,
            ..
        }
    ));
    assert!(matches!(
        refused(&|x| x.scalars.push(1.0)),
        LaunchError::Count {
            what: "scalars",
            ..
        }
    ));
    assert!(matches!(
        refused(&|x| x.tensors.truncate(1)),
        LaunchError::Count {
            what: "tensors",
            ..
        }
    ));
    assert!(
        refused(&|x| x.tensors[1].shape[0] = 4)
            .to_string()
            .contains("tensor c: expected shape [3, 4], got [4, 4]")
    );
    assert!(
        refused(&|x| x.tensors[0].strides = vec![1, 3])
            .to_string()
            .contains("innermost stride 1, got 3")
    );
    assert!(
        refused(&|x| x.tensors[0].ptr = std::ptr::null_mut())
            .to_string()
            .contains("null pointer")
    );
    // SAFETY: the buffers outlive the call, have the shapes and strides given, and do not overlap.
    unsafe { compiled.launch(&good, &Threads::One) }.unwrap();
    assert_eq!(a, c);
}

#[test]
fn the_peaks_of_this_machine_are_measured() {
    let peak = measure_peak(0.02).unwrap();
    assert!(
        peak.fma_128_gflops > 1.0 && peak.fma_128_gflops < 1000.0,
        "{peak:?}"
    );
    assert!(
        peak.bandwidth_gbps > 0.1 && peak.bandwidth_gbps < 1000.0,
        "{peak:?}"
    );
}

#[test]
fn compiled_kernels_can_be_looked_at() {
    let compiled = compile(&kernel(COPY), &Options::default()).unwrap();
    assert!(compiled.clif().contains("function"), "{}", compiled.clif());
    assert!(
        compiled.disassembly().contains("ret"),
        "{}",
        compiled.disassembly()
    );
    assert!(compiled.code_bytes() > 0 && compiled.scratch_bytes() >= 128);
}
