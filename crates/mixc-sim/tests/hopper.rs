//! mbarriers, bulk and tensor copies, proxy fences.

mod common;
use common::*;
use mixc_sim::{Arg, FindingKind, Memory, Swizzle, TensorElem, TensorMap};

/// Warp 0 fills a buffer three times, warp 1 reads it each time; two mbarriers hand it back and forth.
#[test]
fn producer_and_consumer_hand_a_buffer_over() {
    let body = ".shared .align 8 .b64 full;\n.shared .align 8 .b64 empty;\n.shared .align 4 .b8 box[128];\nmov.u32 %r1, box;\n\
        and.b32 %r2, %t, 31;\nshl.b32 %r3, %r2, 2;\nadd.u32 %r4, %r1, %r3;\nsetp.ne.u32 %p1, %t, 0;\n@%p1 bra READY;\n\
        mbarrier.init.shared.b64 [full], 32;\nmbarrier.init.shared.b64 [empty], 32;\nfence.mbarrier_init.release.cluster;\nREADY:\nbar.sync 0;\n\
        mov.u32 %r5, 0;\nmov.u32 %r8, 0;\nsetp.ge.u32 %p2, %t, 32;\n@%p2 bra CONSUME;\nPRODUCE:\n\
        setp.eq.u32 %p3, %r5, 0;\n@%p3 bra FILL;\nsub.u32 %r6, %r5, 1;\nand.b32 %r6, %r6, 1;\nW1:\n\
        mbarrier.try_wait.parity.shared::cta.b64 %p4, [empty], %r6;\n@!%p4 bra W1;\nFILL:\nmad.lo.u32 %r7, %r5, 100, %t;\n\
        st.shared.u32 [%r4], %r7;\nmbarrier.arrive.shared::cta.b64 %rd5, [full];\nadd.u32 %r5, %r5, 1;\nsetp.lt.u32 %p5, %r5, 3;\n@%p5 bra PRODUCE;\nret;\n\
        CONSUME:\nand.b32 %r6, %r5, 1;\nW2:\nmbarrier.try_wait.parity.shared::cta.b64 %p4, [full], %r6;\n@!%p4 bra W2;\n\
        xor.b32 %r10, %r4, 4;\nld.shared.u32 %r7, [%r10];\nadd.u32 %r8, %r8, %r7;\nmbarrier.arrive.shared::cta.b64 _, [empty];\n\
        add.u32 %r5, %r5, 1;\nsetp.lt.u32 %p5, %r5, 3;\n@%p5 bra CONSUME;\nmul.wide.u32 %rd1, %r2, 4;\nadd.s64 %rd1, %rd0, %rd1;\nst.global.u32 [%rd1], %r8;";
    let go = |text: &str| {
        let mut memory = Memory::new();
        let out = memory.alloc("out", &[0; 128]);
        let report = run(text, 1, 64, &[Arg::Buffer(out)], &mut memory);
        if report.findings.is_empty() {
            assert_eq!(
                memory.u32s(out),
                (0..32).map(|l| 300 + 3 * (l ^ 1)).collect::<Vec<u32>>()
            );
        }
        report
    };
    planted(
        &kernel(1, "", body),
        go,
        &[
            // The producer runs two phases ahead, so the consumer misses one.
            ("@!%p4 bra W1;", "", FindingKind::Deadlock),
            ("@!%p4 bra W2;", "", FindingKind::Race),
            (
                "and.b32 %r6, %r6, 1;\nW1",
                "xor.b32 %r6, %r6, 1;\nW1",
                FindingKind::Deadlock,
            ),
            ("[full], 32;", "[full], 33;", FindingKind::Deadlock),
            ("[empty], 32;", "[empty], 31;", FindingKind::Race),
            (
                "mbarrier.init.shared.b64 [empty], 32;",
                "",
                FindingKind::InvalidOperand,
            ),
            (
                "READY:\nbar.sync 0;",
                "READY:\n",
                FindingKind::InvalidOperand,
            ),
        ],
    );
}

#[test]
fn bulk_copies_in_and_out() {
    let body = ".shared .align 8 .b64 bar;\n.shared .align 128 .b8 box[256];\nsetp.ne.u32 %p1, %t, 0;\n@%p1 bra READY;\n\
        mbarrier.init.shared.b64 [bar], 1;\nfence.mbarrier_init.release.cluster;\nmov.u32 %r1, box;\nmov.u32 %r2, bar;\n\
        mbarrier.arrive.expect_tx.shared::cta.b64 _, [bar], 256;\n\
        cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%r1], [%rd0], 256, [%r2];\nREADY:\nbar.sync 0;\nmov.u32 %r9, 0;\n\
        WAIT:\nmbarrier.try_wait.parity.shared::cta.b64 %p9, [bar], %r9;\n@!%p9 bra WAIT;\nmov.u32 %r1, box;\nshl.b32 %r3, %t, 3;\n\
        add.u32 %r4, %r1, %r3;\nld.shared.v2.u32 {%r5, %r6}, [%r4];\nadd.u32 %r5, %r5, 1;\nst.shared.v2.u32 [%r4], {%r6, %r5};\n\
        fence.proxy.async.shared::cta;\nbar.sync 0;\n@%p1 ret;\ncp.async.bulk.global.shared::cta.bulk_group [%rd1], [%r1], 256;\n\
        cp.async.bulk.commit_group;\ncp.async.bulk.wait_group.read 0;\nst.shared.u32 [%r1], 5;";
    let go = |text: &str| {
        let mut memory = Memory::new();
        let x: Vec<u32> = (0..64).collect();
        let (a, b) = (memory.alloc_u32("a", &x), memory.alloc("b", &[0; 256]));
        let report = run(text, 1, 32, &[Arg::Buffer(a), Arg::Buffer(b)], &mut memory);
        if report.findings.is_empty() {
            let want: Vec<u32> = (0..32).flat_map(|l| [2 * l + 1, 2 * l + 1]).collect();
            assert_eq!(memory.u32s(b), want);
        }
        report
    };
    planted(
        &kernel(2, "", body),
        go,
        &[
            ("@!%p9 bra WAIT;", "", FindingKind::Race),
            (
                "mbarrier.try_wait.parity.shared::cta.b64 %p9, [bar], %r9;\n@!%p9 bra WAIT;",
                "",
                FindingKind::Race,
            ),
            (
                "fence.proxy.async.shared::cta;",
                "",
                FindingKind::MissingProxyFence,
            ),
            ("cp.async.bulk.wait_group.read 0;", "", FindingKind::Race),
            ("[bar], 256;", "[bar], 240;", FindingKind::Deadlock),
            (
                "[%r1], [%rd0], 256",
                "[%r1+8], [%rd0], 256",
                FindingKind::Misaligned,
            ),
            ("[%rd0], 256", "[%rd0+16], 256", FindingKind::OutOfBounds),
            (
                "fence.proxy.async.shared::cta;\nbar.sync 0;",
                "fence.proxy.async.shared::cta;",
                FindingKind::Race,
            ),
        ],
    );
}

/// A 10 x 40 tensor of bf16, boxes of 8 x 32 elements (64 bytes a row): at (-4, 5) parts lie outside.
#[test]
fn tensor_copies_fill_swizzle_and_clip() {
    let inside = |row: i32, col: i32| (0..10).contains(&row) && (0..40).contains(&col);
    let value = |row: i32, col: i32| {
        if inside(row, col) {
            (row * 40 + col) as u16 + 1
        } else {
            0
        }
    };
    let text = format!(
        "{}.visible .entry k(.param .u64 out, .param .align 64 .b8 map[128], .param .align 64 .b8 back[128]) {{\n.reg .b64 %rd<8>;\n.reg .b32 %r<16>;\n\
         .reg .pred %p<4>;\n.shared .align 1024 .b8 box[512];\n.shared .align 8 .b64 bar;\nld.param.u64 %rd0, [out];\nmov.b64 %rd1, map;\n\
         cvta.param.u64 %rd2, %rd1;\nmov.b64 %rd3, back;\ncvta.param.u64 %rd4, %rd3;\nmov.u32 %r0, %tid.x;\nsetp.ne.u32 %p0, %r0, 0;\n@%p0 bra READY;\n\
         mbarrier.init.shared.b64 [bar], 1;\nmov.u32 %r1, box;\nmov.u32 %r2, bar;\nmov.u32 %r3, -4;\n\
         mbarrier.arrive.expect_tx.shared::cta.b64 _, [bar], 512;\n\
         cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%r1], [%rd2, {{%r3, 5}}], [%r2];\nREADY:\nbar.sync 0;\n\
         WAIT:\nmbarrier.try_wait.parity.shared::cta.b64 %p1, [bar], 0;\n@!%p1 bra WAIT;\nshl.b32 %r4, %r0, 4;\nmov.u32 %r5, box;\nadd.u32 %r5, %r5, %r4;\n\
         ld.shared.v4.b32 {{%r6, %r7, %r8, %r9}}, [%r5];\ncvt.u64.u32 %rd5, %r4;\nadd.s64 %rd5, %rd0, %rd5;\n\
         st.global.v4.b32 [%rd5], {{%r6, %r7, %r8, %r9}};\nbar.sync 0;\n@%p0 ret;\n\
         cp.async.bulk.tensor.2d.global.shared::cta.bulk_group [%rd4, {{%r3, 5}}], [%r1];\ncp.async.bulk.commit_group;\ncp.async.bulk.wait_group 0;\nret;\n}}\n",
        header()
    );
    for (swizzle, bits) in [(Swizzle::None, 0), (Swizzle::B64, 3), (Swizzle::B128, 7)] {
        let mut memory = Memory::new();
        let tensor: Vec<u16> = (1..=400).collect();
        let x = memory.alloc_u16("x", &tensor);
        let (back, out) = (
            memory.alloc("back", &[0; 800]),
            memory.alloc("out", &[0; 512]),
        );
        memory.write_once(back);
        let map = |buffer| TensorMap {
            buffer,
            offset: 0,
            elem: TensorElem::Bf16,
            dims: vec![40, 10],
            strides: vec![80],
            box_dims: vec![32, 8],
            swizzle,
        };
        let args = [
            Arg::Buffer(out),
            Arg::TensorMap(map(x)),
            Arg::TensorMap(map(back)),
        ];
        clean(&run(&text, 1, 32, &args, &mut memory));
        let got = memory.u16s(out);
        for row in 0..8usize {
            for col in 0..32usize {
                let byte = row * 64 + col * 2;
                let place = byte ^ ((byte >> 7 & bits) << 4);
                assert_eq!(
                    got[place / 2],
                    value(row as i32 + 5, col as i32 - 4),
                    "{swizzle:?} {row} {col}"
                );
            }
        }
        for (n, got) in memory.u16s(back).into_iter().enumerate() {
            let (row, col) = (n as i32 / 40, n as i32 % 40);
            assert_eq!(
                got,
                if row >= 5 && col < 28 {
                    value(row, col)
                } else {
                    0
                }
            );
        }
    }
}

#[test]
fn bulk_copies_add_to_global_memory() {
    let body = ".shared .align 128 .b8 box[64];\nmov.u32 %r1, box;\nshl.b32 %r2, %t, 2;\nadd.u32 %r2, %r2, %r1;\ncvt.rn.f32.u32 %f1, %t;\n\
        st.shared.f32 [%r2], %f1;\nfence.proxy.async.shared::cta;\nbar.sync 0;\nsetp.ne.u32 %p1, %t, 0;\n@%p1 ret;\n\
        cp.reduce.async.bulk.global.shared::cta.bulk_group.add.f32 [%rd0], [%r1], 64;\ncp.async.bulk.commit_group;\ncp.async.bulk.wait_group 0;";
    let mut memory = Memory::new();
    let x = memory.alloc_f32("x", &[0.5; 16]);
    clean(&run(
        &kernel(1, "", body),
        3,
        16,
        &[Arg::Buffer(x)],
        &mut memory,
    ));
    let want: Vec<f32> = (0..16).map(|n| 0.5 + 3.0 * n as f32).collect();
    assert_eq!(memory.f32s(x), want);
}
