//! `ptxas` and `nvdisasm` themselves, which `make setup` fetches, on small texts. Without them these
//! tests fail with the message that says how to get them.

use mixc_nvtools::sass::{Function, LoopKind};
use mixc_nvtools::{AssembleError, Assembled, DisassembleError, FindingKind, Nvdisasm, Ptxas};
use std::fmt::Write;

fn assemble(ptx: &str, arch: &str) -> Assembled {
    let ptxas = Ptxas::find().unwrap_or_else(|e| panic!("{e}"));
    ptxas.assemble(ptx, arch).unwrap_or_else(|e| panic!("{e}"))
}

fn functions(cubin: &[u8]) -> Result<Vec<Function>, DisassembleError> {
    let nvdisasm = Nvdisasm::find().unwrap_or_else(|e| panic!("{e}"));
    nvdisasm.functions(cubin)
}

/// A module of one kernel that reads `%f1` from memory and writes `%f2` back.
fn kernel(arch: &str, attributes: &str, body: &str) -> String {
    format!(
        ".version 8.3\n.target {arch}\n.address_size 64\n\
         .visible .entry probe(.param .u64 at, .param .u32 n)\n{attributes}\n{{\n\
         .reg .pred %p<8>;\n.reg .b32 %r<64>;\n.reg .b64 %rd<16>;\n.reg .f32 %f<512>;\n\
         ld.param.u64 %rd1, [at];\nld.param.u32 %r1, [n];\ncvta.to.global.u64 %rd2, %rd1;\n\
         ld.global.f32 %f1, [%rd2];\n{body}\nst.global.f32 [%rd2], %f2;\nret;\n}}\n"
    )
}

#[test]
fn resources_of_a_kernel_are_read() {
    let body = ".shared .align 16 .b8 tile[2048];\n\
                mov.u32 %r2, tile;\nst.shared.f32 [%r2], %f1;\nbar.sync 0;\nbar.sync 1;\n\
                ld.shared.f32 %f2, [%r2+4];";
    let assembled = assemble(&kernel("sm_80", ".maxntid 128", body), "sm_80");
    let entry = assembled.entry("probe").expect("one entry of that name");
    assert_eq!((entry.shared_static, entry.barriers), (2048, 2));
    assert_eq!(
        (entry.spill_stores, entry.spill_loads, entry.stack),
        (0, 0, 0)
    );
    assert!((4..=32).contains(&entry.registers), "{entry:?}");
    assert_eq!(assembled.findings, []);
    assert!(assembled.cubin.starts_with(b"\x7fELF"));
}

#[test]
fn spills_are_seen() {
    // 128 values alive at a time, and 32 registers to hold them.
    let mut body = String::new();
    for i in 0..128 {
        let _ = writeln!(
            body,
            "ld.global.volatile.f32 %f{}, [%rd2+{}];",
            10 + i,
            4 * i
        );
    }
    let _ = writeln!(body, "mov.f32 %f2, %f1;");
    // The last one read is the first one used.
    for i in (0..128).rev() {
        let _ = writeln!(body, "fma.rn.f32 %f2, %f2, %f{}, %f1;", 10 + i);
    }
    let assembled = assemble(&kernel("sm_80", ".maxnreg 32", &body), "sm_80");
    let entry = &assembled.entries[0];
    assert!(entry.registers <= 32, "{entry:?}");
    assert!(
        entry.spill_stores >= 4 * 96 && entry.spill_loads >= 4 * 96,
        "{entry:?}"
    );
    let code = &functions(&assembled.cubin).unwrap()[0];
    assert!(code.counts().get("STL") > 0 && code.counts().get("LDL") > 0);
}

#[test]
fn a_wrong_text_is_refused_with_its_line() {
    let ptx = kernel("sm_80", "", "no.such.instruction %f2, %f1;");
    let line = 1 + ptx.lines().position(|l| l.starts_with("no.such")).unwrap();
    let ptxas = Ptxas::find().unwrap_or_else(|e| panic!("{e}"));
    match ptxas.assemble(&ptx, "sm_80") {
        Err(AssembleError::Refused { messages, .. }) => {
            assert!(messages.contains(&format!("line {line};")), "{messages}");
            assert!(!messages.contains("text.ptx"), "{messages}");
        }
        other => panic!("expected a refusal, got {other:?}"),
    }
}

/// A loop of products into `%f16` to `%f19`, with `waits` between each and its jump back,
/// and `last` between the loop and the use of the sums.
fn products(waits: &str, last: &str) -> Vec<FindingKind> {
    let zeros: String = (16..20)
        .map(|i| format!("mov.f32 %f{i}, 0f00000000;\n"))
        .collect();
    let body = format!(
        "mov.u64 %rd3, 4096;\n{zeros}\
         again:\nwgmma.fence.sync.aligned;\n\
         wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 {{%f16,%f17,%f18,%f19}}, %rd3, %rd3, 1, 1, 1, 0, 0;\n\
         wgmma.commit_group.sync.aligned;\n{waits}\n\
         sub.u32 %r1, %r1, 1;\nsetp.ne.u32 %p1, %r1, 0;\n@%p1 bra again;\n\
         {last}\nadd.f32 %f2, %f16, %f19;"
    );
    let assembled = assemble(&kernel("sm_90a", ".reqntid 128", &body), "sm_90a");
    assembled.findings.iter().map(|f| f.kind).collect()
}

#[test]
fn products_that_wait_for_each_other_are_a_finding() {
    let touch = "add.f32 %f17, %f17, %f1;";
    let all = "wgmma.wait_group.sync.aligned 0;";
    assert_eq!(products(&format!("{all}\n{touch}"), ""), []);
    // The product of this turn may still be running, and its sum is changed.
    let running = format!("wgmma.wait_group.sync.aligned 1;\n{touch}");
    assert_eq!(products(&running, all), [FindingKind::WgmmaSerialized]);
}

#[test]
fn a_wait_that_the_text_forgot_is_a_finding() {
    let one = "wgmma.wait_group.sync.aligned 1;";
    assert_eq!(products(one, "wgmma.wait_group.sync.aligned 0;"), []);
    let forgotten = products(one, "");
    assert!(
        forgotten.contains(&FindingKind::WgmmaSyncInjected),
        "{forgotten:?}"
    );
}

#[test]
fn the_inner_loop_is_found_and_counted() {
    // An outer loop over %r2, an inner one over %r3 with two matrix products and one exponential.
    let body = "\
        mov.u32 %r2, 0;\nmov.u32 %r10, 0;\n\
        mov.f32 %f10, 0f00000000;\nmov.f32 %f11, %f10;\nmov.f32 %f12, %f10;\nmov.f32 %f13, %f10;\n\
        outer:\nmov.u32 %r3, 0;\n\
        inner:\n.pragma \"nounroll\";\n\
        mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 \
          {%f10,%f11,%f12,%f13}, {%r10,%r10,%r10,%r3}, {%r10,%r3}, {%f10,%f11,%f12,%f13};\n\
        mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 \
          {%f10,%f11,%f12,%f13}, {%r10,%r10,%r3,%r3}, {%r3,%r3}, {%f10,%f11,%f12,%f13};\n\
        ex2.approx.ftz.f32 %f10, %f10;\n\
        add.u32 %r3, %r3, 1;\nsetp.lt.u32 %p1, %r3, %r1;\n@%p1 bra inner;\n\
        st.global.f32 [%rd2+8], %f11;\nadd.u32 %r2, %r2, 1;\nsetp.lt.u32 %p2, %r2, %r1;\n@%p2 bra outer;\n\
        add.f32 %f2, %f10, %f12;";
    for arch in ["sm_80", "sm_89", "sm_90a"] {
        let assembled = assemble(&kernel(arch, "", body), arch);
        let functions = functions(&assembled.cubin).unwrap();
        assert_eq!(functions.len(), 1, "{arch}");
        assert_eq!(functions[0].name, "probe");
        let loops = functions[0].loops();
        let depths: Vec<usize> = loops.iter().map(|l| l.depth).collect();
        assert_eq!(depths, [0, 1], "{arch}");
        assert_eq!(
            (loops[0].counts.get("STG"), loops[1].counts.get("STG")),
            (1, 0)
        );
        let inner = functions[0].inner_loops();
        assert_eq!(inner, loops[1..], "{arch}");
        let counts = &inner[0].counts;
        assert_eq!(
            (counts.get("HMMA.16816"), counts.get("MUFU.EX2")),
            (2, 1),
            "{counts}"
        );
    }
}

#[test]
fn waiting_for_a_barrier_is_not_work() {
    let body = ".shared .align 8 .b8 bar[8];\nmov.u32 %r2, bar;\nmov.u32 %r4, 0;\n\
                mbarrier.init.shared.b64 [%r2], 1;\n\
                wait:\nmbarrier.try_wait.parity.shared.b64 %p1, [%r2], %r4;\n@!%p1 bra wait;\nmov.f32 %f2, %f1;";
    let assembled = assemble(&kernel("sm_90a", "", body), "sm_90a");
    let functions = functions(&assembled.cubin).unwrap();
    let kinds: Vec<LoopKind> = functions[0].loops().iter().map(|l| l.kind).collect();
    assert_eq!(kinds, [LoopKind::Wait]);
    assert_eq!(functions[0].inner_loops(), []);
}

#[test]
fn what_is_no_cubin_is_refused() {
    let result = functions(b"no ELF file");
    assert!(
        matches!(result, Err(DisassembleError::Refused(_))),
        "{result:?}"
    );
}
