//! Loads, stores, atomics, address conversions, `cp.async`, matrix moves through shared memory.

use super::cases::{Draft, Tolerance};
use super::pattern::expand;
use super::text::{Kernel, SM80, SM90};
use super::values::Random;
use crate::syntax::ast::Ty;

pub fn drafts(seed: u64) -> Vec<Draft> {
    let mut out = vec![];
    for opcode in expand(
        "{ld,st}.{global,shared,local}.{b8,b16,b32,b64,u8,s8,u16,s16,u32,s32,u64,s64,f32,f64}",
    ) {
        out.push(round_trip(seed, &opcode, 1));
    }
    for (n, types) in [
        (2, "{b8,u16,b32,f32,s32,b64,f64}"),
        (4, "{u8,b16,b32,f32,u32}"),
    ] {
        for opcode in expand(&format!("{{ld,st}}.{{global,shared,local}}.v{n}.{types}")) {
            out.push(round_trip(seed, &opcode, n));
        }
    }
    let hints = "ld.global{.nc,.ca,.cg,.cs,.cv,.nc.L1::no_allocate,.L1::evict_last,.L2::128B,.nc.L2::64B}.{b32,v4.f32}";
    let orders = "{ld.volatile.global,ld.relaxed.gpu.global,ld.acquire.sys.global,ldu.global,st.global.wb,st.global.cg,st.global.cs,st.global.wt,st.volatile.global,st.relaxed.gpu.global,st.release.gpu.global,ld.volatile.shared,st.volatile.shared,ld.shared::cta,st.shared::cta}.b32";
    for opcode in expand(hints).into_iter().chain(expand(orders)) {
        let n = if opcode.contains("v4") { 4 } else { 1 };
        out.push(round_trip(seed, &opcode, n));
    }
    out.push(generic(seed));
    out.push(variables());
    out.extend(super::atomics::drafts(seed));
    out.extend(copies(seed));
    out.extend(matrix_moves(seed));
    out
}

pub const THREADS: usize = 64;

/// Bytes for every thread.
fn bytes(seed: u64, name: &str, each: usize) -> Vec<u8> {
    let mut random = Random::new(seed, name);
    (0..THREADS * each).map(|_| random.next() as u8).collect()
}

/// Data go from global memory to the space named and on to the output; the opcode under test is one of the
/// steps.
fn round_trip(seed: u64, opcode: &str, n: usize) -> Draft {
    let ty = opcode
        .split('.')
        .filter_map(Ty::from_name)
        .next_back()
        .expect("bug: no type");
    let (each, loads) = (ty.bytes() as usize * n, opcode.starts_with("ld"));
    let mut k = Kernel::new(opcode, SM80, THREADS as u32);
    let input = k.input(bytes(seed, opcode, each));
    // Narrow values are kept in 32-bit registers, which shows how they are extended.
    let width = ty.bits().max(32);
    let list: Vec<String> = (0..n).map(|i| format!("v{i}")).collect();
    let names = list.join(", ");
    let vector = if n == 1 {
        names.clone()
    } else {
        format!("{{{names}}}")
    };
    let suffix = if n == 1 {
        String::new()
    } else {
        format!(".v{n}")
    };
    let plain = format!("{suffix}.b{}", ty.bits());
    let space = ["shared", "local"]
        .into_iter()
        .find(|s| opcode.contains(&format!(".{s}")));
    k.line(format!(
        ".reg .b{width} {names};\nmad.wide.u32 %rd0, %t, {each}, %in{input};"
    ));
    match space {
        Some(space) => {
            let bytes = if space == "shared" {
                each * THREADS
            } else {
                each
            };
            k.line(format!(".{space} .align 16 .b8 place[{bytes}];"));
            k.line(format!("ld.global{plain} {vector}, [%rd0];"));
            k.line("mov.u64 %rd1, place;");
            if space == "shared" {
                k.line(format!("mad.wide.u32 %rd1, %t, {each}, %rd1;"));
            }
            let (store, load) = if loads {
                (format!("st.{space}{plain}"), opcode.to_string())
            } else {
                (opcode.to_string(), format!("ld.{space}{plain}"))
            };
            k.line(format!(
                "{store} [%rd1], {vector};\n{load} {vector}, [%rd1];"
            ));
        }
        None if loads => {
            k.line(format!("{opcode} {vector}, [%rd0];"));
        }
        None => {
            k.line(format!("ld.global{plain} {vector}, [%rd0];"));
            let at = k.results(opcode, THREADS * n, each / n, ty.bits(), Tolerance::Exact);
            k.line(format!(
                "mad.wide.u32 %rd1, %t, {each}, %out;\n{opcode} [%rd1+{at}], {vector};"
            ));
        }
    }
    if space.is_some() || loads {
        for v in &list {
            k.store(opcode, v, width, Tolerance::Exact);
        }
    }
    k.draft()
}

/// Generic addresses of every space, and what tells them apart.
fn generic(seed: u64) -> Draft {
    let mut k = Kernel::new("cvta", SM80, THREADS as u32);
    let input = k.input(bytes(seed, "cvta", 4));
    k.line(".shared .align 4 .b8 s[256];\n.local .align 4 .b8 l[4];\nmov.u64 %rd0, s;\nmad.wide.u32 %rd0, %t, 4, %rd0;\ncvta.shared.u64 %rd1, %rd0;");
    k.line("mov.u64 %rd2, l;\ncvta.local.u64 %rd3, %rd2;");
    k.line(format!("mad.wide.u32 %rd4, %t, 4, %in{input};\ncvta.global.u64 %rd5, %rd4;\nld.b32 %r0, [%rd5];\nst.b32 [%rd1], %r0;"));
    k.line("ld.shared.b32 %r1, [%rd0];\nadd.u32 %r1, %r1, 1;\nst.b32 [%rd3], %r1;\nld.local.b32 %r2, [%rd2];");
    k.line("cvta.to.shared.u64 %rd6, %rd1;\ncvta.to.local.u64 %rd7, %rd3;\ncvta.to.global.u64 %rd8, %rd5;\nld.shared.b32 %r3, [%rd6];\nld.local.b32 %r4, [%rd7];\nld.global.b32 %r5, [%rd8];");
    for (label, r) in [
        ("st generic", "%r2"),
        ("cvta.to.shared", "%r3"),
        ("cvta.to.local", "%r4"),
        ("cvta.to.global", "%r5"),
    ] {
        k.store(label, r, 32, Tolerance::Exact);
    }
    for space in ["global", "shared", "local", "const"] {
        k.line("mov.u32 %r6, 0;");
        for (bit, r) in [(1, 5), (2, 1), (4, 3)] {
            k.line(format!(
                "isspacep.{space} %p0, %rd{r};\nselp.b32 %r7, {bit}, 0, %p0;\nor.b32 %r6, %r6, %r7;"
            ));
        }
        k.store(&format!("isspacep.{space}"), "%r6", 32, Tolerance::Exact);
    }
    // Hints, which change nothing.
    k.line("prefetch.global.L1 [%rd8];\nprefetch.global.L2 [%rd8];\nprefetch.L1 [%rd5];\nprefetchu.L1 [%rd5];\nprefetch.global.L2::evict_last [%rd8];");
    k.line("and.b64 %rd9, %rd8, -128;\napplypriority.global.L2::evict_normal [%rd9], 128;\ncreatepolicy.fractional.L2::evict_last.b64 %rd10, 0f3F800000;");
    k.line(format!("ld.global.L2::cache_hint.b32 %r8, [%rd8], %rd10;\nadd.s64 %rd11, %in{input}, 0;\nsetp.eq.u32 %p1, %t, 1000;\n@%p1 discard.global.L2 [%rd11], 128;"));
    k.store("ld.global.L2::cache_hint", "%r8", 32, Tolerance::Exact);
    k.draft()
}

/// Module-scope variables, constants, parameters by their parts.
fn variables() -> Draft {
    let mut k = Kernel::new("variables", SM80, THREADS as u32);
    k.module(".const .align 4 .u32 module_table[4] = {10, 20, 30, 40};\n.global .align 8 .u64 module_word = 0x123456789abcdef0;\n.global .align 4 .f32 module_zero;");
    k.line("and.b32 %r0, %t, 3;\nmov.u64 %rd0, module_table;\nmad.wide.u32 %rd0, %r0, 4, %rd0;\nld.const.u32 %r1, [%rd0];");
    k.store("ld.const", "%r1", 32, Tolerance::Exact);
    k.line("ld.global.u64 %rd1, [module_word];");
    k.store("ld.global of a variable", "%rd1", 64, Tolerance::Exact);
    k.line("ld.global.u8 %r2, [module_word+3];\nld.global.f32 %f0, [module_zero];\nmov.b32 %r3, %f0;\nadd.u32 %r2, %r2, %r3;");
    k.store("ld.global of a byte", "%r2", 32, Tolerance::Exact);
    k.line("mov.u64 %rd2, module_table;\ncvta.const.u64 %rd3, %rd2;\nld.u32 %r4, [%rd3+8];");
    k.store("cvta.const", "%r4", 32, Tolerance::Exact);
    k.draft()
}

/// `cp.async` in every size, with zero fill, groups and waits.
fn copies(seed: u64) -> Vec<Draft> {
    let mut out = vec![];
    for (opcode, bytes) in [
        ("ca", 4),
        ("ca", 8),
        ("ca", 16),
        ("cg", 16),
        ("cg.shared.global.L2::128B", 16),
    ] {
        let opcode = match opcode {
            "ca" | "cg" => format!("cp.async.{opcode}.shared.global"),
            hinted => format!("cp.async.{hinted}"),
        };
        let name = format!("{opcode} {bytes}");
        let mut k = Kernel::new(&name, SM80, THREADS as u32);
        let input = k.input(bytes_of(seed, &name, 3 * bytes));
        k.line(format!(".shared .align 16 .b8 s[{}];\nmov.u32 %r0, s;\nmad.lo.u32 %r0, %t, {}, %r0;\nmad.wide.u32 %rd0, %t, {}, %in{input};", 3 * bytes * THREADS, 3 * bytes, 3 * bytes));
        // Source sizes from 0 to the whole, by thread, and a predicate that leaves out a copy.
        k.line(format!(
            "and.b32 %r1, %t, {};\nand.b32 %r2, %t, 1;\nsetp.eq.u32 %p0, %r2, 1;",
            2 * bytes - 1
        ));
        k.line(format!("min.u32 %r1, %r1, {bytes};"));
        k.line(format!(
            "{opcode} [%r0], [%rd0], {bytes};\ncp.async.commit_group;"
        ));
        k.line(format!("{opcode} [%r0+{bytes}], [%rd0+{bytes}], {bytes}, %r1;\ncp.async.commit_group;\ncp.async.wait_group 1;"));
        k.line("ld.shared.b32 %r3, [%r0];");
        k.store(&name, "%r3", 32, Tolerance::Exact);
        k.line(format!(
            "{opcode} [%r0+{}], [%rd0+{}], {bytes}, %p0;\ncp.async.wait_all;",
            2 * bytes,
            2 * bytes
        ));
        for word in 1..3 * bytes / 4 {
            k.line(format!("ld.shared.b32 %r3, [%r0+{}];", 4 * word));
            k.store(&name, "%r3", 32, Tolerance::Exact);
        }
        out.push(k.draft());
    }
    out
}

fn bytes_of(seed: u64, name: &str, each: usize) -> Vec<u8> {
    bytes(seed, name, each)
}

/// `ldmatrix`, `stmatrix`, `movmatrix`: 8 x 8 matrices of 16-bit elements, rows anywhere.
fn matrix_moves(seed: u64) -> Vec<Draft> {
    let mut out = vec![];
    for n in [1, 2, 4] {
        for trans in ["", ".trans"] {
            let registers = (0..n).map(|i| format!("%r{}", 10 + i)).collect::<Vec<_>>();
            let list = registers.join(", ");
            let load = format!("ldmatrix.sync.aligned.m8n8.x{n}{trans}.shared.b16");
            let store = format!("stmatrix.sync.aligned.m8n8.x{n}{trans}.shared.b16");
            // Row r of lane l lies at (13 l mod 32) * 16: another order than the lanes'.
            let place = ".shared .align 16 .b8 s[512];\nmov.u32 %r0, s;\nmul.lo.u32 %r1, %t, 13;\nand.b32 %r1, %r1, 31;\nmad.lo.u32 %r1, %r1, 16, %r0;\nmad.lo.u32 %r2, %t, 16, %r0;";
            let mut k = Kernel::new(&load, SM80, 32);
            let input = k.input(bytes(seed, &load, 8)[..512].to_vec());
            k.line(place).line(format!("mad.wide.u32 %rd0, %t, 16, %in{input};\nld.global.v4.b32 {{%r3, %r4, %r5, %r6}}, [%rd0];\nst.shared.v4.b32 [%r2], {{%r3, %r4, %r5, %r6}};\nbar.sync 0;"));
            k.line(format!("{load} {{{list}}}, [%r1];"));
            for r in &registers {
                k.store(&load, r, 32, Tolerance::Exact);
            }
            out.push(k.draft());
            let mut k = Kernel::new(&store, SM90, 32);
            let input = k.input(bytes(seed, &store, 8)[..512].to_vec());
            k.line(place).line(
                "mov.u32 %r3, 0;\nst.shared.v4.b32 [%r2], {%r3, %r3, %r3, %r3};\nbar.sync 0;",
            );
            k.line(format!("mad.wide.u32 %rd0, %t, 16, %in{input};"));
            for (i, r) in registers.iter().enumerate() {
                k.line(format!("ld.global.b32 {r}, [%rd0+{}];", 4 * i));
            }
            k.line(format!("{store} [%r1], {{{list}}};\nbar.sync 0;\nld.shared.v4.b32 {{%r3, %r4, %r5, %r6}}, [%r2];"));
            for r in ["%r3", "%r4", "%r5", "%r6"] {
                k.store(&store, r, 32, Tolerance::Exact);
            }
            out.push(k.draft());
        }
    }
    let opcode = "movmatrix.sync.aligned.m8n8.trans.b16";
    let mut k = Kernel::new(opcode, SM80, 32);
    let input = k.input(bytes(seed, opcode, 4)[..128].to_vec());
    k.line(format!(
        "mad.wide.u32 %rd0, %t, 4, %in{input};\nld.global.b32 %r0, [%rd0];\n{opcode} %r1, %r0;"
    ));
    k.store(opcode, "%r1", 32, Tolerance::Exact);
    out.push(k.draft());
    out
}
