//! `wgmma.mma_async` with descriptors of several layouts, A in registers, and its fences and waits.

mod common;
use common::*;
use mixc_sim::{Arg, FindingKind, Memory, Report};

/// One warpgroup computes 64 x `n` with K = 64 from tiles that arrive as the bytes of `p0` and `p1`, laid
/// out by the caller; `desc` are the descriptors' upper bits, `step` the advance for 16 columns of K.
fn product(n: usize, desc: [u64; 2], step: [usize; 2], trans_b: u8) -> String {
    let regs: Vec<String> = (0..n / 2).map(|i| format!("%c{i}")).collect();
    let b_bytes = n * 128;
    let mut body = format!(
        ".shared .align 1024 .b8 ta[8192];\n.shared .align 1024 .b8 tb[{b_bytes}];\n.reg .f32 %c<{}>;\nmov.u32 %r1, ta;\nmov.u32 %r2, tb;\n",
        n / 2
    );
    for (r, rd, bytes) in [(1, 0, 8192), (2, 1, b_bytes)] {
        body += &format!(
            "shl.b32 %r3, %t, 4;\nsetp.ge.u32 %p1, %r3, {bytes};\n@%p1 bra D{r};\nL{r}:\ncvt.u64.u32 %rd5, %r3;\nadd.s64 %rd5, %rd{rd}, %rd5;\n\
             ld.global.v4.b32 {{%r4, %r5, %r6, %r7}}, [%rd5];\n\
             add.u32 %r8, %r{r}, %r3;\nst.shared.v4.b32 [%r8], {{%r4, %r5, %r6, %r7}};\nadd.u32 %r3, %r3, 2048;\nsetp.lt.u32 %p1, %r3, {bytes};\n@%p1 bra L{r};\nD{r}:\n"
        );
    }
    for r in &regs {
        body += &format!("mov.f32 {r}, 0f00000000;\n");
    }
    body += "fence.proxy.async;\nbar.sync 0;\nwgmma.fence.sync.aligned;\n";
    for (d, r, bits) in [(6, 1, desc[0]), (7, 2, desc[1])] {
        body += &format!(
            "shr.u32 %r9, %r{r}, 4;\nand.b32 %r9, %r9, 0x3fff;\ncvt.u64.u32 %rd{d}, %r9;\nor.b64 %rd{d}, %rd{d}, {bits:#x};\n"
        );
    }
    for k in 0..4 {
        body += &format!(
            "add.s64 %rd8, %rd6, {};\nadd.s64 %rd9, %rd7, {};\n{{\n.reg .pred p;\nsetp.ne.b32 p, 1, 0;\n\
             wgmma.mma_async.sync.aligned.m64n{n}k16.f32.bf16.bf16 {{{}}}, %rd8, %rd9, p, 1, 1, 0, {trans_b};\n}}\n",
            k * step[0] / 16,
            k * step[1] / 16,
            regs.join(", ")
        );
    }
    body += "wgmma.commit_group.sync.aligned;\nwgmma.wait_group.sync.aligned 0;\n";
    // Row = 16 * warp + lane / 4 (+ 8), column = 8 * (i / 4) + 2 * (lane % 4) + i % 2.
    body += &format!(
        "shr.u32 %r20, %t, 5;\nshl.b32 %r20, %r20, 4;\nand.b32 %r21, %t, 31;\nshr.u32 %r22, %r21, 2;\nadd.u32 %r20, %r20, %r22;\nand.b32 %r23, %r21, 3;\n\
         shl.b32 %r23, %r23, 3;\nmad.lo.u32 %r24, %r20, {}, %r23;\ncvt.u64.u32 %rd10, %r24;\nadd.s64 %rd10, %rd10, %rd2;\n",
        4 * n
    );
    for i in (0..n / 2).step_by(2) {
        let at = (i / 2 % 2) * 8 * 4 * n + 8 * (i / 4) * 4;
        body += &format!("st.global.v2.f32 [%rd10+{at}], {{%c{i}, %c{}}};\n", i + 1);
    }
    kernel(3, "", &body)
}

/// Writes each element (row, k) of a rows x 64 matrix where `place` says.
fn lay_out(m: &[f32], cols: usize, place: impl Fn(usize, usize) -> usize) -> Vec<u8> {
    let mut out = vec![0; m.len() * 2];
    for (n, v) in m.iter().enumerate() {
        let at = place(n / cols, n % cols);
        out[at..at + 2].copy_from_slice(&half::bf16::from_f32(*v).to_bits().to_le_bytes());
    }
    out
}

/// K-major in the 128-byte swizzle: rows of 128 bytes, pieces exchanged by the row.
fn k_major_128(m: &[f32]) -> Vec<u8> {
    lay_out(m, 64, |r, k| {
        r * 128 + (((k / 8) ^ (r % 8)) * 16) + (k % 8) * 2
    })
}

/// K-major without swizzling: core matrices of 8 rows x 16 bytes; along K 128 bytes apart, along the rows
/// 1024.
fn k_major_plain(m: &[f32]) -> Vec<u8> {
    lay_out(m, 64, |r, k| {
        (r / 8) * 1024 + (k / 8) * 128 + (r % 8) * 16 + (k % 8) * 2
    })
}

/// N-major in the 128-byte swizzle: blocks of 64 columns, each with 64 rows of K of 128 bytes.
fn n_major_128(m: &[f32], cols: usize) -> Vec<u8> {
    lay_out(m, cols, |k, c| {
        (c / 64) * 8192 + k * 128 + (((c % 64 / 8) ^ (k % 8)) * 16) + (c % 8) * 2
    })
}

fn launch(text: &str, n: usize, a: &[u8], b: &[u8]) -> (Report, Vec<f32>) {
    let mut memory = Memory::new();
    let (ba, bb) = (memory.alloc("a", a), memory.alloc("b", b));
    let c = memory.alloc_uninit("c", 64 * n * 4);
    let report = run(
        text,
        1,
        128,
        &[Arg::Buffer(ba), Arg::Buffer(bb), Arg::Buffer(c)],
        &mut memory,
    );
    (report, memory.f32s(c))
}

fn reference(a: &[f32], b: impl Fn(usize, usize) -> f32, n: usize) -> Vec<f32> {
    (0..64 * n)
        .map(|i| (0..64).map(|k| a[i / n * 64 + k] * b(k, i % n)).sum())
        .collect()
}

const SWIZZLE_128: u64 = 1 << 62;

fn strides(leading: u64, stride: u64) -> u64 {
    (leading >> 4) << 16 | (stride >> 4) << 32
}

#[test]
fn swizzled_and_plain_tiles() {
    let a = small(64 * 64, 1);
    for n in [8, 64, 128] {
        let b = small(n * 64, 2);
        let want = reference(&a, |k, c| b[c * 64 + k], n);
        let text = product(n, [SWIZZLE_128 | strides(16, 1024); 2], [32, 32], 0);
        let (report, got) = launch(&text, n, &k_major_128(&a), &k_major_128(&b));
        clean(&report);
        assert_eq!(got, want, "K-major, 128-byte swizzle, n = {n}");
        let text = product(n, [strides(128, 1024); 2], [256, 256], 0);
        let (report, got) = launch(&text, n, &k_major_plain(&a), &k_major_plain(&b));
        clean(&report);
        assert_eq!(got, want, "K-major, no swizzle, n = {n}");
    }
    for n in [64, 128] {
        // Blocks of 64 columns lie 8192 bytes apart, groups of 8 rows of K 1024.
        let b = small(64 * n, 3);
        let want = reference(&a, |k, c| b[k * n + c], n);
        let text = product(
            n,
            [
                SWIZZLE_128 | strides(16, 1024),
                SWIZZLE_128 | strides(8192, 1024),
            ],
            [32, 2048],
            1,
        );
        let (report, got) = launch(&text, n, &k_major_128(&a), &n_major_128(&b, n));
        clean(&report);
        assert_eq!(got, want, "N-major, n = {n}");
    }
}

#[test]
fn planted_mistakes_are_found() {
    let (a, b) = (small(4096, 1), small(4096, 2));
    let text = product(64, [SWIZZLE_128 | strides(16, 1024); 2], [32, 32], 0);
    let wait = "wgmma.wait_group.sync.aligned 0;";
    planted(
        &text,
        |text: &str| launch(text, 64, &k_major_128(&a), &k_major_128(&b)).0,
        &[
            (wait, "", FindingKind::ReadBeforeWait),
            (
                wait,
                "wgmma.wait_group.sync.aligned 1;",
                FindingKind::ReadBeforeWait,
            ),
            (
                "wgmma.fence.sync.aligned;",
                "",
                FindingKind::MissingProxyFence,
            ),
            ("fence.proxy.async;", "", FindingKind::MissingProxyFence),
            ("bar.sync 0;", "", FindingKind::Race),
            (
                wait,
                "st.shared.u32 [%r8], 0;\nwgmma.wait_group.sync.aligned 0;",
                FindingKind::Race,
            ),
            (
                "add.s64 %rd8, %rd6, 6;",
                "add.s64 %rd8, %rd6, 1030;",
                FindingKind::OutOfBounds,
            ),
            // Accumulators may not be read by arithmetic either, and need a fence when they were.
            (
                wait,
                "add.f32 %f0, %c0, %c1;\nwgmma.wait_group.sync.aligned 0;",
                FindingKind::ReadBeforeWait,
            ),
            (
                "add.s64 %rd8, %rd6, 2;",
                "add.s64 %rd8, %rd6, 2;\nmul.f32 %c3, %c3, 0f40000000;",
                FindingKind::ReadBeforeWait,
            ),
            (
                "wgmma.fence.sync.aligned;",
                "wgmma.fence.sync.aligned;\nadd.f32 %f0, %c0, %c1;",
                FindingKind::MissingProxyFence,
            ),
            // One warp leaves out, or takes its own way to, what the whole warpgroup does.
            (
                wait,
                "setp.lt.u32 %p3, %t, 96;\n@%p3 wgmma.wait_group.sync.aligned 0;",
                FindingKind::Divergent,
            ),
            (
                "wgmma.commit_group.sync.aligned;",
                "setp.lt.u32 %p3, %t, 96;\n@%p3 wgmma.commit_group.sync.aligned;\n@!%p3 wgmma.commit_group.sync.aligned;",
                FindingKind::Divergent,
            ),
            (
                "add.s64 %rd8, %rd6, 6;",
                "add.s64 %rd8, %rd6, 6;\nsetp.lt.u32 %p3, %t, 96;\n@%p3 add.s64 %rd8, %rd6, 4;",
                FindingKind::InvalidOperand,
            ),
        ],
    );
    // A wrong stride breaks no rule but the numbers.
    let wrong = product(
        64,
        [
            SWIZZLE_128 | strides(16, 1024),
            SWIZZLE_128 | strides(16, 512),
        ],
        [32, 32],
        0,
    );
    let (_, got) = launch(&wrong, 64, &k_major_128(&a), &k_major_128(&b));
    assert_ne!(got, reference(&a, |k, c| b[c * 64 + k], 64));
}

/// A in registers has the layout of `mma`'s A, 16 rows for each warp.
#[test]
fn a_in_registers() {
    let (a, b) = (small(64 * 16, 5), small(8 * 16, 6));
    let mut fragments = vec![0u32; 128 * 4];
    for t in 0..128 {
        let (warp, lane) = (t / 32, t % 32);
        for i in 0..8 {
            let row = 16 * warp + lane / 4 + if i < 2 || (4..6).contains(&i) { 0 } else { 8 };
            let col = lane % 4 * 2 + (i & 1) + if i >= 4 { 8 } else { 0 };
            fragments[t * 4 + i / 2] |=
                u32::from(half::bf16::from_f32(a[row * 16 + col]).to_bits()) << (16 * (i % 2));
        }
    }
    // B: 8 rows of N, 32 bytes each, as two core matrices 128 bytes apart.
    let tile = lay_out(&b, 16, |c, k| (k / 8) * 128 + c * 16 + (k % 8) * 2);
    let body = format!(
        ".shared .align 1024 .b8 tb[256];\nmov.u32 %r1, tb;\nmul.wide.u32 %rd5, %t, 16;\nadd.s64 %rd6, %rd0, %rd5;\n\
         ld.global.v4.b32 {{%r4, %r5, %r6, %r7}}, [%rd6];\nshl.b32 %r8, %t, 1;\ncvt.u64.u32 %rd7, %r8;\nadd.s64 %rd7, %rd1, %rd7;\n\
         ld.global.b16 %h1, [%rd7];\nadd.u32 %r9, %r1, %r8;\nst.shared.b16 [%r9], %h1;\nfence.proxy.async;\nbar.sync 0;\n\
         mov.f32 %f0, 0f3F800000;\nmov.f32 %f1, %f0;\nmov.f32 %f2, %f0;\nmov.f32 %f3, %f0;\nshr.u32 %r10, %r1, 4;\ncvt.u64.u32 %rd8, %r10;\n\
         or.b64 %rd8, %rd8, {:#x};\nsetp.eq.u32 %p1, %t, 1000;\nwgmma.fence.sync.aligned;\n\
         wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 {{%f0, %f1, %f2, %f3}}, {{%r4, %r5, %r6, %r7}}, %rd8, %p1, -1, 1, 0;\n\
         wgmma.commit_group.sync.aligned;\nwgmma.wait_group.sync.aligned 0;\nadd.s64 %rd9, %rd2, %rd5;\nst.global.v4.f32 [%rd9], {{%f0, %f1, %f2, %f3}};",
        strides(128, 256)
    );
    let mut memory = Memory::new();
    let (ma, mb) = (memory.alloc_u32("a", &fragments), memory.alloc("b", &tile));
    let c = memory.alloc_uninit("c", 2048);
    clean(&run(
        &kernel(3, "", &body),
        1,
        128,
        &[Arg::Buffer(ma), Arg::Buffer(mb), Arg::Buffer(c)],
        &mut memory,
    ));
    let got = memory.f32s(c);
    for t in 0..128 {
        for i in 0..4 {
            let row = 16 * (t / 32) + t % 32 / 4 + if i < 2 { 0 } else { 8 };
            let col = t % 4 * 2 + i % 2;
            // `scale-d` is false, so the old accumulator does not count; `imm-scale-a` is -1.
            let want: f32 = -(0..16)
                .map(|k| a[row * 16 + k] * b[col * 16 + k])
                .sum::<f32>();
            assert_eq!(got[t * 4 + i], want);
        }
    }
}

#[test]
fn a_warpgroup_has_four_warps() {
    let report = run(
        &kernel(0, "", "wgmma.fence.sync.aligned;"),
        1,
        96,
        &[],
        &mut Memory::new(),
    );
    assert_eq!(kinds(&report).len(), 1);
    assert_eq!(report.findings[0].kind, FindingKind::Divergent);
    assert!(report.findings[0].message.contains("this one has 3"));
}

/// A kernel `k` with a directive, in which two warpgroups set their registers.
fn registers(directive: &str, first: &str, second: &str) -> Report {
    let text = format!(
        "{}.visible .entry k()\n{directive}\n{{\n.reg .pred %p;\n.reg .b32 %t;\nmov.u32 %t, %tid.x;\nsetp.lt.u32 %p, %t, 128;\n@%p bra A;\n\
         {first}\nret;\nA:\n{second}\nret;\n}}\n",
        header()
    );
    run(&text, 1, 256, &[], &mut Memory::new())
}

#[test]
fn registers_move_between_warpgroups() {
    let dec = |n: u32| format!("setmaxnreg.dec.sync.aligned.u32 {n};");
    let inc = |n: u32| format!("setmaxnreg.inc.sync.aligned.u32 {n};");
    // What one gives up, the other may take, and no more.
    clean(&registers(".maxnreg 128", &dec(40), &inc(216)));
    let report = registers(".maxnreg 128", &dec(40), &inc(224));
    assert_eq!(report.findings[0].kind, FindingKind::Deadlock);
    // The share of 384 threads is 170, in steps of 8: 168. With 256 it is more than anybody asks for.
    clean(&registers(
        ".maxntid 384, 1, 1\n.minnctapersm 1",
        &dec(104),
        &inc(232),
    ));
    let report = registers(".maxntid 384, 1, 1\n.minnctapersm 1", &dec(104), &inc(240));
    assert_eq!(report.findings[0].kind, FindingKind::Deadlock);
    clean(&registers(
        ".maxntid 256, 1, 1\n.minnctapersm 1",
        &dec(40),
        &inc(232),
    ));
    let only = |report: Report, kind, text: &str| {
        assert_eq!(report.findings.len(), 1, "{:?}", kinds(&report));
        assert_eq!(report.findings[0].kind, kind);
        assert!(
            report.findings[0].message.contains(text),
            "{}",
            report.findings[0]
        );
    };
    let invalid = FindingKind::InvalidOperand;
    only(registers(".maxntid 256", &dec(40), ""), invalid, ".maxnreg");
    only(
        registers(".maxnreg 64", &dec(72), ""),
        invalid,
        "not fewer than 64",
    );
    only(
        registers(".maxnreg 64", &dec(64), &inc(56)),
        invalid,
        "not more than 64",
    );
    let half = "setp.lt.u32 %p, %t, 192;\n@%p setmaxnreg.dec.sync.aligned.u32 40;";
    only(
        registers(".maxnreg 64", half, ""),
        FindingKind::Divergent,
        "2 of the four warps",
    );
    let odd = "setp.lt.u32 %p, %t, 140;\n@%p setmaxnreg.dec.sync.aligned.u32 40;";
    let report = registers(".maxnreg 64", odd, "");
    assert!(report.of(FindingKind::Divergent).is_some());
}
