//! `mma.sync` in every shape and type: once with operands whose sums are exact, once with random ones.

use super::cases::{Draft, FloatFormat, Tolerance};
use super::text::{Kernel, SM80};
use super::values::Random;
use crate::numeric::half_precision::{bf16_of, f16_of};

/// Shape, types of D, A, B and C, and the registers of A, B and C.
const SHAPES: &[(&str, &str, [usize; 3])] = &[
    ("m16n8k8", "f32.f16.f16.f32", [2, 1, 4]),
    ("m16n8k8", "f32.bf16.bf16.f32", [2, 1, 4]),
    ("m16n8k16", "f32.f16.f16.f32", [4, 2, 4]),
    ("m16n8k16", "f32.bf16.bf16.f32", [4, 2, 4]),
    ("m16n8k8", "f16.f16.f16.f16", [2, 1, 2]),
    ("m16n8k16", "f16.f16.f16.f16", [4, 2, 2]),
    ("m16n8k4", "f32.tf32.tf32.f32", [2, 1, 4]),
    ("m16n8k8", "f32.tf32.tf32.f32", [4, 2, 4]),
    ("m16n8k16", "s32.s8.s8.s32", [2, 1, 4]),
    ("m16n8k16", "s32.u8.s8.s32", [2, 1, 4]),
    ("m16n8k32", "s32.s8.s8.s32", [4, 2, 4]),
    ("m16n8k32", "s32.u8.u8.s32", [4, 2, 4]),
    ("m16n8k32", "s32.s8.u8.s32", [4, 2, 4]),
];

pub fn drafts(seed: u64) -> Vec<Draft> {
    let all = SHAPES.iter().flat_map(|s| [(s, true), (s, false)]);
    all.map(|(s, exact)| product(seed, *s, exact)).collect()
}

/// A register of elements of a type: small multiples of 1/4, or values within [-1, 1].
pub fn register(random: &mut Random, ty: &str, exact: bool) -> u32 {
    let mut value = || match exact {
        true => random.quarter(),
        false => (random.next() >> 40) as f32 / (1 << 23) as f32 - 1.0,
    };
    match ty {
        "f16" => u32::from(f16_of(value())) | u32::from(f16_of(value())) << 16,
        "bf16" => u32::from(bf16_of(value())) | u32::from(bf16_of(value())) << 16,
        "tf32" => value().to_bits() & 0xffff_e000,
        "f32" => value().to_bits(),
        "s32" => random.next() as u32 >> 4,
        _ => random.next() as u32,
    }
}

fn product(seed: u64, (shape, types, counts): (&str, &str, [usize; 3]), exact: bool) -> Draft {
    let opcode = format!("mma.sync.aligned.{shape}.row.col.{types}");
    let name = format!("{opcode} {}", if exact { "exact" } else { "random" });
    let mut random = Random::new(seed, &name);
    let mut k = Kernel::new(&name, SM80, 32);
    let parts: Vec<&str> = types.split('.').collect();
    let mut next = 0;
    let mut lists = vec![];
    for (n, &count) in counts.iter().enumerate() {
        let ty = parts[1 + n];
        let words = (0..32 * count).flat_map(|_| register(&mut random, ty, exact).to_le_bytes());
        let input = k.input(words.collect());
        k.line(format!("mad.wide.u32 %rd0, %t, {}, %in{input};", 4 * count));
        let class = if ty == "f32" { "f" } else { "r" };
        let list: Vec<String> = (0..count)
            .map(|i| format!("%{class}{}", next + i))
            .collect();
        for (i, r) in list.iter().enumerate() {
            k.line(format!("ld.global.b32 {r}, [%rd0+{}];", 4 * i));
        }
        next += count;
        lists.push(list.join(", "));
    }
    let float = parts[0] == "f32";
    let results: Vec<String> = (0..counts[2])
        .map(|i| format!("%{}{}", if float { "f" } else { "r" }, 40 + i))
        .collect();
    k.line(format!(
        "{opcode} {{{}}}, {{{}}}, {{{}}}, {{{}}};",
        results.join(", "),
        lists[0],
        lists[1],
        lists[2]
    ));
    // PTX asks for at least single precision in sums; hardware may cut terms off below the largest one.
    let tolerance = match (exact, parts[0]) {
        (true, _) | (_, "s32") => Tolerance::Exact,
        (_, "f16") => Tolerance::Near {
            format: FloatFormat::F16x2,
            ulps: 2.0,
            absolute: 0.01,
        },
        _ => Tolerance::Near {
            format: FloatFormat::F32,
            ulps: 0.0,
            absolute: 1e-5,
        },
    };
    for r in &results {
        k.store(&opcode, r, 32, tolerance);
    }
    k.draft()
}
