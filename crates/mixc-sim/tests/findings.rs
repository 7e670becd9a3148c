//! What a report says, and mistakes in small kernels.

mod common;
use common::*;
use mixc_sim::{Arg, FindingKind, Memory, Module, Options, Report};

/// Runs a body with one buffer of 256 bytes, on 64 threads.
fn go(body: &str) -> Report {
    let mut memory = Memory::new();
    let x = memory.alloc_u32("x", &[1; 64]);
    run(&kernel(1, "", body), 1, 64, &[Arg::Buffer(x)], &mut memory)
}

#[track_caller]
fn only(body: &str, kind: FindingKind, says: &[&str]) {
    let report = go(body);
    assert_eq!(report.findings.len(), 1, "{:?}", kinds(&report));
    let finding = &report.findings[0];
    assert_eq!(finding.kind, kind);
    let text = finding.to_string();
    for part in says {
        assert!(text.contains(part), "`{part}` is not in `{text}`");
    }
}

#[test]
fn addresses() {
    let at = "mul.wide.u32 %rd1, %t, 4;\nadd.s64 %rd2, %rd0, %rd1;\n";
    only(
        &format!("{at}ld.global.u32 %r1, [%rd2+4];"),
        FindingKind::OutOfBounds,
        &[
            "parameter `p0` (buffer `x`)",
            "byte 256",
            "thread [63, 0, 0]",
            "ld.global.u32 %r1, [%rd2+4];",
            "1 times",
        ],
    );
    only(
        &format!("{at}st.global.u32 [%rd2+-4], %t;"),
        FindingKind::OutOfBounds,
        &["byte -4", "thread [0, 0, 0]"],
    );
    only(
        &format!("{at}ld.global.v2.u32 {{%r1, %r2}}, [%rd0+4];"),
        FindingKind::Misaligned,
        &["multiple of 8", "64 times"],
    );
    only(
        "ld.global.u32 %r1, [%rd0+1];",
        FindingKind::Misaligned,
        &["multiple of 4"],
    );
    only(
        "mov.u64 %rd1, 64;\nld.global.u32 %r1, [%rd1];",
        FindingKind::OutOfBounds,
        &["no buffer"],
    );
    let shared = ".shared .align 4 .b8 s[16];\nmov.u32 %r1, s;\n";
    only(
        &format!("{shared}setp.eq.u32 %p1, %t, 5;\n@%p1 st.shared.u32 [%r1+16], %t;"),
        FindingKind::OutOfBounds,
        &["16 bytes of shared memory"],
    );
    let local = ".local .align 4 .b8 d[16];\nmov.u64 %rd1, d;\n";
    only(
        &format!("{local}ld.local.u32 %r1, [%rd1];"),
        FindingKind::UninitLocal,
        &["has not written"],
    );
    only(
        &format!("{local}st.local.u32 [%rd1+16], %t;"),
        FindingKind::OutOfBounds,
        &["local memory"],
    );
}

#[test]
fn values_that_nobody_wrote() {
    only(
        "add.u32 %r1, %r2, 1;",
        FindingKind::UninitRegister,
        &["`%r2` is read but was never written", "thread [0, 0, 0]"],
    );
    // Only in the lanes that did not write it.
    only(
        "setp.lt.u32 %p1, %t, 40;\n@%p1 mov.u32 %r2, 5;\nadd.u32 %r1, %r2, 1;",
        FindingKind::UninitRegister,
        &["thread [40, 0, 0]"],
    );
    // A move carries the mark along; selecting the other value drops it.
    only(
        "mov.u32 %r1, %r2;\nmov.b64 %rd1, {%r1, %t};\nst.global.u64 [%rd0], %rd1;",
        FindingKind::UninitRegister,
        &["`%rd1`", "st.global"],
    );
    clean(&go(
        "mov.u32 %r1, %r2;\nsetp.ge.u32 %p1, %t, 0;\nselp.u32 %r3, %t, %r1, %p1;\nadd.u32 %r4, %r3, 1;",
    ));
    only(
        ".shared .align 4 .b8 s[256];\nmov.u32 %r1, s;\nld.shared.u32 %r2, [%r1+8];",
        FindingKind::UninitShared,
        &["shared variable `s`, byte 8"],
    );
    // Compilers fill the gap of an aligned vector; only using what fills it is a mistake.
    let gap = ".shared .align 16 .b8 s[16];\nmov.u32 %r1, s;\nsetp.eq.u32 %p1, %t, 0;\n@%p1 st.shared.u32 [%r1], %t;\n\
               @%p1 st.shared.u32 [%r1+4], %t;\nbar.sync 0;\nld.shared.v4.u32 {%r2, %r3, %r4, %r5}, [%r1];\n";
    clean(&go(&format!("{gap}add.u32 %r6, %r2, %r3;")));
    only(
        &format!("{gap}add.u32 %r6, %r2, %r4;"),
        FindingKind::UninitRegister,
        &["`%r4` is read but was never written"],
    );
    let mut memory = Memory::new();
    let x = memory.alloc_uninit("fresh", 64);
    let report = run(
        &kernel(1, "", "ld.global.u32 %r1, [%rd0+4];"),
        1,
        1,
        &[Arg::Buffer(x)],
        &mut memory,
    );
    assert_eq!(report.findings[0].kind, FindingKind::UninitGlobal);
}

#[test]
fn races_within_a_block() {
    let s = ".shared .align 4 .b8 s[256];\nmov.u32 %r1, s;\nshl.b32 %r2, %t, 2;\nadd.u32 %r3, %r1, %r2;\n";
    // Everybody writes one place: different values race, equal ones in one warp do not.
    let report = go(&format!("{s}st.shared.u32 [%r1], %t;"));
    assert!(report.of(FindingKind::Race).is_some());
    clean(&go(&format!(
        "{s}setp.lt.u32 %p1, %t, 32;\n@%p1 st.shared.u32 [%r1], 7;"
    )));
    // A neighbour's value without a barrier, across warps and within one.
    let neighbour = "xor.b32 %r4, %r3, 128;\nld.shared.u32 %r5, [%r4];";
    let report = go(&format!("{s}st.shared.u32 [%r3], %t;\n{neighbour}"));
    assert!(
        report
            .of(FindingKind::Race)
            .unwrap()
            .to_string()
            .contains("no barrier orders")
    );
    clean(&go(&format!(
        "{s}st.shared.u32 [%r3], %t;\nbar.sync 0;\n{neighbour}"
    )));
    let close = "xor.b32 %r4, %r3, 4;\nld.shared.u32 %r5, [%r4];";
    let report = go(&format!("{s}st.shared.u32 [%r3], %t;\n{close}"));
    assert!(
        report
            .of(FindingKind::Race)
            .unwrap()
            .to_string()
            .contains("bar.warp.sync")
    );
    clean(&go(&format!(
        "{s}st.shared.u32 [%r3], %t;\nbar.warp.sync -1;\n{close}"
    )));
    // Reading, then writing what another thread may still read.
    let report = go(&format!(
        "{s}st.shared.u32 [%r3], %t;\nbar.sync 0;\n{neighbour}\nst.shared.u32 [%r3], %r5;"
    ));
    assert!(report.of(FindingKind::Race).is_some());
    clean(&go(&format!(
        "{s}st.shared.u32 [%r3], %t;\nbar.sync 0;\n{neighbour}\nbar.sync 0;\nst.shared.u32 [%r3], %r5;"
    )));
    // Halves of one word belong to different threads.
    clean(&go(
        ".shared .align 4 .b8 s[128];\nmov.u32 %r1, s;\nshl.b32 %r2, %t, 1;\nadd.u32 %r3, %r1, %r2;\ncvt.u16.u32 %h1, %t;\nst.shared.u16 [%r3], %h1;",
    ));
    // Atomics do not race with each other, but with ordinary loads.
    let zero = "setp.eq.u32 %p1, %t, 0;\n@%p1 st.shared.u32 [%r1], 0;\nbar.sync 0;\n";
    clean(&go(&format!(
        "{s}{zero}red.shared.add.u32 [%r1], 1;\nbar.sync 0;\nld.shared.u32 %r5, [%r1];"
    )));
    assert!(
        go(&format!(
            "{s}{zero}red.shared.add.u32 [%r1], 1;\nld.shared.u32 %r5, [%r1];"
        ))
        .of(FindingKind::Race)
        .is_some()
    );
    let off = Options {
        races: false,
        ..Options::default()
    };
    let module = parse(&kernel(0, "", &format!("{s}st.shared.u32 [%r1], %t;")));
    clean(
        &module
            .launch("k", [1; 3], [64, 1, 1], 0, &[], &mut Memory::new(), &off)
            .unwrap(),
    );
}

/// Runs a body on 3 blocks of 32 threads, with the block's number in `%r0`, a buffer of 512 bytes in `%rd0`
/// and a counter in `%rd1`.
fn blocks(body: &str, parallel: bool) -> Report {
    let mut memory = Memory::new();
    let x = memory.alloc_u32("x", &[1; 128]);
    let counter = memory.alloc_u32("counter", &[0]);
    let options = Options {
        parallel,
        ..Options::default()
    };
    let module = parse(&kernel(2, "", &format!("mov.u32 %r0, %ctaid.x;\n{body}")));
    let args = [Arg::Buffer(x), Arg::Buffer(counter)];
    let (grid, block) = ([3, 1, 1], [32, 1, 1]);
    module
        .launch("k", grid, block, 0, &args, &mut memory, &options)
        .unwrap()
}

#[test]
fn races_between_blocks() {
    // Thread t of block b writes element 32 b + t, in pieces of 2 bytes, and reads it: nobody else's.
    let own = "mad.lo.u32 %r1, %r0, 32, %t;\nmul.wide.u32 %rd2, %r1, 2;\nadd.s64 %rd3, %rd0, %rd2;\ncvt.u16.u32 %h1, %t;\n\
               st.global.u16 [%rd3], %h1;\nld.global.u16 %h2, [%rd3];\n";
    clean(&blocks(own, true));
    let meets = |body: &str, says: &[&str]| {
        let report = blocks(&format!("{own}{body}"), true);
        let finding = report.of(FindingKind::RaceBetweenBlocks);
        let text = finding.expect("no finding").to_string();
        for part in says {
            assert!(text.contains(part), "`{part}` is not in `{text}`");
        }
    };
    // One element past the own ones.
    meets(
        "ld.global.u16 %h2, [%rd3+2];",
        &[
            "block [1, 0, 0]",
            "against block [0, 0, 0], thread",
            "ld.global.u16 %h2, [%rd3+2]",
            "byte 64 of 512",
        ],
    );
    meets(
        "st.global.u8 [%rd3+3], %h1;",
        &["`st.global.u16 [%rd3], %h1;`", "byte 65 of 512"],
    );
    meets(
        "atom.global.add.u32 %r5, [%rd0+256], 1;\nld.global.u32 %r6, [%rd0+256];",
        &["byte 256"],
    );
    clean(&blocks(
        "atom.global.add.u32 %r5, [%rd0+256], 1;\nld.relaxed.gpu.global.u32 %r6, [%rd0+256];",
        true,
    ));
    // Reports do not depend on the order in which blocks run.
    let body = format!("{own}ld.global.u32 %r5, [%rd0];\nst.global.u32 [%rd0+8], %r5;");
    let show = |r: Report| r.findings.iter().map(|f| f.to_string()).collect::<Vec<_>>();
    let want = show(blocks(&body, false));
    assert_eq!(want.len(), 2, "{want:?}");
    for _ in 0..5 {
        assert_eq!(show(blocks(&body, true)), want);
    }
    let off = Options {
        block_races: false,
        ..Options::default()
    };
    let mut memory = Memory::new();
    let x = memory.alloc_u32("x", &[1; 128]);
    let module = parse(&kernel(1, "", "st.global.u32 [%rd0], 1;"));
    clean(
        &module
            .launch(
                "k",
                [3, 1, 1],
                [1; 3],
                0,
                &[Arg::Buffer(x)],
                &mut memory,
                &off,
            )
            .unwrap(),
    );
}

/// The last block to arrive sums what all wrote: ordered by a fence and an atomic that returns a value.
#[test]
fn the_last_block_may_read_what_the_others_released() {
    let body = "mul.wide.u32 %rd2, %r0, 4;\nadd.s64 %rd3, %rd0, %rd2;\nsetp.ne.u32 %p1, %t, 0;\n@%p1 ret;\nst.global.u32 [%rd3], %r0;\n\
                membar.gl;\natom.global.inc.u32 %r1, [%rd1], 2;\nsetp.ne.u32 %p2, %r1, 2;\n@%p2 ret;\nmembar.gl;\n\
                ld.global.u32 %r2, [%rd0];\nld.global.u32 %r3, [%rd0+4];\nld.global.u32 %r4, [%rd0+8];\n\
                add.u32 %r2, %r2, %r3;\nadd.u32 %r2, %r2, %r4;\nst.global.u32 [%rd0+64], %r2;";
    clean(&blocks(body, true));
    for (from, to) in [
        ("membar.gl;\natom", "membar.cta;\natom"),
        ("atom.global.inc.u32 %r1, [%rd1], 2;", "mov.u32 %r1, %r0;"),
    ] {
        let report = blocks(&body.replacen(from, to, 1), false);
        assert!(report.of(FindingKind::RaceBetweenBlocks).is_some(), "{to}");
    }
}

#[test]
fn barriers_that_not_all_reach() {
    // The lanes of the first warp meet all others at different barriers; that ends, but is undefined.
    let report = go(
        "setp.lt.u32 %p1, %t, 10;\n@%p1 bar.sync 0;\n@!%p1 bar.sync 0;\nst.global.u32 [%rd0], 1;",
    );
    assert_eq!(report.findings.len(), 2, "{:?}", kinds(&report));
    assert!(
        report
            .findings
            .iter()
            .all(|f| f.kind == FindingKind::Divergent)
    );
    assert!(
        report.findings[0].message.starts_with("22 lanes")
            && report.findings[1].message.starts_with("10 lanes")
    );
    // `barrier` without `.aligned` may be executed by parts of a warp.
    clean(&go(
        "setp.lt.u32 %p1, %t, 10;\n@%p1 barrier.sync 0;\n@!%p1 barrier.sync 0;",
    ));
}

#[test]
fn waiting_for_ever_and_running_for_ever() {
    let body = "setp.lt.u32 %p1, %t, 32;\n@%p1 bra A;\nbar.sync 2, 64;\nret;\nA:\nbar.sync 1, 64;";
    let report = go(body);
    let text = report
        .of(FindingKind::Deadlock)
        .expect("not found")
        .to_string();
    assert!(
        text.contains("32 threads at line")
            && text.contains("bar.sync 1, 64")
            && text.contains("bar.sync 2, 64"),
        "{text}"
    );
    let module = parse(&kernel(0, "", "L:\nbra L;"));
    let options = Options {
        instruction_limit: 10_000,
        ..Options::default()
    };
    let report = module
        .launch(
            "k",
            [1; 3],
            [32, 1, 1],
            0,
            &[],
            &mut Memory::new(),
            &options,
        )
        .unwrap();
    assert_eq!(report.findings[0].kind, FindingKind::InstructionLimit);
}

#[test]
fn operands_that_ptx_leaves_undefined() {
    only(
        "setp.lt.u32 %p1, %t, 32;\n@!%p1 ret;\nmov.u32 %r1, %t;\nsetp.lt.u32 %p2, %t, 4;\n@!%p2 ret;\nshfl.sync.idx.b32 %r2, %r1, 9, 31, 15;",
        FindingKind::InvalidOperand,
        &["does not take part"],
    );
    only(
        "cvta.to.shared.u64 %rd1, %rd0;",
        FindingKind::InvalidOperand,
        &["space"],
    );
    only("bar.sync 17;", FindingKind::InvalidOperand, &["barrier 17"]);
    only(
        "setp.eq.u32 %p1, %t, 3;\n@%p1 trap;",
        FindingKind::Trap,
        &["thread [3, 0, 0]"],
    );
}

/// Messages of a text that does not parse or compile.
fn errors(text: &str) -> Vec<String> {
    Module::parse(text)
        .err()
        .map(|e| e.into_iter().map(|d| d.message).collect())
        .unwrap_or_default()
}

#[test]
fn unknown_instructions_stop_only_launches_that_reach_them() {
    let unknown = [
        "tex.2d.v4.f32.f32 {%f0, %f1, %f2, %f3}, [%rd0, {%f4, %f5}];",
        "mma.sync.aligned.m8n8k4.row.col.f32.f16.f16.f32 {%f0}, {%r0}, {%r1}, {%f0};",
        // A modifier that is not known may change the meaning.
        "max.xorsign.abs.f32 %f0, %f1, %f2;",
        "cvt.rs.f16x2.f32 %r1, %f1, %f2, %r2;",
        "call.uni (%r1), printf, (%rd0, %rd1);",
        "frob.u32 %r1, (a, b), <1>;",
    ];
    for instruction in unknown {
        let name = instruction.split(' ').next().unwrap();
        let body = |limit: u32| {
            format!("setp.gt.u32 %p1, %t, {limit};\n@%p1 {instruction}\nst.global.u32 [%rd0], 7;")
        };
        let text = kernel(1, "", &body(200));
        let line = text.lines().position(|l| l.contains(instruction)).unwrap() as u32 + 1;
        let found = parse(&text).unsupported();
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].entry.as_str(), found[0].line), ("k", line));
        assert_eq!(found[0].instruction, name);
        clean(&go_one_warp(&body(200)));
        let report = go_one_warp(&body(20));
        assert_eq!(kinds(&report), [(FindingKind::Unsupported, line)]);
        assert!(
            report.findings[0].message.contains(name),
            "{}",
            report.findings[0]
        );
        assert_eq!(report.findings[0].thread, [21, 0, 0]);
    }
}

fn go_one_warp(body: &str) -> Report {
    let mut memory = Memory::new();
    let x = memory.alloc_u32("x", &[1; 64]);
    run(&kernel(1, "", body), 1, 32, &[Arg::Buffer(x)], &mut memory)
}

#[test]
fn texts_that_cannot_run() {
    let of = |body: &str| errors(&kernel(1, "", body));
    assert!(of("add.u32 %r1, %nope, 1;")[0].contains("`%nope` is not declared"));
    assert!(of("add.u32 %r1, %r2;")[0].contains("expected 3 operands, found 2"));
    assert!(of("bra MISSING;")[0].contains("there is no label `MISSING`"));
    assert!(of("add.u32 %r1 %r2, 1;")[0].contains("expected `,` or `;`"));
    assert!(of("ld.global.u32 %r1, [;")[0].contains("expected a register, a variable or a number"));
    assert!(
        of("cp.async.cg.shared.global [%r1], [%rd0], 8;")[0].contains("8 bytes cannot be copied")
    );
    // Two mistakes, two messages.
    assert_eq!(of("add.u32 %r1;\nadd.u32 %r1, %r99999, 1;").len(), 2);
    assert!(
        errors(".version 7.0\n.target sm_80\n.address_size 64\n.visible .entry k() {\n")[0]
            .contains("expected `}`")
    );
    assert!(errors("hello")[0].contains("line 1: expected a directive"));
}
