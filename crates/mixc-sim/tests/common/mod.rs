//! Short kernels around the instructions under test.
#![allow(dead_code)]

use mixc_sim::{Arg, Memory, Module, Options, Report};

pub fn parse(text: &str) -> Module {
    Module::parse(text)
        .unwrap_or_else(|errors| panic!("{}", mixc_text::Source::new("ptx", text).render(&errors)))
}

pub fn header() -> &'static str {
    ".version 8.3\n.target sm_90a\n.address_size 64\n"
}

/// A kernel `k` with pointer parameters `p0`, `p1`, .. already in `%rd0`, `%rd1`, .. and `%tid.x` in
/// `%t`.
pub fn kernel(params: usize, module_scope: &str, body: &str) -> String {
    let list: Vec<String> = (0..params).map(|n| format!(".param .u64 p{n}")).collect();
    let loads: String = (0..params)
        .map(|n| format!("ld.param.u64 %rd{n}, [p{n}];\n"))
        .collect();
    format!(
        "{}{module_scope}\n.visible .entry k({}) {{\n.reg .pred %p<16>;\n.reg .b16 %h<16>;\n.reg .b32 %r<128>;\n\
         .reg .b64 %rd<32>;\n.reg .f32 %f<64>;\n.reg .f64 %fd<8>;\n.reg .b32 %t;\n{loads}mov.u32 %t, %tid.x;\n{body}\nret;\n}}\n",
        header(),
        list.join(", ")
    )
}

pub fn run(text: &str, grid: u32, block: u32, args: &[Arg], memory: &mut Memory) -> Report {
    run_shared(text, grid, block, 0, args, memory)
}

pub fn run_shared(
    text: &str,
    grid: u32,
    block: u32,
    shared: u32,
    args: &[Arg],
    memory: &mut Memory,
) -> Report {
    let module = parse(text);
    let entry = module.entries()[0].name.clone();
    module
        .launch(
            &entry,
            [grid, 1, 1],
            [block, 1, 1],
            shared,
            args,
            memory,
            &Options::default(),
        )
        .unwrap()
}

#[track_caller]
pub fn clean(report: &Report) {
    assert!(report.findings.is_empty(), "{}", report.findings[0]);
}

/// Runs `body` on registers `a`, `b`, `c` of types `types[1..]`, lane by lane on `inputs`, and returns
/// the bits of `d` of type `types[0]`.
#[track_caller]
pub fn lanes(body: &str, types: &[&str], inputs: &[&[u64]]) -> Vec<u64> {
    let n = inputs[0].len();
    let names = ["a", "b", "c", "e"];
    let mut text = format!(".reg .{} d;\n", types[0]);
    let bits = |ty: &str| -> u32 {
        ty.trim_start_matches(|c: char| c.is_alphabetic())
            .parse()
            .unwrap_or(32)
    };
    text += "mul.wide.u32 %rd20, %t, 8;\n";
    for (i, ty) in types[1..].iter().enumerate() {
        let name = names[i];
        text += &format!(".reg .{ty} {name};\nadd.s64 %rd21, %rd{}, %rd20;\n", i + 1);
        if *ty == "pred" {
            text += &format!("ld.global.u32 %r100, [%rd21];\nsetp.ne.u32 {name}, %r100, 0;\n");
        } else {
            text += &format!("ld.global.b{} {name}, [%rd21];\n", bits(ty));
        }
    }
    text += body;
    text += "\nadd.s64 %rd21, %rd0, %rd20;\n";
    if types[0] == "pred" {
        text += "selp.u32 %r101, 1, 0, d;\nst.global.u32 [%rd21], %r101;\n";
    } else {
        text += &format!("st.global.b{} [%rd21], d;\n", bits(types[0]));
    }
    let mut memory = Memory::new();
    let out = memory.alloc("out", &vec![0; 8 * n]);
    let mut args = vec![Arg::Buffer(out)];
    for (i, values) in inputs.iter().enumerate() {
        assert_eq!(values.len(), n, "inputs of one length");
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        args.push(Arg::Buffer(memory.alloc(names[i], &bytes)));
    }
    let report = run(
        &kernel(types.len(), "", &text),
        1,
        n as u32,
        &args,
        &mut memory,
    );
    clean(&report);
    memory
        .bytes(out)
        .chunks(8)
        .map(|c| u64::from_le_bytes(c.try_into().unwrap()))
        .collect()
}

pub fn f(v: f32) -> u64 {
    u64::from(v.to_bits())
}

pub fn d(v: f64) -> u64 {
    v.to_bits()
}

pub fn h(v: f32) -> u64 {
    u64::from(half::f16::from_f32(v).to_bits())
}

pub fn b(v: f32) -> u64 {
    u64::from(half::bf16::from_f32(v).to_bits())
}

/// The low 32 bits of a signed number.
pub fn s(v: i32) -> u64 {
    u64::from(v as u32)
}

pub fn kinds(report: &Report) -> Vec<(mixc_sim::FindingKind, u32)> {
    report.findings.iter().map(|f| (f.kind, f.line)).collect()
}

/// `good` runs clean; each replacement makes a finding of the kind named.
#[track_caller]
pub fn planted(
    good: &str,
    run: impl Fn(&str) -> Report,
    cases: &[(&str, &str, mixc_sim::FindingKind)],
) {
    clean(&run(good));
    for (from, to, kind) in cases {
        assert!(good.contains(from), "{from}");
        let report = run(&good.replacen(from, to, 1));
        assert!(
            report.of(*kind).is_some(),
            "`{from}` -> `{to}`: {kind:?} is not among {:?}",
            kinds(&report)
        );
    }
}

/// Multiples of 1/4 between -2 and 2, so that sums of products are exact.
pub fn small(n: usize, seed: u32) -> Vec<f32> {
    let mut state = seed;
    (0..n)
        .map(|_| {
            state = state.wrapping_mul(1664525).wrapping_add(1013904223);
            ((state >> 28) as f32 - 8.0) / 4.0
        })
        .collect()
}

/// Options for kernels that may not end.
pub fn short() -> Options {
    Options {
        instruction_limit: 100_000,
        ..Options::default()
    }
}

/// Changes words of a text at random `n` times and runs what still parses; returns how many did.
pub fn changed_texts(good: &str, n: usize, run: impl Fn(&Module)) -> usize {
    let values = [
        "0",
        "-1",
        "4294967295",
        "0x7fffffffffffffff",
        "-9223372036854775808",
        "7",
        "0f7F800000",
        "%r99",
        "%p5",
        "_",
        "{}",
        "",
    ];
    let lines: Vec<&str> = good.lines().collect();
    let mut state = 12345u64;
    let mut random = |n: usize| {
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (state >> 33) as usize % n
    };
    let mut ran = 0;
    for _ in 0..n {
        let mut changed: Vec<String> = lines.iter().map(|l| l.to_string()).collect();
        for _ in 0..1 + random(3) {
            let at = random(changed.len());
            let mut words: Vec<String> = changed[at].split(' ').map(String::from).collect();
            let word = &mut words[random(changed[at].split(' ').count())];
            let tail: String = word
                .chars()
                .rev()
                .take_while(|c| ",;".contains(*c))
                .collect();
            *word = format!("{}{tail}", values[random(values.len())]);
            changed[at] = words.join(" ");
        }
        if let Ok(module) = Module::parse(&changed.join("\n")) {
            run(&module);
            ran += 1;
        }
    }
    ran
}
