//! Exchanges within a warp, barriers, fences, branches, special registers.

use super::cases::{Draft, Tolerance};
use super::pattern::expand;
use super::text::{Kernel, SM80, SM90};
use super::values::Random;

pub fn drafts(seed: u64) -> Vec<Draft> {
    let mut out = shuffles(seed);
    out.extend(votes(seed));
    out.push(barriers());
    out.push(fences());
    out.push(branches());
    out.push(specials());
    out
}

const THREADS: u32 = 64;

/// A column of words for every thread, loaded into a register.
fn column(k: &mut Kernel, random: &mut Random, register: &str, value: impl Fn(&mut Random) -> u32) {
    let bytes = (0..THREADS)
        .flat_map(|_| value(random).to_le_bytes())
        .collect();
    let input = k.input(bytes);
    k.line(format!(
        "mad.wide.u32 %rd0, %t, 4, %in{input};\nld.global.b32 {register}, [%rd0];"
    ));
}

/// Lanes differ in their source and in clamp and segment.
fn shuffles(seed: u64) -> Vec<Draft> {
    let mut out = vec![];
    for mode in ["up", "down", "bfly", "idx"] {
        let opcode = format!("shfl.sync.{mode}.b32");
        let mut random = Random::new(seed, &opcode);
        let mut k = Kernel::new(&opcode, SM80, THREADS);
        column(&mut k, &mut random, "%r0", |r| r.next() as u32);
        column(&mut k, &mut random, "%r1", |r| r.below(40) as u32);
        for (clamp, segment) in [
            (if mode == "up" { 0 } else { 31 }, 0),
            (7, 24),
            (3, 28),
            (0, 16),
        ] {
            let c = clamp | segment << 8;
            k.line(format!(
                "{opcode} %r2|%p0, %r0, %r1, {c}, -1;\nselp.b32 %r3, 1, 0, %p0;"
            ));
            k.store(
                &format!("{opcode} by lane, c = {c:#x}"),
                "%r2",
                32,
                Tolerance::Exact,
            );
            k.store(
                &format!("{opcode} by lane, c = {c:#x}: inside"),
                "%r3",
                32,
                Tolerance::Exact,
            );
            for by in [1, 2, 16, 31] {
                k.line(format!("{opcode} %r2, %r0, {by}, {c}, 0xffffffff;"));
                k.store(
                    &format!("{opcode} {by}, c = {c:#x}"),
                    "%r2",
                    32,
                    Tolerance::Exact,
                );
            }
        }
        out.push(k.draft());
    }
    out
}

fn votes(seed: u64) -> Vec<Draft> {
    let mut out = vec![];
    let mut random = Random::new(seed, "vote");
    let mut k = Kernel::new("vote match redux", SM80, THREADS);
    column(&mut k, &mut random, "%r0", |r| r.next() as u32);
    column(&mut k, &mut random, "%r1", |r| r.below(4) as u32);
    for limit in [0u32, 1 << 30, 1 << 31, u32::MAX] {
        k.line(format!("setp.lt.u32 %p0, %r0, {limit};"));
        for mode in ["all", "any", "uni"] {
            k.line(format!(
                "vote.sync.{mode}.pred %p1, %p0, -1;\nselp.b32 %r2, 1, 0, %p1;"
            ));
            k.store(&format!("vote.sync.{mode}"), "%r2", 32, Tolerance::Exact);
        }
        k.line("vote.sync.ballot.b32 %r2, !%p0, -1;");
        k.store("vote.sync.ballot", "%r2", 32, Tolerance::Exact);
    }
    // Half of the warp.
    k.line("and.b32 %r3, %t, 31;\nsetp.lt.u32 %p2, %r3, 16;\nmov.u32 %r4, 0;\nmov.u32 %r5, 0;\n@%p2 vote.sync.ballot.b32 %r4, %p0, 0xffff;\n@%p2 activemask.b32 %r5;");
    k.store("vote.sync.ballot of 16 lanes", "%r4", 32, Tolerance::Exact);
    k.store("activemask", "%r5", 32, Tolerance::Exact);
    k.line("match.any.sync.b32 %r6, %r1, -1;");
    k.store("match.any", "%r6", 32, Tolerance::Exact);
    k.line("mov.b64 %rd1, {%r1, %r1};\nmatch.any.sync.b64 %r6, %rd1, -1;");
    k.store("match.any.b64", "%r6", 32, Tolerance::Exact);
    for value in ["%r1", "%r7"] {
        k.line(format!(
            "mov.u32 %r7, 5;\nmatch.all.sync.b32 %r6|%p3, {value}, -1;\nselp.b32 %r8, 1, 0, %p3;"
        ));
        k.store("match.all", "%r6", 32, Tolerance::Exact);
        k.store("match.all: all equal", "%r8", 32, Tolerance::Exact);
    }
    for opcode in expand(
        "redux.sync.{add.u32,add.s32,min.u32,min.s32,max.u32,max.s32,and.b32,or.b32,xor.b32}",
    ) {
        k.line(format!("{opcode} %r6, %r0, -1;"));
        k.store(&opcode, "%r6", 32, Tolerance::Exact);
    }
    out.push(k.draft());
    let mut k = Kernel::new("elect", SM90, THREADS);
    k.line("elect.sync %r0|%p0, -1;\nselp.b32 %r1, 1, 0, %p0;");
    k.store("elect.sync: leader", "%r0", 32, Tolerance::Exact);
    k.store("elect.sync: elected", "%r1", 32, Tolerance::Exact);
    k.line("griddepcontrol.wait;\ngriddepcontrol.launch_dependents;");
    out.push(k.draft());
    out
}

/// Values cross warps through shared memory behind each kind of barrier.
fn barriers() -> Draft {
    let mut k = Kernel::new("barriers", SM80, 128);
    k.line(".shared .align 4 .b8 s[512];\nmov.u32 %r0, s;\nmad.lo.u32 %r1, %t, 4, %r0;\nxor.b32 %r2, %r1, 256;\nxor.b32 %r3, %r1, 4;\nmov.u32 %r4, %t;\nmul.lo.u32 %r4, %r4, 77;");
    for wait in [
        "bar.sync 0",
        "bar.sync 1, 128",
        "barrier.sync 2",
        "barrier.sync.aligned 3, 128",
        "bar.cta.sync 4",
    ] {
        k.line(format!("st.shared.u32 [%r1], %r4;\n{wait};\nld.shared.u32 %r5, [%r2];\n{wait};\nadd.u32 %r4, %r4, %r5;"));
        k.store(wait, "%r5", 32, Tolerance::Exact);
    }
    k.line("st.shared.u32 [%r1], %r4;\nbar.warp.sync -1;\nld.shared.u32 %r5, [%r3];");
    k.store("bar.warp.sync", "%r5", 32, Tolerance::Exact);
    // Warps 0 and 1 write and arrive, warps 2 and 3 wait and read.
    k.line("bar.sync 0;\nsetp.lt.u32 %p0, %t, 64;\nmov.u32 %r6, 0;\n@!%p0 bra WAITS;\nst.shared.u32 [%r1], %t;\nbar.arrive 5, 128;\nbra MET;\nWAITS:\nbar.sync 5, 128;\nld.shared.u32 %r6, [%r2];\nMET:");
    k.store("bar.arrive", "%r6", 32, Tolerance::Exact);
    for limit in [0, 50, 1000] {
        k.line(format!("setp.lt.u32 %p1, %t, {limit};\nbar.red.popc.u32 %r7, 0, %p1;\nbar.red.and.pred %p2, 0, %p1;\nbar.red.or.pred %p3, 0, !%p1;\nbarrier.red.popc.u32 %r8, 1, 128, !%p1;"));
        k.line("selp.b32 %r9, 1, 0, %p2;\nselp.b32 %r10, 1, 0, %p3;");
        for (label, r) in [
            ("bar.red.popc", "%r7"),
            ("bar.red.and", "%r9"),
            ("bar.red.or", "%r10"),
            ("barrier.red.popc", "%r8"),
        ] {
            k.store(label, r, 32, Tolerance::Exact);
        }
    }
    k.draft()
}

/// Fences around a value of one's own: they assemble and change nothing.
fn fences() -> Draft {
    let mut k = Kernel::new("fences", SM80, THREADS);
    let input = k.input(vec![0; 4 * THREADS as usize]);
    k.line(format!(
        "mad.wide.u32 %rd0, %t, 4, %in{input};\nst.global.u32 [%rd0], %t;"
    ));
    for f in expand(
        "{membar.cta,membar.gl,membar.sys,fence.sc.cta,fence.sc.gpu,fence.acq_rel.cta,fence.acq_rel.gpu,fence.acq_rel.sys}",
    ) {
        k.line(format!("{f};"));
    }
    k.line("nanosleep.u32 20;\nld.global.u32 %r0, [%rd0];");
    k.store("fences", "%r0", 32, Tolerance::Exact);
    k.draft()
}

/// Loops with different trip counts, nested conditions, a branch table, early exits.
fn branches() -> Draft {
    let mut k = Kernel::new("branches", SM80, THREADS);
    k.line("mov.u32 %r0, 0;\nand.b32 %r1, %t, 7;\nLOOP:\nadd.u32 %r0, %r0, %r1;\nsub.u32 %r1, %r1, 1;\nsetp.ge.s32 %p0, %r1, 0;\n@%p0 bra LOOP;");
    k.store("loop", "%r0", 32, Tolerance::Exact);
    k.line("mov.u32 %r2, 1;\nand.b32 %r3, %t, 3;\nsetp.eq.u32 %p1, %r3, 0;\n@%p1 bra EVEN;\nsetp.eq.u32 %p2, %r3, 1;\n@!%p2 bra OTHER;\nmov.u32 %r2, 20;\nbra.uni JOIN;\nOTHER:\nmov.u32 %r2, 30;\nbra JOIN;\nEVEN:\nmov.u32 %r2, 40;\nJOIN:\nvote.sync.ballot.b32 %r4, %p1, -1;\nadd.u32 %r2, %r2, %r4;");
    k.store("conditions", "%r2", 32, Tolerance::Exact);
    k.line("mov.u32 %r5, 0;\nTABLE: .branchtargets A, B, C, D;\nbrx.idx %r3, TABLE;\nA:\nadd.u32 %r5, %r5, 1;\nB:\nadd.u32 %r5, %r5, 10;\nC:\nadd.u32 %r5, %r5, 100;\nD:\nadd.u32 %r5, %r5, 1000;");
    k.store("brx.idx", "%r5", 32, Tolerance::Exact);
    k.line("setp.eq.u32 %p3, %t, 999;\n@%p3 trap;\n@%p3 brkpt;\nsetp.eq.u32 %p4, %t, 5;\n@%p4 exit;\nsetp.eq.u32 %p5, %t, 37;\n@%p5 ret;\nmov.u32 %r6, 7;");
    k.store("exit and ret leave zeros", "%r6", 32, Tolerance::Exact);
    k.draft()
}

fn specials() -> Draft {
    let mut k = Kernel::new("special registers", SM80, THREADS);
    k.blocks(3);
    for r in expand("%{tid,ntid,ctaid,nctaid}.{x,y,z}") {
        k.line(format!("mov.u32 %r0, {r};"));
        k.store(&r, "%r0", 32, Tolerance::Exact);
    }
    for r in expand("%{laneid,lanemask_eq,lanemask_lt,lanemask_le,lanemask_gt,lanemask_ge}") {
        k.line(format!("mov.u32 %r0, {r};"));
        k.store(&r, "%r0", 32, Tolerance::Exact);
    }
    k.line("mov.u32 %r0, WARP_SZ;");
    k.store("WARP_SZ", "%r0", 32, Tolerance::Exact);
    k.draft()
}
