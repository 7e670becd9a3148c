//! `mma.sync`, `ldmatrix`, `stmatrix`, `cp.async`.

mod common;
use common::*;
use mixc_sim::{Arg, Class, FindingKind, Memory, Report};

#[path = "common/gemm.rs"]
mod gemm;
use gemm::gemm64;

fn bf16(values: &[f32]) -> Vec<u16> {
    values
        .iter()
        .map(|v| half::bf16::from_f32(*v).to_bits())
        .collect()
}

fn product(a: &[f32], b: &[f32], (m, n, k): (usize, usize, usize)) -> Vec<f32> {
    let mut c = vec![0.0; m * n];
    for i in 0..m {
        for j in 0..n {
            c[i * n + j] = (0..k).map(|l| a[i * k + l] * b[l * n + j]).sum();
        }
    }
    c
}

fn run_gemm(text: &str) -> (Report, Vec<f32>, Vec<f32>) {
    let (a, b) = (small(4096, 1), small(4096, 2));
    let mut memory = Memory::new();
    let (ba, bb) = (
        memory.alloc_u16("a", &bf16(&a)),
        memory.alloc_u16("b", &bf16(&b)),
    );
    let c = memory.alloc_uninit("c", 4096 * 4);
    memory.write_once(c);
    let report = run(
        text,
        1,
        128,
        &[Arg::Buffer(ba), Arg::Buffer(bb), Arg::Buffer(c)],
        &mut memory,
    );
    (report, memory.f32s(c), product(&a, &b, (64, 64, 64)))
}

#[test]
fn a_block_product_with_copies_and_matrix_loads() {
    let start = std::time::Instant::now();
    let (report, got, want) = run_gemm(&gemm64());
    println!("64 x 64 x 64 block: {:?}", start.elapsed());
    clean(&report);
    assert_eq!(got, want);
    assert_eq!(report.counts.tally.matrix_fmas, 64 * 64 * 64);
    assert_eq!(report.counts.of(Class::Matrix), 4 * 32);
    // The swizzle leaves no bank conflicts.
    assert_eq!(report.counts.bank_conflicts(), 0);
}

#[test]
fn planted_mistakes_in_the_product_are_found() {
    let good = gemm64();
    let cases: &[(&str, &str, FindingKind)] = &[
        ("cp.async.wait_group 0;", "", FindingKind::ReadBeforeWait),
        ("cp.async.commit_group;", "", FindingKind::ReadBeforeWait),
        (
            "cp.async.wait_group 0;",
            "cp.async.wait_group 1;",
            FindingKind::ReadBeforeWait,
        ),
        ("bar.sync 0;", "", FindingKind::Race),
        (
            "add.u32 %r10, %t, 384;",
            "add.u32 %r10, %t, 256;",
            FindingKind::UninitShared,
        ),
        ("[%rd11], 16;", "[%rd11+8], 16;", FindingKind::Misaligned),
        (
            "add.u32 %r10, %t, 384;",
            "add.u32 %r10, %t, 512;",
            FindingKind::OutOfBounds,
        ),
        ("mov.f32 %c5, 0f00000000;", "", FindingKind::UninitRegister),
        (
            "st.global.v2.f32 [%rd20+0]",
            "st.global.v2.f32 [%rd20+32]",
            FindingKind::DoubleWrite,
        ),
        (
            "st.global.v2.f32 [%rd20+0]",
            "st.global.v2.f32 [%rd20+4]",
            FindingKind::Misaligned,
        ),
        (
            "bar.sync 0;",
            "setp.lt.u32 %p1, %t, 100;\n@%p1 bar.sync 0;",
            FindingKind::Divergent,
        ),
        (
            "bar.sync 0;",
            "setp.lt.u32 %p1, %t, 64;\n@%p1 bar.sync 1, 128;\nbar.sync 0;",
            FindingKind::Deadlock,
        ),
    ];
    for (from, to, kind) in cases {
        assert!(good.contains(from), "{from}");
        let (report, ..) = run_gemm(&good.replacen(from, to, 1));
        let found = report.of(*kind).unwrap_or_else(|| {
            panic!(
                "`{from}` -> `{to}`: {kind:?} is not among {:?}",
                kinds(&report)
            )
        });
        assert!(found.line > 0 && !found.text.is_empty());
    }
    // A wrong swizzle on one side: no rule is broken, the numbers are.
    let (report, got, want) = run_gemm(&good.replacen("xor.b32 %r41, %r41, %r42;", "", 1));
    clean(&report);
    assert_ne!(got, want);
    // Without any swizzle the rows collide in the banks.
    let plain = good
        .replace("xor.b32 %r41, %r41, %r42;", "")
        .replace("xor.b32 %r14, %r12, %r13;", "mov.u32 %r14, %r12;");
    let (report, got, want) = run_gemm(&plain);
    assert_eq!(got, want);
    assert!(report.counts.bank_conflicts() > 0);
}

/// One `mma` with fragments loaded as the documentation's tables say: element (row, column) of A, B, C
/// for each lane and register, written out here once more.
fn one_mma(op: &str, elem: &str, k: usize) {
    let (a, b, c) = (small(16 * k, 3), small(k * 8, 4), small(128, 5));
    let bits = |v: f32| -> u32 {
        match elem {
            "f16" => u32::from(half::f16::from_f32(v).to_bits()),
            "bf16" => u32::from(half::bf16::from_f32(v).to_bits()),
            _ => v.to_bits(),
        }
    };
    let per = if elem == "tf32" { 1 } else { 2 };
    let (regs_a, regs_b) = (16 * k / 32 / per, k * 8 / 32 / per);
    let (mut fa, mut fb, mut fc) = (vec![0u32; 32 * 4], vec![0u32; 32 * 4], vec![0f32; 32 * 4]);
    for lane in 0..32 {
        let (group, place) = (lane >> 2, lane % 4);
        for i in 0..regs_a * per {
            let (row, col) = match (elem, k) {
                ("tf32", _) => (
                    if i % 2 == 0 { group } else { group + 8 },
                    place + if i >= 2 { 4 } else { 0 },
                ),
                (_, 8) => (if i < 2 { group } else { group + 8 }, place * 2 + (i & 1)),
                _ => (
                    if i < 2 || (4..6).contains(&i) {
                        group
                    } else {
                        group + 8
                    },
                    place * 2 + (i & 1) + if i >= 4 { 8 } else { 0 },
                ),
            };
            fa[lane * 4 + i / per] |= bits(a[row * k + col]) << (16 * (i % per));
        }
        for i in 0..regs_b * per {
            let row = match elem {
                "tf32" => place + if i == 1 { 4 } else { 0 },
                _ => place * 2 + (i & 1) + if i >= 2 { 8 } else { 0 },
            };
            fb[lane * 4 + i / per] |= bits(b[row * 8 + group]) << (16 * (i % per));
        }
        for i in 0..4 {
            let row = if i < 2 { group } else { group + 8 };
            fc[lane * 4 + i] = c[row * 8 + place * 2 + (i & 1)];
        }
    }
    let list = |name: &str, n: usize| {
        (0..n)
            .map(|i| format!("%{name}{i}"))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let body = format!(
        "mul.wide.u32 %rd10, %t, 16;\nadd.s64 %rd0, %rd0, %rd10;\nadd.s64 %rd1, %rd1, %rd10;\nadd.s64 %rd2, %rd2, %rd10;\n\
         ld.global.v4.b32 {{%r0, %r1, %r2, %r3}}, [%rd0];\nld.global.v4.b32 {{%r4, %r5, %r6, %r7}}, [%rd1];\n\
         ld.global.v4.f32 {{%f0, %f1, %f2, %f3}}, [%rd2];\n{op} {{{c}}}, {{{a}}}, {{{b}}}, {{{c}}};\nst.global.v4.f32 [%rd2], {{%f0, %f1, %f2, %f3}};",
        a = list("r", regs_a),
        b = (0..regs_b)
            .map(|i| format!("%r{}", 4 + i))
            .collect::<Vec<_>>()
            .join(", "),
        c = list("f", 4),
    );
    let mut memory = Memory::new();
    let (ma, mb, mc) = (
        memory.alloc_u32("a", &fa),
        memory.alloc_u32("b", &fb),
        memory.alloc_f32("c", &fc),
    );
    clean(&run(
        &kernel(3, "", &body),
        1,
        32,
        &[Arg::Buffer(ma), Arg::Buffer(mb), Arg::Buffer(mc)],
        &mut memory,
    ));
    let (got, want) = (memory.f32s(mc), product(&a, &b, (16, 8, k)));
    for lane in 0..32 {
        for i in 0..4 {
            let (row, col) = (lane / 4 + if i < 2 { 0 } else { 8 }, lane % 4 * 2 + i % 2);
            assert_eq!(
                got[lane * 4 + i],
                want[row * 8 + col] + c[row * 8 + col],
                "{op} lane {lane} element {i}"
            );
        }
    }
}

#[test]
fn every_shape_of_mma() {
    one_mma(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32",
        "bf16",
        16,
    );
    one_mma(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32",
        "f16",
        16,
    );
    one_mma(
        "mma.sync.aligned.m16n8k8.row.col.f32.bf16.bf16.f32",
        "bf16",
        8,
    );
    one_mma("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32", "f16", 8);
    one_mma(
        "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32",
        "tf32",
        8,
    );
    one_mma(
        "mma.sync.aligned.m16n8k4.row.col.f32.tf32.tf32.f32",
        "tf32",
        4,
    );
}

/// PTX ISA, "ldmatrix": thread `l` gets elements 2 (l % 4) and the next of row l / 4; with `.trans` of
/// column l / 4. Matrix j takes its rows from the addresses of lanes 8j to 8j + 7.
#[test]
fn matrix_loads_and_stores() {
    let fill = ".shared .align 16 .b8 m[1024];\nmov.u32 %r1, m;\nshl.b32 %r2, %t, 4;\nadd.u32 %r3, %r1, %r2;\nshl.b32 %r4, %t, 3;\n\
                add.u32 %r5, %r4, 1;\nshl.b32 %r5, %r5, 16;\nor.b32 %r6, %r5, %r4;\nadd.u32 %r7, %r6, 0x20002;\nadd.u32 %r8, %r7, 0x20002;\n\
                add.u32 %r9, %r8, 0x20002;\nst.shared.v4.b32 [%r3], {%r6, %r7, %r8, %r9};\nbar.warp.sync -1;\n";
    let store = "\nmul.wide.u32 %rd10, %t, 16;\nadd.s64 %rd0, %rd0, %rd10;\nst.global.v4.b32 [%rd0], {%r20, %r21, %r22, %r23};";
    let load = |mods: &str| {
        let body = format!(
            "{fill}ldmatrix.sync.aligned.m8n8.x4{mods}.shared.b16 {{%r20, %r21, %r22, %r23}}, [%r3];{store}"
        );
        let mut memory = Memory::new();
        let out = memory.alloc_uninit("out", 512);
        clean(&run(
            &kernel(1, "", &body),
            1,
            32,
            &[Arg::Buffer(out)],
            &mut memory,
        ));
        memory.u32s(out)
    };
    // Element e of the row of lane r holds 8 r + e.
    let (plain, trans) = (load(""), load(".trans"));
    for lane in 0..32u32 {
        for j in 0..4u32 {
            let (row, col) = (8 * j + lane / 4, 2 * (lane % 4));
            let at = (lane * 4 + j) as usize;
            assert_eq!(plain[at], (8 * row + col) | (8 * row + col + 1) << 16);
            let (r0, c) = (8 * j + 2 * (lane % 4), lane / 4);
            assert_eq!(trans[at], (8 * r0 + c) | (8 * (r0 + 1) + c) << 16);
        }
    }
    // Storing what was loaded, both transposed, gives the same rows again; `movmatrix` transposes too.
    let body = format!(
        "{fill}ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {{%r20, %r21}}, [%r3];\nbar.warp.sync -1;\nadd.u32 %r10, %r3, 512;\n\
         stmatrix.sync.aligned.m8n8.x2.trans.shared.b16 [%r10], {{%r20, %r21}};\nbar.warp.sync -1;\nsetp.lt.u32 %p1, %t, 16;\n\
         @!%p1 ret;\nld.shared.v4.b32 {{%r20, %r21, %r22, %r23}}, [%r10];{store}"
    );
    let mut memory = Memory::new();
    let out = memory.alloc_uninit("out", 512);
    clean(&run(
        &kernel(1, "", &body),
        1,
        32,
        &[Arg::Buffer(out)],
        &mut memory,
    ));
    for r in 0..16u32 {
        for e in 0..4 {
            assert_eq!(
                memory.u32s(out)[(4 * r + e) as usize],
                (8 * r + 2 * e) | (8 * r + 2 * e + 1) << 16
            );
        }
    }
    let moved = format!(
        "{fill}ldmatrix.sync.aligned.m8n8.x1.shared.b16 {{%r11}}, [%r3];\nmovmatrix.sync.aligned.m8n8.trans.b16 %r20, %r11;\n\
        ldmatrix.sync.aligned.m8n8.x1.trans.shared.b16 {{%r21}}, [%r3];\nmov.u32 %r22, 0;\nmov.u32 %r23, 0;{store}"
    );
    let out = memory.alloc_uninit("out2", 512);
    clean(&run(
        &kernel(1, "", &moved),
        1,
        32,
        &[Arg::Buffer(out)],
        &mut memory,
    ));
    assert!(memory.u32s(out).chunks(4).all(|c| c[0] == c[1]));
}

#[test]
fn copies_fill_with_zeros_and_keep_their_groups() {
    let body = ".shared .align 16 .b8 s[48];\nmov.u32 %r1, s;\nmov.u32 %r2, 4;\ncp.async.ca.shared.global [%r1], [%rd0], 16, %r2;\n\
                cp.async.commit_group;\ncp.async.ca.shared.global [%r1+16], [%rd0+16], 8;\ncp.async.ca.shared.global [%r1+24], [%rd0+28], 4, 0;\n\
                cp.async.commit_group;\ncp.async.wait_group 1;\nld.shared.v4.b32 {%r10, %r11, %r12, %r13}, [%r1];\ncp.async.wait_all;\n\
                ld.shared.v2.b32 {%r14, %r15}, [%r1+16];\nld.shared.b32 %r16, [%r1+24];\nst.global.v4.b32 [%rd1], {%r10, %r11, %r12, %r13};\n\
                st.global.v2.b32 [%rd1+16], {%r14, %r15};\nst.global.b32 [%rd1+24], %r16;";
    let mut memory = Memory::new();
    let (x, y) = (
        memory.alloc_u32("x", &[1, 2, 3, 4, 5, 6, 7, 8]),
        memory.alloc_uninit("y", 28),
    );
    let args = [Arg::Buffer(x), Arg::Buffer(y)];
    clean(&run(&kernel(2, "", body), 1, 1, &args, &mut memory));
    assert_eq!(memory.u32s(y), [1, 0, 0, 0, 5, 6, 0]);
    let early = body.replace("cp.async.wait_all;", "cp.async.wait_group 1;");
    let report = run(&kernel(2, "", &early), 1, 1, &args, &mut memory);
    let finding = report.of(FindingKind::ReadBeforeWait).unwrap();
    assert!(finding.text.contains("[%r1+16]"), "{finding}");
    assert!(
        finding.other.as_ref().unwrap().text.contains("[%rd0+16]"),
        "{finding}"
    );
}

/// Accumulators in f16 are packed in pairs; the sums here are exact.
#[test]
fn mma_with_packed_accumulators_and_with_bytes() {
    // All of A is 1, all of B is 2, C is 1: every element of D is 16 * 2 + 1.
    let one = "mov.b32 %r0, 0x3c003c00;\nmov.b32 %r1, 0x40004000;\n";
    let body = format!(
        "{one}mma.sync.aligned.m16n8k16.row.col.f16.f16.f16.f16 {{%r2, %r3}}, {{%r0, %r0, %r0, %r0}}, {{%r1, %r1}}, {{%r0, %r0}};\n\
         mma.sync.aligned.m16n8k8.row.col.f16.f16.f16.f16 {{%r4, %r5}}, {{%r0, %r0}}, {{%r1}}, {{%r0, %r0}};\n\
         mul.wide.u32 %rd1, %t, 16;\nadd.s64 %rd0, %rd0, %rd1;\nst.global.v4.b32 [%rd0], {{%r2, %r3, %r4, %r5}};"
    );
    let mut memory = Memory::new();
    let out = memory.alloc_uninit("out", 512);
    clean(&run(
        &kernel(1, "", &body),
        1,
        32,
        &[Arg::Buffer(out)],
        &mut memory,
    ));
    let pair = |v: f32| u32::from(half::f16::from_f32(v).to_bits()) * 0x10001;
    assert!(
        memory
            .u32s(out)
            .chunks(4)
            .all(|c| c == [pair(33.0), pair(33.0), pair(17.0), pair(17.0)])
    );

    // Bytes: A = -1 (signed), B = 200 (unsigned), C = 7; K = 32 and 16.
    let body = "mov.b32 %r0, -1;\nmov.b32 %r1, 0xc8c8c8c8;\nmov.b32 %r2, 7;\n\
        mma.sync.aligned.m16n8k32.row.col.s32.s8.u8.s32 {%r4, %r5, %r6, %r7}, {%r0, %r0, %r0, %r0}, {%r1, %r1}, {%r2, %r2, %r2, %r2};\n\
        mma.sync.aligned.m16n8k16.row.col.s32.s8.u8.s32 {%r8, %r9, %r10, %r11}, {%r0, %r0}, {%r1}, {%r2, %r2, %r2, %r2};\n\
        mul.wide.u32 %rd1, %t, 8;\nadd.s64 %rd0, %rd0, %rd1;\nst.global.v2.b32 [%rd0], {%r7, %r8};";
    let out = memory.alloc_uninit("bytes", 256);
    clean(&run(
        &kernel(1, "", body),
        1,
        32,
        &[Arg::Buffer(out)],
        &mut memory,
    ));
    assert!(
        memory
            .u32s(out)
            .chunks(2)
            .all(|c| c == [(7 - 6400i32) as u32, (7 - 3200i32) as u32])
    );
}

/// Copies announced through an mbarrier instead of a wait of their own thread.
#[test]
fn copies_that_arrive_on_an_mbarrier() {
    let body = ".shared .align 8 .b64 bar;\n.shared .align 128 .b8 s[512];\nsetp.eq.u32 %p1, %t, 0;\n@%p1 mbarrier.init.shared.b64 [bar], 32;\n\
        bar.sync 0;\nmov.u32 %r1, s;\nshl.b32 %r2, %t, 4;\nadd.u32 %r3, %r1, %r2;\ncvt.u64.u32 %rd5, %r2;\nadd.s64 %rd6, %rd0, %rd5;\n\
        cp.async.ca.shared.global [%r3], [%rd6], 16;\ncp.async.mbarrier.arrive.noinc.shared.b64 [bar];\n\
        W:\nmbarrier.test_wait.parity.shared.b64 %p2, [bar], 0;\n@!%p2 bra W;\nxor.b32 %r4, %r3, 16;\nld.shared.u32 %r5, [%r4];\n\
        add.s64 %rd7, %rd1, %rd5;\nst.global.u32 [%rd7], %r5;";
    let mut memory = Memory::new();
    let x: Vec<u32> = (0..128).collect();
    let (a, b) = (memory.alloc_u32("a", &x), memory.alloc("b", &[0; 512]));
    let args = [Arg::Buffer(a), Arg::Buffer(b)];
    clean(&run(&kernel(2, "", body), 1, 32, &args, &mut memory));
    assert!((0..32).all(|l| memory.u32s(b)[4 * l] == 4 * (l as u32 ^ 1)));
    let unwaited = body.replace(
        "W:\nmbarrier.test_wait.parity.shared.b64 %p2, [bar], 0;\n@!%p2 bra W;",
        "",
    );
    assert!(
        run(&kernel(2, "", &unwaited), 1, 32, &args, &mut memory)
            .of(FindingKind::Race)
            .is_some()
    );
}

/// Texts with numbers and registers changed at random: findings or errors, never a panic.
#[test]
fn changed_texts_never_panic() {
    let ran = changed_texts(&gemm64(), 500, |module| {
        let mut memory = Memory::new();
        let x = memory.alloc_u16("x", &[0x3f80; 4096]);
        let c = memory.alloc_uninit("c", 4096 * 4);
        let args = [Arg::Buffer(x), Arg::Buffer(x), Arg::Buffer(c)];
        let _ = module.launch("k", [1; 3], [128, 1, 1], 0, &args, &mut memory, &short());
    });
    assert!(ran > 20, "only {ran} of the changed texts could run");
}
