//! A warp-specialised product: one thread copies tiles with tensor maps into two stages, a warpgroup
//! multiplies them, mbarriers hand the stages back and forth.

mod common;
use common::*;
use mixc_sim::{Arg, FindingKind, Memory, Report, Swizzle, TensorElem, TensorMap};

/// C[64, 64] = A[64, 256] * B[64, 256]^T in four steps of 64.
fn text() -> String {
    let regs: Vec<String> = (0..32).map(|i| format!("%c{i}")).collect();
    let regs = regs.join(", ");
    let mut t = format!(
        "{}.visible .entry k(.param .align 64 .b8 map_a[128], .param .align 64 .b8 map_b[128], .param .u64 out)\n.maxnreg 128 {{\n\
         .reg .pred %p<8>;\n.reg .b32 %r<40>;\n.reg .b64 %rd<16>;\n.reg .f32 %c<32>;\n\
         .shared .align 1024 .b8 sa[16384];\n.shared .align 1024 .b8 sb[16384];\n.shared .align 8 .b64 full[2];\n.shared .align 8 .b64 empty[2];\n\
         mov.u32 %r0, %tid.x;\nmov.u32 %r1, sa;\nmov.u32 %r2, sb;\nmov.u32 %r3, full;\nmov.u32 %r4, empty;\nsetp.ne.u32 %p0, %r0, 0;\n@%p0 bra READY;\n\
         mbarrier.init.shared.b64 [full], 1;\nmbarrier.init.shared.b64 [full+8], 1;\nmbarrier.init.shared.b64 [empty], 128;\n\
         mbarrier.init.shared.b64 [empty+8], 128;\nfence.mbarrier_init.release.cluster;\nREADY:\nbar.sync 0;\nmov.u32 %r5, 0;\n\
         setp.lt.u32 %p1, %r0, 128;\n@%p1 bra CONSUMER;\nsetmaxnreg.dec.sync.aligned.u32 40;\nsetp.ne.u32 %p2, %r0, 128;\n@%p2 bra DONE;\n\
         mov.b64 %rd0, map_a;\ncvta.param.u64 %rd1, %rd0;\nmov.b64 %rd2, map_b;\ncvta.param.u64 %rd3, %rd2;\n\
         PRODUCE:\nand.b32 %r6, %r5, 1;\nshr.u32 %r7, %r5, 1;\nshl.b32 %r8, %r6, 3;\nadd.u32 %r9, %r3, %r8;\nadd.u32 %r10, %r4, %r8;\n\
         setp.lt.u32 %p3, %r5, 2;\n@%p3 bra COPY;\nsub.u32 %r11, %r7, 1;\nand.b32 %r11, %r11, 1;\n\
         WE:\nmbarrier.try_wait.parity.shared::cta.b64 %p4, [%r10], %r11;\n@!%p4 bra WE;\n\
         COPY:\nmbarrier.arrive.expect_tx.shared::cta.b64 _, [%r9], 16384;\nshl.b32 %r12, %r6, 13;\nadd.u32 %r13, %r1, %r12;\nadd.u32 %r14, %r2, %r12;\n\
         shl.b32 %r15, %r5, 6;\n\
         cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%r13], [%rd1, {{%r15, 0}}], [%r9];\n\
         cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%r14], [%rd3, {{%r15, 0}}], [%r9];\n\
         add.u32 %r5, %r5, 1;\nsetp.lt.u32 %p5, %r5, 4;\n@%p5 bra PRODUCE;\nbra.uni DONE;\n\
         CONSUMER:\nsetmaxnreg.inc.sync.aligned.u32 216;\n",
        header()
    );
    for i in 0..32 {
        t += &format!("mov.f32 %c{i}, 0f00000000;\n");
    }
    t += "CONSUME:\nand.b32 %r6, %r5, 1;\nshr.u32 %r7, %r5, 1;\nshl.b32 %r8, %r6, 3;\nadd.u32 %r9, %r3, %r8;\nadd.u32 %r10, %r4, %r8;\nand.b32 %r11, %r7, 1;\n\
          WF:\nmbarrier.try_wait.parity.shared::cta.b64 %p4, [%r9], %r11;\n@!%p4 bra WF;\nshl.b32 %r12, %r6, 13;\n";
    // Descriptors: 128-byte swizzle, groups of 8 rows 1024 bytes apart.
    for (r, rd) in [(1, 4), (2, 5)] {
        t += &format!(
            "add.u32 %r13, %r{r}, %r12;\nshr.u32 %r13, %r13, 4;\nand.b32 %r13, %r13, 0x3fff;\ncvt.u64.u32 %rd{rd}, %r13;\nor.b64 %rd{rd}, %rd{rd}, {:#x};\n",
            1u64 << 62 | 64 << 32 | 1 << 16
        );
    }
    t += "wgmma.fence.sync.aligned;\n";
    for k in 0..4 {
        t += &format!(
            "add.s64 %rd6, %rd4, {at};\nadd.s64 %rd7, %rd5, {at};\n\
             wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {{{regs}}}, %rd6, %rd7, 1, 1, 1, 0, 0;\n",
            at = 2 * k
        );
    }
    t += "wgmma.commit_group.sync.aligned;\nwgmma.wait_group.sync.aligned 0;\nmbarrier.arrive.shared::cta.b64 _, [%r10];\n\
          add.u32 %r5, %r5, 1;\nsetp.lt.u32 %p5, %r5, 4;\n@%p5 bra CONSUME;\n\
          ld.param.u64 %rd8, [out];\nshr.u32 %r20, %r0, 5;\nshl.b32 %r20, %r20, 4;\nand.b32 %r21, %r0, 31;\nshr.u32 %r22, %r21, 2;\nadd.u32 %r20, %r20, %r22;\n\
          and.b32 %r23, %r21, 3;\nshl.b32 %r23, %r23, 3;\nmad.lo.u32 %r24, %r20, 256, %r23;\ncvt.u64.u32 %rd10, %r24;\nadd.s64 %rd10, %rd10, %rd8;\n";
    for i in (0..32).step_by(2) {
        let at = (i / 2 % 2) * 8 * 256 + 8 * (i / 4) * 4;
        t += &format!("st.global.v2.f32 [%rd10+{at}], {{%c{i}, %c{}}};\n", i + 1);
    }
    t + "DONE:\nret;\n}\n"
}

fn launch(text: &str) -> (Report, Vec<f32>, Vec<f32>) {
    let (a, b) = (small(64 * 256, 11), small(64 * 256, 12));
    let bf16 = |v: &[f32]| {
        v.iter()
            .map(|v| half::bf16::from_f32(*v).to_bits())
            .collect::<Vec<u16>>()
    };
    let mut memory = Memory::new();
    let (ma, mb) = (
        memory.alloc_u16("a", &bf16(&a)),
        memory.alloc_u16("b", &bf16(&b)),
    );
    let out = memory.alloc_uninit("out", 64 * 64 * 4);
    memory.write_once(out);
    let map = |buffer| {
        Arg::TensorMap(TensorMap {
            buffer,
            offset: 0,
            elem: TensorElem::Bf16,
            dims: vec![256, 64],
            strides: vec![512],
            box_dims: vec![64, 64],
            swizzle: Swizzle::B128,
        })
    };
    let report = run(
        text,
        1,
        256,
        &[map(ma), map(mb), Arg::Buffer(out)],
        &mut memory,
    );
    let want = (0..64 * 64)
        .map(|n| {
            (0..256)
                .map(|k| a[n / 64 * 256 + k] * b[n % 64 * 256 + k])
                .sum()
        })
        .collect();
    (report, memory.f32s(out), want)
}

#[test]
fn a_specialised_pipeline_runs_clean() {
    let (report, got, want) = launch(&text());
    clean(&report);
    assert_eq!(got, want);
    assert_eq!(report.counts.tally.matrix_fmas, 64 * 64 * 256);
}

#[test]
fn planted_mistakes_in_the_pipeline_are_found() {
    let good = text();
    let wait = "wgmma.wait_group.sync.aligned 0;\n";
    let arrive = "mbarrier.arrive.shared::cta.b64 _, [%r10];\n";
    planted(
        &good,
        |text: &str| launch(text).0,
        &[
            // The stage is filled again while the products may still read it.
            ("@!%p4 bra WE;", "", FindingKind::Race),
            // The stage is handed back before the products are done.
            (
                &format!("{wait}{arrive}"),
                &format!("{arrive}{wait}"),
                FindingKind::Race,
            ),
            (
                &format!("{wait}{arrive}"),
                &format!("wgmma.wait_group.sync.aligned 1;\n{arrive}"),
                FindingKind::Race,
            ),
            ("@!%p4 bra WF;", "", FindingKind::Race),
            (
                "and.b32 %r11, %r7, 1;\nWF",
                "xor.b32 %r11, %r7, 1;\nWF",
                FindingKind::Deadlock,
            ),
            (arrive, "", FindingKind::Deadlock),
            ("[%r9], 16384;", "[%r9], 8192;", FindingKind::Race),
            ("[empty+8], 128;", "[empty+8], 129;", FindingKind::Deadlock),
            (
                "wgmma.fence.sync.aligned;",
                "",
                FindingKind::MissingProxyFence,
            ),
            (
                "add.u32 %r14, %r2, %r12;",
                "add.u32 %r14, %r1, %r12;",
                FindingKind::UninitShared,
            ),
            (
                "setp.lt.u32 %p3, %r5, 2;",
                "setp.lt.u32 %p3, %r5, 3;",
                FindingKind::Race,
            ),
        ],
    );
}

#[test]
fn changed_texts_never_panic() {
    let ran = changed_texts(&text(), 200, |module| {
        let mut memory = Memory::new();
        let x = memory.alloc_u16("x", &[0x3f80; 64 * 256]);
        let out = memory.alloc_uninit("out", 64 * 64 * 4);
        let map = |buffer| {
            Arg::TensorMap(TensorMap {
                buffer,
                offset: 0,
                elem: TensorElem::Bf16,
                dims: vec![256, 64],
                strides: vec![512],
                box_dims: vec![64, 64],
                swizzle: Swizzle::B128,
            })
        };
        let args = [map(x), map(x), Arg::Buffer(out)];
        let _ = module.launch("k", [1; 3], [256, 1, 1], 0, &args, &mut memory, &short());
    });
    assert!(ran > 10, "only {ran} of the changed texts could run");
}
