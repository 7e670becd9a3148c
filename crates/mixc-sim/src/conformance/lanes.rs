//! One kernel for each arithmetic form: every thread takes operands of its own and stores one result.

use super::cases::{Draft, FloatFormat, Tolerance};
use super::forms::{Accuracy, FORMS, Form};
use super::pattern::expand;
use super::text::{Kernel, SM80, SM90};
use super::values::{Domain, Random, operands};
use crate::syntax::ast::Ty;

const THREADS: usize = 384;

pub fn drafts(seed: u64) -> Vec<Draft> {
    let mut out = vec![];
    for (n, form) in FORMS.iter().enumerate() {
        for opcode in expand(form.opcodes) {
            out.push(draft(seed, n, form, &opcode));
        }
    }
    out.extend(bodies().iter().map(|b| body_draft(seed, b)));
    out
}

fn types(opcode: &str) -> Vec<Ty> {
    opcode.split('.').filter_map(Ty::from_name).collect()
}

fn wider(ty: Ty) -> Ty {
    match ty {
        Ty::U16 => Ty::U32,
        Ty::S16 => Ty::S32,
        Ty::U32 => Ty::U64,
        _ => Ty::S64,
    }
}

fn draft(seed: u64, row: usize, form: &Form, opcode: &str) -> Draft {
    let all = types(opcode);
    let (first, last) = (all[0], all[all.len() - 1]);
    let ty = |word: &str| match word {
        "t" => last,
        "s" => first,
        "w" => wider(last),
        word => Ty::from_name(word).unwrap_or_else(|| panic!("bug: `{word}` in a signature")),
    };
    let words: Vec<&str> = form.signature.split(' ').collect();
    let result = ty(words[0]);
    let mut call = format!("{opcode} d");
    let mut sources = vec![];
    for word in &words[1..] {
        if let Some(constant) = word.strip_prefix('#') {
            call += &format!(", {constant}");
            continue;
        }
        let domain = form.domains[sources.len().min(form.domains.len() - 1)];
        call += &format!(", s{}", sources.len());
        sources.push((ty(word), domain));
    }
    let body = Body {
        name: format!("{row}:{opcode}"),
        label: opcode.to_string(),
        text: call + ";",
        result: (result, format_of(opcode, result)),
        sources,
        accuracy: form.accuracy,
        newer: form.newer,
    };
    body_draft(seed, &body)
}

/// Results of conversions to tf32 are floats in a 32-bit register.
fn format_of(opcode: &str, result: Ty) -> Option<FloatFormat> {
    if opcode.starts_with("mov") || opcode.starts_with("selp") || opcode.starts_with("slct") {
        return None;
    }
    if opcode.contains("tf32") {
        Some(FloatFormat::F32)
    } else {
        FloatFormat::of(result)
    }
}

/// Instructions from sources `s0`, `s1`, .. to `d`.
struct Body {
    name: String,
    label: String,
    text: String,
    result: (Ty, Option<FloatFormat>),
    sources: Vec<(Ty, Domain)>,
    accuracy: Accuracy,
    newer: bool,
}

/// The register type that holds a value: there are none of 8 bits.
fn register(ty: Ty) -> String {
    match ty {
        Ty::Pred => "pred".to_string(),
        ty if ty.bits() == 8 => "b32".to_string(),
        ty => format!("b{}", ty.bits()),
    }
}

fn body_draft(seed: u64, b: &Body) -> Draft {
    let mut random = Random::new(seed, &b.name);
    let mut k = Kernel::new(&b.name, if b.newer { SM90 } else { SM80 }, THREADS as u32);
    let (result, format) = b.result;
    k.line(format!(".reg .{} d;", register(result)));
    for (n, &(ty, domain)) in b.sources.iter().enumerate() {
        let values = operands(&mut random, ty, domain, n, THREADS);
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        let input = k.input(bytes);
        k.line(format!(".reg .{} s{n};", register(ty)));
        k.line(format!("mad.wide.u32 %rd0, %t, 8, %in{input};"));
        if ty == Ty::Pred {
            k.line("ld.global.u32 %r0, [%rd0];");
            k.line(format!("setp.ne.u32 s{n}, %r0, 0;"));
        } else {
            k.line(format!("ld.global.{} s{n}, [%rd0];", register(ty)));
        }
    }
    k.line(&b.text);
    let tolerance = match (b.accuracy, format) {
        (_, None) => Tolerance::Exact,
        (Accuracy::Exact, Some(format)) => Tolerance::Float { format },
        (Accuracy::Ulps(ulps), Some(format)) => Tolerance::Near {
            format,
            ulps,
            absolute: 0.0,
        },
        (Accuracy::Within { ulps, absolute }, Some(format)) => Tolerance::Near {
            format,
            ulps,
            absolute,
        },
    };
    match result {
        Ty::Pred => {
            k.line("selp.b32 %r1, 1, 0, d;");
            k.store(&b.label, "%r1", 32, tolerance);
        }
        ty if ty.bits() == 16 => {
            k.line("cvt.u32.u16 %r1, d;");
            k.store(&b.label, "%r1", 32, tolerance);
        }
        ty => {
            k.store(&b.label, "d", ty.bits().max(32), tolerance);
        }
    }
    k.draft()
}

/// Comparisons, carries, packing: more than one instruction or result.
fn bodies() -> Vec<Body> {
    let mut out = vec![];
    let mut add = |label: &str, text: String, result: Ty, sources: &[Ty], newer: bool| {
        let name = format!("{label} {}", out.len());
        let sources = sources.iter().map(|t| (*t, Domain::Any)).collect();
        let label = label.to_string();
        let accuracy = Accuracy::Exact;
        out.push(Body {
            name,
            label,
            text,
            result: (result, None),
            sources,
            accuracy,
            newer,
        });
    };
    let both = "selp.b32 d, 1, 0, p;\nselp.b32 %r1, 2, 0, q;\nor.b32 d, d, %r1;";
    let patterns = [
        ("setp.{eq,ne,lt,le,gt,ge}.{u16,s16,u32,s32,u64,s64}", false),
        ("setp.{eq,ne}.{b16,b32,b64}", false),
        ("setp.{lo,ls,hi,hs}.{u16,u32,u64}", false),
        (
            "setp.{eq,ne,lt,le,gt,ge,equ,neu,ltu,leu,gtu,geu,num,nan}{,.ftz}.f32",
            false,
        ),
        (
            "setp.{eq,ne,lt,le,gt,ge,equ,neu,ltu,leu,gtu,geu,num,nan}.{f64,f16}",
            false,
        ),
        (
            "setp.{eq,ne,lt,le,gt,ge,equ,neu,ltu,leu,gtu,geu,num,nan}.f16x2",
            false,
        ),
        (
            "setp.{eq,ne,lt,le,gt,ge,equ,neu,ltu,leu,gtu,geu,num,nan}.{bf16,bf16x2}",
            true,
        ),
    ];
    for (pattern, newer) in patterns {
        for opcode in expand(pattern) {
            let ty = types(&opcode)[0];
            // Single halves have no second result.
            let text = if let Ty::F16 | Ty::Bf16 = ty {
                format!(".reg .pred p;\n{opcode} p, s0, s1;\nselp.b32 d, 1, 0, p;")
            } else {
                format!(".reg .pred p, q;\n{opcode} p|q, s0, s1;\n{both}")
            };
            add(&opcode, text, Ty::U32, &[ty, ty], newer);
        }
    }
    for opcode in expand("setp.{lt,ge}.{and,or,xor}.{s32,f32}") {
        let ty = types(&opcode)[0];
        let text = format!(".reg .pred p, q;\n{opcode} p|q, s0, s1, !s2;\n{both}");
        add(&opcode, text, Ty::U32, &[ty, ty, Ty::Pred], false);
    }
    for opcode in expand("set.{lt,ge}.{and,or,xor}.{u32,f32}.{s32,f32}") {
        let ty = types(&opcode)[1];
        add(
            &opcode,
            format!("{opcode} d, s0, s1, s2;"),
            Ty::B32,
            &[ty, ty, Ty::Pred],
            false,
        );
    }
    for (first, second) in [
        ("add.cc", "addc"),
        ("sub.cc", "subc"),
        ("add.cc", "addc.cc"),
        ("sub.cc", "subc.cc"),
    ] {
        for (ty, half) in [("u32", Ty::U32), ("s32", Ty::S32)] {
            let text = format!(
                "mov.b64 {{%r0, %r1}}, s0;\nmov.b64 {{%r2, %r3}}, s1;\n{first}.{ty} %r4, %r0, %r2;\n{second}.{ty} %r5, %r1, %r3;\n\
                 addc.u32 %r6, 0, 0;\nxor.b32 %r4, %r4, %r6;\nmov.b64 d, {{%r4, %r5}};"
            );
            // The carry of the second step is defined only where it sets one.
            let text = if second.ends_with(".cc") {
                text
            } else {
                text.replace("addc.u32 %r6, 0, 0;", "mov.u32 %r6, 0;")
            };
            let _ = half;
            add(
                &format!("{first} {second}.{ty}"),
                text,
                Ty::U64,
                &[Ty::U64, Ty::U64],
                false,
            );
        }
    }
    let text = "mov.b64 {%r0, %r1}, s2;\nmad.lo.cc.u32 %r2, s0, s1, %r0;\nmadc.hi.u32 %r3, s0, s1, %r1;\nmov.b64 d, {%r2, %r3};";
    add(
        "mad.lo.cc madc.hi.u32",
        text.to_string(),
        Ty::U64,
        &[Ty::U32, Ty::U32, Ty::U64],
        false,
    );
    let text = "mov.b64 {%r0, %r1}, s2;\nmad.lo.cc.s32 %r2, s0, s1, %r0;\nmadc.hi.cc.s32 %r3, s0, s1, %r1;\naddc.u32 %r4, 0, 0;\nxor.b32 %r3, %r3, %r4;\nmov.b64 d, {%r2, %r3};";
    add(
        "mad.lo.cc madc.hi.cc.s32",
        text.to_string(),
        Ty::U64,
        &[Ty::S32, Ty::S32, Ty::U64],
        false,
    );
    let packs = [
        (
            "mov.b32 {a, b}",
            "mov.b32 {%h0, %h1}, s0;\nmov.b32 d, {%h1, %h0};",
            Ty::B32,
            Ty::B32,
        ),
        (
            "mov.b64 {a, b}",
            "mov.b64 {%r0, %r1}, s0;\nmov.b64 d, {%r1, %r0};",
            Ty::B64,
            Ty::B64,
        ),
        (
            "mov.b64 {a, b, c, e}",
            "mov.b64 {%h0, %h1, %h2, %h3}, s0;\nmov.b64 d, {%h2, %h0, %h3, %h1};",
            Ty::B64,
            Ty::B64,
        ),
        ("mov.b64 {_, b}", "mov.b64 {_, d}, s0;", Ty::B32, Ty::B64),
    ];
    for (label, text, to, from) in packs {
        add(label, text.to_string(), to, &[from], false);
    }
    out
}
