//! Exchanges between lanes, divergence, barriers.

mod common;
use common::*;
use mixc_sim::{Arg, FindingKind, Memory};

/// One warp; `d` of each lane is stored.
#[track_caller]
fn warp(body: &str) -> Vec<u32> {
    let lanes: Vec<u64> = (0..32).collect();
    lanes_u32(body, &lanes)
}

#[track_caller]
fn lanes_u32(body: &str, input: &[u64]) -> Vec<u32> {
    lanes(body, &["b32", "b32"], &[input])
        .into_iter()
        .map(|v| v as u32)
        .collect()
}

#[test]
fn shuffles() {
    let want = |f: &dyn Fn(u32) -> u32| (0..32).map(f).collect::<Vec<_>>();
    assert_eq!(warp("shfl.sync.idx.b32 d, a, 5, 31, -1;"), want(&|_| 5));
    assert_eq!(
        warp("shfl.sync.bfly.b32 d, a, 3, 31, -1;"),
        want(&|l| l ^ 3)
    );
    assert_eq!(
        warp("shfl.sync.down.b32 d, a, 4, 31, -1;"),
        want(&|l| if l < 28 { l + 4 } else { l })
    );
    assert_eq!(
        warp("shfl.sync.up.b32 d, a, 4, 0, -1;"),
        want(&|l| l.checked_sub(4).unwrap_or(l))
    );
    // Segments of 8 lanes: mask 0x18 in bits 8-12, clamp 7.
    assert_eq!(
        warp("shfl.sync.down.b32 d, a, 4, 0x1807, -1;"),
        want(&|l| if l % 8 < 4 { l + 4 } else { l })
    );
    assert_eq!(
        warp("shfl.sync.idx.b32 d, a, 2, 0x1807, -1;"),
        want(&|l| l / 8 * 8 + 2)
    );
    assert_eq!(
        warp("shfl.sync.up.b32 %r1|%p1, a, 1, 0x1800, -1;\nselp.u32 d, 1, 0, %p1;"),
        want(&|l| u32::from(l % 8 != 0))
    );
}

#[test]
fn votes_matches_and_reductions() {
    let odd = "and.b32 %r1, a, 1;\nsetp.ne.u32 %p1, %r1, 0;\n";
    assert_eq!(
        warp(&format!("{odd}vote.sync.ballot.b32 d, %p1, -1;"))[3],
        0xaaaa_aaaa
    );
    assert_eq!(
        warp(&format!(
            "{odd}vote.sync.any.pred %p2, %p1, -1;\nselp.u32 d, 1, 0, %p2;"
        ))[0],
        1
    );
    assert_eq!(
        warp(&format!(
            "{odd}vote.sync.all.pred %p2, %p1, -1;\nselp.u32 d, 1, 0, %p2;"
        ))[0],
        0
    );
    assert_eq!(
        warp(&format!(
            "{odd}vote.sync.uni.pred %p2, !%p1, -1;\nselp.u32 d, 1, 0, %p2;"
        ))[0],
        0
    );
    assert_eq!(
        warp("shr.u32 %r1, a, 4;\nmatch.any.sync.b32 d, %r1, -1;")[20],
        0xffff_0000
    );
    assert_eq!(
        warp("mov.u32 %r1, 4;\nmatch.all.sync.b32 d|%p1, %r1, -1;")[9],
        u32::MAX
    );
    assert_eq!(warp("match.all.sync.b32 d|%p1, a, -1;")[9], 0);
    assert_eq!(warp("redux.sync.add.u32 d, a, -1;")[7], 496);
    assert_eq!(
        warp("sub.s32 %r1, 3, a;\nredux.sync.min.s32 d, %r1, -1;")[7],
        -28i32 as u32
    );
    assert_eq!(warp("activemask.b32 d;")[0], u32::MAX);
    assert_eq!(warp("elect.sync d|%p1, -1;")[30], 0);
    assert_eq!(warp("mov.u32 d, %lanemask_lt;")[5], 31);
    assert_eq!(warp("mov.u32 d, %lanemask_ge;")[5], 0xffff_ffe0);
}

#[test]
fn parts_of_a_warp_meet_again() {
    let body = "setp.lt.u32 %p1, a, 10;\n@%p1 bra LOW;\nactivemask.b32 d;\nbra.uni END;\nLOW:\nactivemask.b32 d;\nEND:\n\
                activemask.b32 %r1;\nsetp.eq.u32 %p2, a, 31;\n@%p2 mov.u32 d, %r1;";
    let got = warp(body);
    assert_eq!((got[0], got[20], got[31]), (0x3ff, 0xffff_fc00, u32::MAX));
}

#[test]
fn a_loop_with_different_trip_counts() {
    let body = "mov.u32 d, 0;\nmov.u32 %r1, 0;\nLOOP:\nadd.u32 d, d, %r1;\nadd.u32 %r1, %r1, 1;\nsetp.le.u32 %p1, %r1, a;\n\
                @%p1 bra LOOP;\nactivemask.b32 %r2;\nsetp.ne.u32 %p2, %r2, -1;\n@%p2 mov.u32 d, 0;";
    assert_eq!(
        warp(body),
        (0..32).map(|l| l * (l + 1) / 2).collect::<Vec<u32>>()
    );
}

#[test]
fn a_branch_table() {
    let body = "rem.u32 %r1, a, 3;\nT: .branchtargets A, B, C;\nbrx.idx %r1, T;\nA:\nmov.u32 d, 10;\nbra END;\nB:\n\
                mov.u32 d, 20;\nbra END;\nC:\nmov.u32 d, 30;\nEND:\nactivemask.b32 %r2;\npopc.b32 %r2, %r2;\nadd.u32 d, d, %r2;";
    assert_eq!(warp(body)[..4], [42, 52, 62, 42]);
}

#[test]
fn lanes_in_different_branches_can_shuffle_together() {
    // The two halves reach one shuffle over different ways and with different delays.
    let body = "mov.u32 %r1, a;\nsetp.lt.u32 %p1, a, 16;\n@%p1 bra SHUF;\nadd.u32 %r1, a, 100;\nSHUF:\n\
                shfl.sync.bfly.b32 d, %r1, 16, 31, -1;";
    assert_eq!(warp(body)[0], 116);
}

#[test]
fn halves_of_a_warp_with_masks_of_their_own() {
    let body = "setp.lt.u32 %p1, a, 16;\nselp.b32 %r1, 0xffff, 0xffff0000, %p1;\nshfl.sync.idx.b32 d, a, 3, 0x100f, %r1;";
    assert_eq!(
        warp(body),
        (0..32)
            .map(|l| if l < 16 { 3 } else { 19 })
            .collect::<Vec<u32>>()
    );
}

#[test]
fn nested_scopes_hide_their_names() {
    let body = "{\n.reg .b32 x;\nmov.u32 x, 1;\n{\n.reg .b32 x;\nmov.u32 x, 5;\nadd.u32 d, a, x;\n}\nadd.u32 d, d, x;\n}";
    assert_eq!(warp(body)[2], 8);
}

#[test]
fn named_barriers_order_a_producer_and_a_consumer_warp() {
    // Warp 0 produces and arrives; warp 1 waits. Nothing else orders them.
    let body = ".shared .align 4 .b32 box[32];\nand.b32 %r1, %t, 31;\nmul.lo.u32 %r2, %r1, 4;\nmov.u32 %r3, box;\n\
                add.u32 %r3, %r3, %r2;\nsetp.ge.u32 %p1, %t, 32;\n@%p1 bra CONSUMER;\nst.shared.u32 [%r3], %t;\n\
                bar.arrive 1, 64;\nret;\nCONSUMER:\nbar.sync 1, 64;\nxor.b32 %r4, %r3, 4;\nld.shared.u32 %r5, [%r4];\n\
                mul.wide.u32 %rd1, %r2, 1;\nadd.s64 %rd1, %rd0, %rd1;\nst.global.u32 [%rd1], %r5;";
    let mut memory = Memory::new();
    let out = memory.alloc_uninit("out", 128);
    let good = kernel(1, "", body);
    clean(&run(&good, 1, 64, &[Arg::Buffer(out)], &mut memory));
    assert_eq!(
        memory.u32s(out),
        (0..32).map(|l| l ^ 1).collect::<Vec<u32>>()
    );
    let racy = good.replace("bar.sync 1, 64;", "");
    let report = run(&racy, 1, 64, &[Arg::Buffer(out)], &mut memory);
    assert!(
        report.of(FindingKind::Race).is_some() || report.of(FindingKind::UninitShared).is_some()
    );
}

#[test]
fn barrier_reductions() {
    let body = "setp.lt.u32 %p1, %t, 40;\nbar.red.popc.u32 %r1, 0, %p1;\nbar.red.and.pred %p2, 0, %p1;\nbar.red.or.pred %p3, 0, %p1;\n\
                selp.u32 %r2, 100, 0, %p2;\nselp.u32 %r3, 1000, 0, %p3;\nadd.u32 %r1, %r1, %r2;\nadd.u32 %r1, %r1, %r3;\n\
                mul.wide.u32 %rd1, %t, 4;\nadd.s64 %rd1, %rd0, %rd1;\nst.global.u32 [%rd1], %r1;";
    let mut memory = Memory::new();
    let out = memory.alloc_uninit("out", 256);
    clean(&run(
        &kernel(1, "", body),
        1,
        64,
        &[Arg::Buffer(out)],
        &mut memory,
    ));
    assert!(memory.u32s(out).iter().all(|&v| v == 1040));
}

#[test]
fn a_spinning_lane_lets_its_siblings_run() {
    // Lane 0 waits for lane 1 of its own warp.
    let body = ".shared .align 4 .b32 flag;\nsetp.eq.u32 %p1, %t, 0;\n@%p1 st.volatile.shared.u32 [flag], 0;\nbar.warp.sync -1;\n\
                @!%p1 bra SET;\nSPIN:\nld.volatile.shared.u32 %r1, [flag];\nsetp.eq.u32 %p2, %r1, 0;\n@%p2 bra SPIN;\nbra END;\n\
                SET:\nst.volatile.shared.u32 [flag], 1;\nEND:\nst.global.u32 [%rd0], 7;";
    let mut memory = Memory::new();
    let out = memory.alloc_uninit("out", 4);
    clean(&run(
        &kernel(1, "", body),
        1,
        2,
        &[Arg::Buffer(out)],
        &mut memory,
    ));
    assert_eq!(memory.u32s(out), [7]);
}
