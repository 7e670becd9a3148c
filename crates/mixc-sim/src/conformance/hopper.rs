//! mbarriers, bulk and tensor copies, `wgmma`, `setmaxnreg`.

use super::cases::{CaseArg, Draft, Tolerance};
use super::matrix::register;
use super::text::{Kernel, SM80, SM90};
use super::values::Random;
use crate::{Swizzle, TensorElem};

pub fn drafts(seed: u64) -> Vec<Draft> {
    let mut out = vec![
        mbarriers(SM80),
        mbarriers(SM90),
        copies_that_arrive(seed),
        registers(),
    ];
    out.extend(bulk(seed));
    out.extend(tensors(seed));
    out
}

/// Waits until a phase of the mbarrier in `%r0` with the parity given is complete.
fn wait(label: &str, bar: &str, parity: u32) -> String {
    format!(
        "mov.u32 %r60, {parity};\n{label}:\nmbarrier.try_wait.parity.shared::cta.b64 %p15, [{bar}], %r60;\n@!%p15 bra {label};"
    )
}

/// Arrivals with and without counts and states, tests by state and parity, over several phases.
fn mbarriers(target: &'static str) -> Draft {
    let name = format!("mbarrier {target}");
    let mut k = Kernel::new(&name, target, 64);
    k.line(".shared .align 8 .b64 bar;\nmov.u32 %r0, bar;\nsetp.eq.u32 %p0, %t, 0;\n@%p0 mbarrier.init.shared.b64 [bar], 64;\nbar.sync 0;");
    k.line("mbarrier.arrive.shared.b64 %rd0, [bar];\nL0:\nmbarrier.test_wait.shared.b64 %p1, [bar], %rd0;\n@!%p1 bra L0;\nselp.b32 %r1, 1, 0, %p1;");
    k.store("mbarrier.test_wait", "%r1", 32, Tolerance::Exact);
    // One thread arrives for everybody, where that is possible.
    let arrive = match target {
        SM90 => "@%p0 mbarrier.arrive.shared::cta.b64 %rd0, [bar], 64;",
        _ => "mbarrier.arrive.shared.b64 %rd0, [bar];",
    };
    k.line("bar.sync 0;").line(arrive).line("bar.sync 0;");
    if target == SM90 {
        k.line("mbarrier.test_wait.parity.shared::cta.b64 %p2, [bar], 1;\nmbarrier.test_wait.parity.shared::cta.b64 %p3, [bar], 0;");
        k.line("selp.b32 %r2, 1, 0, %p2;\nselp.b32 %r3, 2, 0, %p3;\nor.b32 %r2, %r2, %r3;");
        k.store("mbarrier.test_wait.parity", "%r2", 32, Tolerance::Exact);
        // Bytes are announced and delivered by hand; the phase ends with the last of both.
        k.line("bar.sync 0;\n@%p0 mbarrier.expect_tx.relaxed.cta.shared::cta.b64 [bar], 32;\nmbarrier.arrive.shared::cta.b64 _, [bar];\nbar.sync 0;");
        k.line("mbarrier.test_wait.parity.shared::cta.b64 %p4, [bar], 0;\nselp.b32 %r4, 1, 0, %p4;\nbar.sync 0;");
        k.store("mbarrier.expect_tx", "%r4", 32, Tolerance::Exact);
        k.line("@%p0 mbarrier.complete_tx.relaxed.cta.shared::cta.b64 [bar], 32;\nbar.sync 0;")
            .line(wait("L1", "bar", 0));
        k.line("selp.b32 %r5, 1, 0, %p15;");
        k.store("mbarrier.complete_tx", "%r5", 32, Tolerance::Exact);
        k.line("bar.sync 0;\nmbarrier.arrive.expect_tx.shared::cta.b64 %rd1, [bar], 1;\nmbarrier.complete_tx.relaxed.cta.shared::cta.b64 [bar], 1;");
        k.line("L2:\nmbarrier.try_wait.shared::cta.b64 %p5, [bar], %rd1;\n@!%p5 bra L2;\nselp.b32 %r6, 1, 0, %p5;");
        k.store("mbarrier.try_wait", "%r6", 32, Tolerance::Exact);
    }
    // Half of the threads leave; the next phase needs the other half only.
    k.line("bar.sync 0;\nsetp.ge.u32 %p6, %t, 32;\n@%p6 mbarrier.arrive_drop.shared.b64 %rd2, [bar];\n@!%p6 mbarrier.arrive.shared.b64 %rd2, [bar];");
    k.line("L3:\nmbarrier.test_wait.shared.b64 %p7, [bar], %rd2;\n@!%p7 bra L3;\nbar.sync 0;\nmov.u32 %r7, 0;\n@%p6 bra DONE;");
    k.line("mbarrier.arrive.shared.b64 %rd2, [bar];\nL4:\nmbarrier.test_wait.shared.b64 %p7, [bar], %rd2;\n@!%p7 bra L4;\nmov.u32 %r7, 1;\nDONE:");
    k.store("mbarrier.arrive_drop", "%r7", 32, Tolerance::Exact);
    k.line("bar.sync 0;\n@%p0 mbarrier.inval.shared.b64 [bar];");
    k.draft()
}

fn words(seed: u64, name: &str, n: usize) -> Vec<u8> {
    let mut random = Random::new(seed, name);
    (0..n)
        .flat_map(|_| (random.next() as u32).to_le_bytes())
        .collect()
}

/// `cp.async` that arrives at an mbarrier.
fn copies_that_arrive(seed: u64) -> Draft {
    let mut k = Kernel::new("cp.async.mbarrier.arrive", SM80, 64);
    let input = k.input(words(seed, "cp.async.mbarrier", 128));
    k.line(".shared .align 8 .b64 bar;\n.shared .align 512 .b8 s[512];\nsetp.eq.u32 %p0, %t, 0;\n@%p0 mbarrier.init.shared.b64 [bar], 64;\nbar.sync 0;\nmov.u32 %r1, s;\nmad.lo.u32 %r2, %t, 4, %r1;");
    k.line(format!("mad.wide.u32 %rd0, %t, 4, %in{input};\ncp.async.ca.shared.global [%r2], [%rd0], 4;\ncp.async.mbarrier.arrive.noinc.shared.b64 [bar];"));
    k.line("cp.async.wait_all;\nbar.sync 0;\nxor.b32 %r3, %r2, 128;\nld.shared.b32 %r4, [%r3];");
    k.store(
        "cp.async.mbarrier.arrive.noinc",
        "%r4",
        32,
        Tolerance::Exact,
    );
    // The second phase ends with the threads' own arrivals; those of the copies were counted in advance.
    k.line("cp.async.ca.shared.global [%r2+256], [%rd0+256], 4;\ncp.async.mbarrier.arrive.shared.b64 [bar];\nmbarrier.arrive.shared.b64 %rd2, [bar];\nL0:\nmbarrier.test_wait.shared.b64 %p1, [bar], %rd2;\n@!%p1 bra L0;\nld.shared.b32 %r5, [%r3+256];");
    k.store("cp.async.mbarrier.arrive", "%r5", 32, Tolerance::Exact);
    k.draft()
}

fn registers() -> Draft {
    let mut k = Kernel::new("setmaxnreg", SM90, 256);
    k.directive(".maxnreg 128");
    k.line("setp.lt.u32 %p0, %t, 128;\n@%p0 bra FEWER;\nsetmaxnreg.inc.sync.aligned.u32 160;\nmov.u32 %r0, 160;\nbra.uni DONE;\nFEWER:\nsetmaxnreg.dec.sync.aligned.u32 96;\nmov.u32 %r0, 96;\nDONE:");
    k.store("setmaxnreg", "%r0", 32, Tolerance::Exact);
    k.draft()
}

/// One thread starts an mbarrier for one arrival.
const START: &str = "setp.eq.u32 %p0, %t, 0;\n@%p0 mbarrier.init.shared.b64 [bar], 1;\n@%p0 fence.mbarrier_init.release.cluster;\nbar.sync 0;";

fn bulk(seed: u64) -> Vec<Draft> {
    let mut out = vec![];
    let name = "cp.async.bulk";
    let mut k = Kernel::new(name, SM90, 64);
    let input = k.input(words(seed, name, 64));
    k.line(".shared .align 8 .b64 bar;\n.shared .align 128 .b8 s[256];\nmov.u32 %r0, s;\nmov.u32 %r1, bar;").line(START);
    k.line(format!("@!%p0 bra WAIT;\nmbarrier.arrive.expect_tx.shared::cta.b64 _, [bar], 256;\ncp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%r0], [%in{input}], 256, [%r1];\nWAIT:"));
    k.line(wait("L0", "%r1", 0));
    k.line("mad.lo.u32 %r2, %t, 4, %r0;\nld.shared.b32 %r3, [%r2];\nadd.u32 %r4, %r3, 1;\nst.shared.b32 [%r2], %r4;\nfence.proxy.async.shared::cta;\nbar.sync 0;");
    k.store("cp.async.bulk to shared", "%r3", 32, Tolerance::Exact);
    let at = k.results("cp.async.bulk to global", 64, 4, 32, Tolerance::Exact);
    k.line(format!("add.s64 %rd1, %out, {at};\n@%p0 cp.async.bulk.global.shared::cta.bulk_group [%rd1], [%r0], 256;\n@%p0 cp.async.bulk.commit_group;\n@%p0 cp.async.bulk.wait_group.read 0;\n@%p0 cp.async.bulk.wait_group 0;"));
    out.push(k.draft());
    let reductions = [
        ("add.u32", 4, 1),
        ("min.s32", 4, 1),
        ("max.u64", 8, 1),
        ("and.b32", 4, 1),
        ("or.b64", 8, 1),
        ("xor.b32", 4, 1),
        ("inc.u32", 4, 1),
        ("dec.u32", 4, 1),
        ("add.f32", 4, 0),
        ("add.f64", 8, 0),
        ("add.noftz.f16", 2, 0),
        ("add.noftz.bf16", 2, 0),
        ("min.f16", 2, 0),
        ("max.bf16", 2, 0),
    ];
    for (op, bytes, integer) in reductions {
        out.push(reduction(seed, op, bytes, integer == 1));
    }
    out
}

/// 256 bytes of shared memory are combined with 256 of an input, which the output shows.
fn reduction(seed: u64, op: &str, bytes: usize, integer: bool) -> Draft {
    let opcode = format!("cp.reduce.async.bulk.global.shared::cta.bulk_group.{op}");
    let mut random = Random::new(seed, &opcode);
    let mut k = Kernel::new(&opcode, SM90, 64);
    let mut word = || match (integer, bytes) {
        (true, _) => random.next() as u32,
        (_, 2) if op.contains("bf16") => register(&mut random, "bf16", true),
        (_, 2) => register(&mut random, "f16", true),
        (_, 4) => register(&mut random, "f32", true),
        // The upper word of a double whose lower one is zero or nearly so.
        _ => 0x3ff0_0000 | random.below(16) as u32,
    };
    let mut data = || -> Vec<u8> { (0..64).flat_map(|_| word().to_le_bytes()).collect() };
    let (places, operands) = (k.input(data()), k.input(data()));
    k.line(format!(".shared .align 128 .b8 s[256];\nmov.u32 %r0, s;\nmad.lo.u32 %r1, %t, 4, %r0;\nmad.wide.u32 %rd0, %t, 4, %in{operands};\nld.global.b32 %r2, [%rd0];\nst.shared.b32 [%r1], %r2;"));
    k.line(format!("fence.proxy.async.shared::cta;\nbar.sync 0;\nsetp.eq.u32 %p0, %t, 0;\n@%p0 {opcode} [%in{places}], [%r0], 256;\n@%p0 cp.async.bulk.commit_group;\n@%p0 cp.async.bulk.wait_group 0;\nbar.sync 0;"));
    k.line(format!(
        "mad.wide.u32 %rd1, %t, 4, %in{places};\nld.global.cv.b32 %r3, [%rd1];"
    ));
    k.store(&opcode, "%r3", 32, Tolerance::Exact);
    k.draft()
}

/// Dimensions of a tensor, of a box, and the box's coordinates.
type TensorBox = (&'static [u64], &'static [u32], &'static [i32], Swizzle);

/// Boxes of every rank and swizzle, also past the tensor's ends; what arrives is stored from shared memory,
/// and another box goes out and is added to.
fn tensors(seed: u64) -> Vec<Draft> {
    let mut out = vec![];
    // Dimensions, box, coordinates of 4-byte elements; the inner box is as wide as the swizzle.
    let shapes: &[TensorBox] = &[
        (&[100], &[64], &[20], Swizzle::None),
        (&[100], &[64], &[60], Swizzle::None),
        (&[40, 12], &[32, 8], &[-4, 6], Swizzle::B128),
        (&[40, 12], &[16, 16], &[30, -2], Swizzle::B64),
        (&[40, 12], &[8, 8], &[16, 2], Swizzle::B32),
        (&[16, 5, 4], &[8, 4, 4], &[4, 2, 1], Swizzle::None),
        (&[8, 3, 3, 3], &[4, 2, 2, 2], &[2, 1, 2, 0], Swizzle::None),
        (
            &[8, 2, 3, 2, 3],
            &[4, 2, 2, 2, 2],
            &[4, 0, 1, 1, 2],
            Swizzle::None,
        ),
    ];
    for (dims, boxes, at, swizzle) in shapes {
        out.push(tensor(seed, dims, boxes, at, *swizzle));
    }
    out
}

fn tensor(seed: u64, dims: &[u64], boxes: &[u32], at: &[i32], swizzle: Swizzle) -> Draft {
    let rank = dims.len();
    let name = format!("cp.async.bulk.tensor.{rank}d {dims:?} {at:?} {swizzle:?}");
    let count: usize = dims.iter().product::<u64>() as usize;
    let box_words = boxes.iter().product::<u32>() as usize;
    let mut random = Random::new(seed, &name);
    let mut k = Kernel::new(&name, SM90, 128);
    let floats = |random: &mut Random| -> Vec<u8> {
        (0..count)
            .flat_map(|_| register(random, "f32", true).to_le_bytes())
            .collect()
    };
    let (from, to) = (k.input(floats(&mut random)), k.input(floats(&mut random)));
    let strides: Vec<u64> = (1..rank)
        .map(|d| 4 * dims[..d].iter().product::<u64>())
        .collect();
    for input in [from, to] {
        let (dims, strides, box_dims) = (dims.to_vec(), strides.clone(), boxes.to_vec());
        k.map(CaseArg::TensorMap {
            input: Some(input),
            elem: TensorElem::F32,
            dims,
            strides,
            box_dims,
            swizzle,
        });
    }
    let coords = at
        .iter()
        .map(|c| c.to_string())
        .collect::<Vec<_>>()
        .join(", ");
    let bytes = 4 * box_words;
    k.line(format!(".shared .align 8 .b64 bar;\n.shared .align 1024 .b8 s[{}];\nmov.u32 %r0, s;\nmov.u32 %r1, bar;", bytes.next_multiple_of(1024)));
    // What the copy does not touch is known.
    k.line("mad.lo.u32 %r2, %t, 4, %r0;\nmov.u32 %r3, %t;\nFILL:\nst.shared.u32 [%r2], 0;\nadd.u32 %r2, %r2, 512;\nadd.u32 %r3, %r3, 128;");
    k.line(format!(
        "setp.lt.u32 %p1, %r3, {};\n@%p1 bra FILL;\nfence.proxy.async.shared::cta;",
        bytes.next_multiple_of(1024) / 4
    ));
    k.line(START);
    let load =
        format!("cp.async.bulk.tensor.{rank}d.shared::cluster.global.mbarrier::complete_tx::bytes");
    k.line(format!("@!%p0 bra WAIT;\nmbarrier.arrive.expect_tx.shared::cta.b64 _, [bar], {bytes};\n{load} [%r0], [%map0, {{{coords}}}], [%r1];\nWAIT:"));
    k.line(wait("L0", "%r1", 0));
    for first in (0..box_words).step_by(128) {
        k.line(format!("add.u32 %r4, %t, {first};\nrem.u32 %r4, %r4, {box_words};\nmad.lo.u32 %r4, %r4, 4, %r0;\nld.shared.b32 %r5, [%r4];"));
        k.store(&load, "%r5", 32, Tolerance::Exact);
    }
    let store = format!("cp.async.bulk.tensor.{rank}d.global.shared::cta.bulk_group");
    let add = format!("cp.reduce.async.bulk.tensor.{rank}d.global.shared::cta.add.bulk_group");
    k.line(format!("bar.sync 0;\n@%p0 {store} [%map1, {{{coords}}}], [%r0];\n@%p0 cp.async.bulk.commit_group;\n@%p0 cp.async.bulk.wait_group 0;"));
    k.line(format!("@%p0 {add} [%map1, {{{coords}}}], [%r0];\n@%p0 cp.async.bulk.commit_group;\n@%p0 cp.async.bulk.wait_group 0;\nbar.sync 0;"));
    for first in (0..count).step_by(128) {
        k.line(format!("add.u32 %r6, %t, {first};\nrem.u32 %r6, %r6, {count};\nmad.wide.u32 %rd0, %r6, 4, %in{to};\nld.global.cv.b32 %r7, [%rd0];"));
        k.store(&add, "%r7", 32, Tolerance::Exact);
    }
    k.draft()
}
