//! `wgmma.mma_async`: sizes, types, layouts, transposition, signs.

use super::cases::{Draft, FloatFormat, Tolerance};
use super::matrix::register;
use super::text::{Kernel, SM90};
use super::values::Random;

/// One warpgroup product. The operand tiles are 16 KiB of exact random elements, so that any layout that a
/// descriptor names finds its elements inside.
struct Product {
    n: usize,
    /// Types of D, A and B.
    types: &'static str,
    /// Descriptor bits without the address: swizzle, strides.
    a: Option<u64>,
    b: u64,
    trans: (u8, u8),
    signs: (i32, i32),
    keep: bool,
    exact: bool,
}

const fn descriptor(swizzle: u64, leading: u64, stride: u64) -> u64 {
    swizzle << 62 | (leading >> 4) << 16 | (stride >> 4) << 32
}

pub fn drafts(seed: u64) -> Vec<Draft> {
    let plain = descriptor(0, 128, 256);
    let (s128, s64, s32) = (
        descriptor(1, 16, 1024),
        descriptor(2, 16, 512),
        descriptor(3, 16, 256),
    );
    let base = || Product {
        n: 64,
        types: "f32.bf16.bf16",
        a: Some(s128),
        b: s128,
        trans: (0, 0),
        signs: (1, 1),
        keep: true,
        exact: true,
    };
    let mut all = vec![];
    for n in [8, 16, 24, 64, 96, 128] {
        all.push(Product { n, ..base() });
    }
    for types in ["f32.f16.f16", "f16.f16.f16", "f32.tf32.tf32"] {
        all.push(Product { types, ..base() });
        all.push(Product {
            types,
            a: None,
            ..base()
        });
    }
    for layout in [plain, s64, s32] {
        all.push(Product {
            a: Some(layout),
            b: layout,
            ..base()
        });
    }
    // Blocks of 64 columns of the major dimension, 64 rows of K of 128 bytes each.
    let major = descriptor(1, 8192, 1024);
    all.push(Product {
        b: major,
        trans: (0, 1),
        ..base()
    });
    all.push(Product {
        a: Some(major),
        trans: (1, 0),
        ..base()
    });
    all.push(Product {
        a: None,
        b: major,
        trans: (0, 1),
        ..base()
    });
    all.push(Product {
        signs: (-1, 1),
        ..base()
    });
    all.push(Product {
        signs: (1, -1),
        keep: false,
        ..base()
    });
    all.push(Product {
        exact: false,
        ..base()
    });
    all.push(Product {
        exact: false,
        a: None,
        types: "f32.tf32.tf32",
        ..base()
    });
    all.iter()
        .enumerate()
        .map(|(i, p)| product(seed, i, p))
        .collect()
}

fn product(seed: u64, index: usize, p: &Product) -> Draft {
    let parts: Vec<&str> = p.types.split('.').collect();
    let depth = if parts[1] == "tf32" { 8 } else { 16 };
    let opcode = format!(
        "wgmma.mma_async.sync.aligned.m64n{}k{depth}.{}",
        p.n, p.types
    );
    let name = format!("{opcode} {index}");
    let mut random = Random::new(seed, &name);
    let mut k = Kernel::new(&name, SM90, 128);
    let mut data = |ty: &str, n: usize| -> Vec<u8> {
        (0..n)
            .flat_map(|_| register(&mut random, ty, p.exact).to_le_bytes())
            .collect()
    };
    let (a, b) = (k.input(data(parts[1], 4096)), k.input(data(parts[1], 4096)));
    let half = parts[0] == "f16";
    let (count, class) = if half {
        (p.n / 4, "b32")
    } else {
        (p.n / 2, "f32")
    };
    let c = k.input(data(parts[0], 128 * count));
    k.line(format!(".shared .align 1024 .b8 ta[16384];\n.shared .align 1024 .b8 tb[16384];\n.reg .{class} c<{count}>;"));
    for (tile, input) in [("ta", a), ("tb", b)] {
        k.line(format!("mov.u32 %r0, {tile};\nmad.lo.u32 %r0, %t, 16, %r0;\nmad.wide.u32 %rd0, %t, 16, %in{input};\nmov.u32 %r1, 0;\nCOPY_{tile}:\nld.global.v4.b32 {{%r2, %r3, %r4, %r5}}, [%rd0];\nst.shared.v4.b32 [%r0], {{%r2, %r3, %r4, %r5}};"));
        k.line(format!("add.u32 %r0, %r0, 2048;\nadd.s64 %rd0, %rd0, 2048;\nadd.u32 %r1, %r1, 1;\nsetp.lt.u32 %p1, %r1, 8;\n@%p1 bra COPY_{tile};"));
    }
    k.line(format!("mad.wide.u32 %rd1, %t, {}, %in{c};", 4 * count));
    for i in 0..count {
        k.line(format!("ld.global.{class} c{i}, [%rd1+{}];", 4 * i));
    }
    let first = match p.a {
        Some(bits) => format!(
            "mov.u32 %r6, ta;\nshr.u32 %r6, %r6, 4;\nand.b32 %r6, %r6, 0x3fff;\ncvt.u64.u32 %rd2, %r6;\nor.b64 %rd2, %rd2, {bits:#x};"
        ),
        None => format!(
            "mad.wide.u32 %rd3, %t, 16, %in{a};\nld.global.v4.b32 {{%r10, %r11, %r12, %r13}}, [%rd3];"
        ),
    };
    k.line(first);
    k.line(format!("mov.u32 %r7, tb;\nshr.u32 %r7, %r7, 4;\nand.b32 %r7, %r7, 0x3fff;\ncvt.u64.u32 %rd4, %r7;\nor.b64 %rd4, %rd4, {:#x};", p.b));
    k.line(format!(
        "setp.ne.u32 %p2, {}, 0;\nfence.proxy.async;\nbar.sync 0;\nwgmma.fence.sync.aligned;",
        u8::from(p.keep)
    ));
    let list = (0..count)
        .map(|i| format!("c{i}"))
        .collect::<Vec<_>>()
        .join(", ");
    let from = if p.a.is_some() {
        "%rd2"
    } else {
        "{%r10, %r11, %r12, %r13}"
    };
    let trans = match (parts[1], p.a) {
        ("tf32", _) => String::new(),
        (_, None) => format!(", {}", p.trans.1),
        _ => format!(", {}, {}", p.trans.0, p.trans.1),
    };
    k.line(format!("{opcode} {{{list}}}, {from}, %rd4, %p2, {}, {}{trans};\nwgmma.commit_group.sync.aligned;\nwgmma.wait_group.sync.aligned 0;", p.signs.0, p.signs.1));
    let tolerance = if p.exact {
        Tolerance::Exact
    } else {
        Tolerance::Near {
            format: FloatFormat::F32,
            ulps: 0.0,
            absolute: 1e-5,
        }
    };
    for i in 0..count {
        k.store(&opcode, &format!("c{i}"), 32, tolerance);
    }
    k.draft()
}
