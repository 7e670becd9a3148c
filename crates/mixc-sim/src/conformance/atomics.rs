//! `atom` and `red`: each thread in a place of its own, then all in one.

use super::cases::{Draft, Tolerance};
use super::memory::THREADS;
use super::pattern::expand;
use super::text::{Kernel, SM80, SM90};
use super::values::Random;
use crate::syntax::ast::Ty;

pub fn drafts(seed: u64) -> Vec<Draft> {
    let mut out = vec![];
    let sm80 = [
        "{global,shared}.{add,min,max}.{u32,s32,u64}",
        "{global,shared}.{min,max}.s64",
        "{global,shared}.{and,or,xor}.{b32,b64}",
        "{global,shared}.{exch,cas}.{b32,b64}",
        "{global,shared}.{inc,dec}.u32",
        "{global,shared}.add.{f32,f64}",
        "{global,shared}.add.noftz.{f16,f16x2}",
        "global.{relaxed,acquire,release,acq_rel}.gpu.add.u32",
        "global.cas.b16",
    ];
    let sm90 = ["{global,shared}.add.noftz.{bf16,bf16x2}"];
    let forms = sm80
        .iter()
        .map(|p| (p, SM80))
        .chain(sm90.iter().map(|p| (p, SM90)));
    for (pattern, target) in forms {
        for rest in expand(pattern) {
            out.push(atomic(seed, &format!("atom.{rest}"), target));
            let reduces = !["exch", "cas", "acq", "acquire"]
                .iter()
                .any(|w| rest.contains(w));
            if reduces {
                out.push(atomic(seed, &format!("red.{rest}"), target));
            }
        }
    }
    for (n, ty) in [
        (2, "f32"),
        (4, "f32"),
        (2, "f16"),
        (4, "bf16"),
        (2, "bf16x2"),
        (8, "f16"),
    ] {
        out.push(vector_atomic(seed, n, ty));
    }
    out
}

/// Each thread has a place of its own (its old value is stored) and shares one with all others (order must
/// not matter, so values are small multiples).
fn atomic(seed: u64, opcode: &str, target: &'static str) -> Draft {
    let ty = opcode
        .split('.')
        .filter_map(Ty::from_name)
        .next_back()
        .expect("bug: no type");
    let mut random = Random::new(seed, opcode);
    let (bits, bytes) = (ty.bits(), ty.bytes() as usize);
    let value = |random: &mut Random| -> u64 {
        let q = random.quarter();
        match ty {
            Ty::F32 => u64::from(q.to_bits()),
            Ty::F64 => f64::from(q).to_bits(),
            Ty::F16 => u64::from(crate::numeric::half_precision::f16_of(q)),
            Ty::Bf16 => u64::from(crate::numeric::half_precision::bf16_of(q)),
            Ty::F16x2 => u64::from(crate::numeric::half_precision::f16_of(q)) * 0x1_0001,
            Ty::Bf16x2 => u64::from(crate::numeric::half_precision::bf16_of(q)) * 0x1_0001,
            _ => random.below(6),
        }
    };
    let column = |random: &mut Random| -> Vec<u8> {
        (0..THREADS)
            .flat_map(|_| value(random).to_le_bytes()[..bytes].to_vec())
            .collect()
    };
    let mut k = Kernel::new(opcode, target, THREADS as u32);
    let places = k.input(column(&mut random));
    let operands = k.input(column(&mut random));
    let thirds = k.input(column(&mut random));
    k.line(format!(".reg .b{bits} old, v, w;"));
    k.line(format!("mad.wide.u32 %rd1, %t, {bytes}, %in{operands};\nld.global.b{bits} v, [%rd1];\nmad.wide.u32 %rd2, %t, {bytes}, %in{thirds};\nld.global.b{bits} w, [%rd2];"));
    k.line(format!("mad.wide.u32 %rd0, %t, {bytes}, %in{places};"));
    let shared = opcode.contains(".shared");
    if shared {
        k.line(format!(".shared .align 8 .b8 s[{}];\nld.global.b{bits} old, [%rd0];\nmov.u64 %rd3, s;\nmad.wide.u32 %rd0, %t, {bytes}, %rd3;\nst.shared.b{bits} [%rd0], old;\nbar.sync 0;", bytes * THREADS));
    }
    let third = if opcode.contains(".cas") { ", w" } else { "" };
    let returns = opcode.starts_with("atom");
    if returns {
        k.line(format!("{opcode} old, [%rd0], v{third};"));
    } else {
        k.line(format!("{opcode} [%rd0], v;"));
    }
    let wide = |k: &mut Kernel, r: &str| {
        if bits == 16 {
            k.line(format!("cvt.u32.u16 %r9, {r};"));
            "%r9".to_string()
        } else {
            r.to_string()
        }
    };
    if returns {
        let r = wide(&mut k, "old");
        k.store(
            &format!("{opcode}: old value"),
            &r,
            bits.max(32),
            Tolerance::Exact,
        );
    }
    let space = if shared { "shared" } else { "global" };
    k.line(format!("ld.{space}.b{bits} w, [%rd0];"));
    let r = wide(&mut k, "w");
    k.store(
        &format!("{opcode}: new value"),
        &r,
        bits.max(32),
        Tolerance::Exact,
    );
    // All threads into the first place; exchanges would depend on the order.
    if !opcode.contains(".exch") && !opcode.contains(".cas") {
        let first = if shared {
            "s".to_string()
        } else {
            format!("%in{places}")
        };
        let what = if returns {
            format!("{opcode} old, [{first}], v;")
        } else {
            format!("{opcode} [{first}], v;")
        };
        k.line("bar.sync 0;").line(what).line("bar.sync 0;");
        let load = if shared { "ld.shared" } else { "ld.global.cv" };
        k.line(format!("{load}.b{bits} w, [{first}];"));
        let r = wide(&mut k, "w");
        k.store(
            &format!("{opcode}: all threads"),
            &r,
            bits.max(32),
            Tolerance::Exact,
        );
    }
    k.draft()
}

fn vector_atomic(seed: u64, n: usize, ty: &str) -> Draft {
    let of = Ty::from_name(ty).expect("bug: a type");
    let (bits, bytes) = (of.bits(), of.bytes() as usize);
    let noftz = if ty == "f32" { "" } else { ".noftz" };
    let opcode = format!("red.global.add{noftz}.v{n}.{ty}");
    let mut random = Random::new(seed, &opcode);
    let mut k = Kernel::new(&opcode, SM90, THREADS as u32);
    // Zeros and ones of the format: sums stay exact.
    let one: u64 = match ty {
        "f32" => u64::from(1f32.to_bits()),
        "f16" => 0x3c00,
        "bf16" => 0x3f80,
        _ => 0x3f80_3f80,
    };
    let mut column = || -> Vec<u8> {
        let mut v = || (one * random.below(2)).to_le_bytes()[..bytes].to_vec();
        (0..THREADS * n).flat_map(|_| v()).collect()
    };
    let (places, operands) = (k.input(column()), k.input(column()));
    let list: Vec<String> = (0..n).map(|i| format!("v{i}")).collect();
    k.line(format!(".reg .b{bits} {}, x;", list.join(", ")));
    k.line(format!(
        "mad.wide.u32 %rd0, %t, {}, %in{operands};\nmad.wide.u32 %rd1, %t, {}, %in{places};",
        n * bytes,
        n * bytes
    ));
    for (i, v) in list.iter().enumerate() {
        k.line(format!("ld.global.b{bits} {v}, [%rd0+{}];", i * bytes));
    }
    k.line(format!("{opcode} [%rd1], {{{}}};", list.join(", ")));
    for i in 0..n {
        k.line(format!("ld.global.b{bits} x, [%rd1+{}];", i * bytes));
        if bits == 16 {
            k.line("cvt.u32.u16 %r0, x;");
        } else {
            k.line("mov.b32 %r0, x;");
        }
        k.store(&opcode, "%r0", 32, Tolerance::Exact);
    }
    k.draft()
}
