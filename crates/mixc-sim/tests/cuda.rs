//! Kernels that clang compiled from CUDA C (sources beside the PTX), against plain Rust loops.

use mixc_sim::{Arg, FindingKind, Memory, Module, Options, Report};

fn module(name: &str) -> Module {
    let path = format!("{}/tests/cuda/{name}.ptx", env!("CARGO_MANIFEST_DIR"));
    parse(&std::fs::read_to_string(path).unwrap())
}

fn parse(text: &str) -> Module {
    Module::parse(text)
        .unwrap_or_else(|errors| panic!("{}", mixc_text::Source::new("ptx", text).render(&errors)))
}

fn launch(
    m: &Module,
    grid: [u32; 3],
    block: [u32; 3],
    args: &[Arg],
    memory: &mut Memory,
) -> Report {
    let entry = m.entries()[0].name.clone();
    m.launch(&entry, grid, block, 0, args, memory, &Options::default())
        .unwrap()
}

fn clean(report: &Report) {
    assert!(report.findings.is_empty(), "{}", report.findings[0]);
}

/// Small numbers with exact sums.
fn numbers(n: usize, seed: u32) -> Vec<f32> {
    let mut state = seed;
    (0..n)
        .map(|_| {
            state = state.wrapping_mul(1664525).wrapping_add(1013904223);
            ((state >> 24) as f32 - 128.0) / 8.0
        })
        .collect()
}

#[test]
fn reduction_with_shuffles_and_an_atomic() {
    let x = numbers(1000, 1);
    let mut memory = Memory::new();
    let (bx, out) = (memory.alloc_f32("x", &x), memory.alloc_f32("out", &[0.0]));
    let args = [Arg::Buffer(bx), Arg::Buffer(out), Arg::I32(1000)];
    let report = launch(
        &module("reduce"),
        [3, 1, 1],
        [128, 1, 1],
        &args,
        &mut memory,
    );
    clean(&report);
    assert_eq!(memory.f32s(out)[0], x.iter().sum::<f32>());
    assert_eq!(report.counts.of(mixc_sim::Class::Atomic), 3);
}

fn matmul(m: &Module, (rows, cols, depth): (usize, usize, usize)) -> (Report, Vec<f32>, Vec<f32>) {
    let (a, b) = (numbers(rows * depth, 2), numbers(depth * cols, 3));
    let mut memory = Memory::new();
    let (ba, bb) = (memory.alloc_f32("a", &a), memory.alloc_f32("b", &b));
    let c = memory.alloc_uninit("c", rows * cols * 4);
    memory.write_once(c);
    let sizes = [rows, cols, depth].map(|n| Arg::I32(n as i32));
    let args = [
        &[Arg::Buffer(ba), Arg::Buffer(bb), Arg::Buffer(c)][..],
        &sizes,
    ]
    .concat();
    let grid = [cols.div_ceil(16) as u32, rows.div_ceil(16) as u32, 1];
    let report = launch(m, grid, [16, 16, 1], &args, &mut memory);
    let mut want = vec![0f32; rows * cols];
    for i in 0..rows {
        for j in 0..cols {
            want[i * cols + j] = (0..depth).map(|k| a[i * depth + k] * b[k * cols + j]).sum();
        }
    }
    (report, memory.f32s(c), want)
}

#[test]
fn tiled_product_with_ragged_edges() {
    for sizes in [(16, 16, 16), (33, 20, 17), (1, 1, 1), (40, 50, 64)] {
        let (report, got, want) = matmul(&module("matmul"), sizes);
        clean(&report);
        assert_eq!(got, want);
    }
}

#[test]
fn histogram_with_shared_and_global_atomics() {
    let data: Vec<u8> = (0..3000u32).map(|i| (i * i % 251) as u8).collect();
    let mut memory = Memory::new();
    let (d, c) = (
        memory.alloc("data", &data),
        memory.alloc_u32("counts", &[0; 256]),
    );
    let args = [Arg::Buffer(d), Arg::Buffer(c), Arg::I32(3000)];
    clean(&launch(
        &module("histogram"),
        [4, 1, 1],
        [96, 1, 1],
        &args,
        &mut memory,
    ));
    let mut want = [0u32; 256];
    data.iter().for_each(|b| want[usize::from(*b)] += 1);
    assert_eq!(memory.u32s(c), want);
}

#[test]
fn prefix_sums_with_two_buffers() {
    let x: Vec<u32> = (0..600u32).map(|i| i * 7 % 13).collect();
    let mut memory = Memory::new();
    let (bx, y) = (memory.alloc_u32("x", &x), memory.alloc_uninit("y", 2400));
    memory.write_once(y);
    let args = [Arg::Buffer(bx), Arg::Buffer(y), Arg::I32(600)];
    clean(&launch(
        &module("scan"),
        [3, 1, 1],
        [256, 1, 1],
        &args,
        &mut memory,
    ));
    let mut want = x.clone();
    for chunk in want.chunks_mut(256) {
        (1..chunk.len()).for_each(|i| chunk[i] += chunk[i - 1]);
    }
    assert_eq!(memory.u32s(y), want);
}

#[test]
fn lanes_that_go_different_ways_come_back_together() {
    let x: Vec<u32> = (1..=100).collect();
    let mut memory = Memory::new();
    let bx = memory.alloc_u32("x", &x);
    let (steps, f) = (
        memory.alloc_uninit("steps", 400),
        memory.alloc_uninit("f", 400),
    );
    let args = [
        Arg::Buffer(bx),
        Arg::Buffer(steps),
        Arg::Buffer(f),
        Arg::I32(100),
    ];
    clean(&launch(
        &module("branchy"),
        [2, 1, 1],
        [64, 1, 1],
        &args,
        &mut memory,
    ));
    let count = |mut v: u32| {
        let mut n = 0;
        while v != 1 && n <= 200 {
            v = if v.is_multiple_of(2) {
                v / 2
            } else {
                3 * v + 1
            };
            n += 1;
        }
        n
    };
    let want: Vec<u32> = x.iter().map(|&v| count(v)).collect();
    assert_eq!(memory.u32s(steps), want);
    for (i, (got, &n)) in memory.f32s(f).iter().zip(&want).enumerate() {
        let n = n as f32;
        let want = match i % 5 {
            0 => n * 0.5,
            1 => 1.0 / (n + 1.0),
            2 => {
                if n > 10.0 {
                    -1.0
                } else {
                    3.0
                }
            }
            3 => (5.0 - n).abs(),
            _ => n * n,
        };
        assert_eq!(*got, want, "element {i}");
    }
}

#[test]
fn softmax_of_rows() {
    let (rows, cols) = (5, 70);
    let x = numbers(rows * cols, 9);
    let mut memory = Memory::new();
    let (bx, y) = (
        memory.alloc_f32("x", &x),
        memory.alloc_uninit("y", rows * cols * 4),
    );
    let args = [
        Arg::Buffer(bx),
        Arg::Buffer(y),
        Arg::I32(rows as i32),
        Arg::I32(cols as i32),
    ];
    clean(&launch(
        &module("softmax"),
        [3, 1, 1],
        [64, 1, 1],
        &args,
        &mut memory,
    ));
    for (got, row) in memory.f32s(y).chunks(cols).zip(x.chunks(cols)) {
        let top = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum: f64 = row.iter().map(|v| f64::from(v - top).exp()).sum();
        for (g, v) in got.iter().zip(row) {
            let want = f64::from(v - top).exp() / sum;
            assert!(
                (f64::from(*g) - want).abs() <= 2e-6 * want + 1e-38,
                "{g} against {want}"
            );
        }
    }
}

fn half(v: f32) -> u16 {
    half::f16::from_f32(v).to_bits()
}

#[test]
fn packed_half_arithmetic() {
    let value = |i: usize, by: f32| half((i as f32 - 40.0) * by);
    let pack = |by: f32| -> Vec<u32> {
        (0..50)
            .map(|i| u32::from(value(2 * i, by)) | u32::from(value(2 * i + 1, by)) << 16)
            .collect()
    };
    let mut memory = Memory::new();
    let (a, x, y) = (
        memory.alloc_u32("a", &pack(0.25)),
        memory.alloc_u32("x", &pack(0.5)),
        memory.alloc_u32("y", &pack(-3.0)),
    );
    let z = memory.alloc_uninit("z", 200);
    let args = [
        Arg::Buffer(a),
        Arg::Buffer(x),
        Arg::Buffer(y),
        Arg::Buffer(z),
        Arg::I32(50),
    ];
    let m = module("halves");
    clean(
        &m.launch(
            "halves",
            [1, 1, 1],
            [64, 1, 1],
            0,
            &args,
            &mut memory,
            &Options::default(),
        )
        .unwrap(),
    );
    for (i, got) in memory.u16s(z).into_iter().enumerate() {
        let f = |by: f32| f64::from(half::f16::from_bits(value(i, by)).to_f32());
        // These products and sums are exact in f32, so one conversion rounds once.
        let want = half(((f(0.25) * f(0.5) + f(-3.0)) as f32).max(0.0));
        assert_eq!(got, want, "element {i}");
    }
}

#[test]
fn bf16_dot_products() {
    let x: Vec<u16> = numbers(100, 4)
        .iter()
        .map(|v| half::bf16::from_f32(*v).to_bits())
        .collect();
    let y: Vec<u16> = numbers(100, 5)
        .iter()
        .map(|v| half::bf16::from_f32(*v).to_bits())
        .collect();
    let mut memory = Memory::new();
    let (bx, by) = (memory.alloc_u16("x", &x), memory.alloc_u16("y", &y));
    let (sums, low) = (
        memory.alloc_uninit("sums", 128),
        memory.alloc_uninit("low", 64),
    );
    let args = [
        Arg::Buffer(bx),
        Arg::Buffer(by),
        Arg::Buffer(sums),
        Arg::Buffer(low),
        Arg::I32(100),
    ];
    let m = module("halves");
    clean(
        &m.launch(
            "bf16_dot",
            [1, 1, 1],
            [32, 1, 1],
            0,
            &args,
            &mut memory,
            &Options::default(),
        )
        .unwrap(),
    );
    for t in 0..32 {
        let f = |b: u16| f32::from_bits(u32::from(b) << 16);
        let want = (t..100)
            .step_by(32)
            .fold(0f32, |s, i| f(x[i]).mul_add(f(y[i]), s));
        assert_eq!(memory.f32s(sums)[t], want);
        assert_eq!(memory.u16s(low)[t], half::bf16::from_f32(want).to_bits());
    }
}

/// The PTX of a good kernel with one line changed; `from` must occur.
fn broken(name: &str, from: &str, to: &str, nth: usize) -> Module {
    let path = format!("{}/tests/cuda/{name}.ptx", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap();
    let (at, _) = text
        .match_indices(from)
        .nth(nth)
        .expect("the text to change is not there");
    parse(&format!("{}{to}{}", &text[..at], &text[at + from.len()..]))
}

#[test]
fn a_dropped_barrier_is_a_race() {
    for nth in 0..2 {
        let (report, ..) = matmul(&broken("matmul", "bar.sync \t0;", "", nth), (32, 32, 32));
        let race = report.of(FindingKind::Race).expect("no race found");
        assert!(race.text.contains(".shared"), "{race}");
        assert!(
            race.object
                .as_deref()
                .unwrap_or("")
                .contains("shared variable"),
            "{race}"
        );
        assert!(race.other.is_some());
    }
}

#[test]
fn a_size_that_is_one_too_large_is_out_of_bounds() {
    let x = numbers(64, 1);
    let mut memory = Memory::new();
    let (bx, out) = (memory.alloc_f32("x", &x), memory.alloc_f32("out", &[0.0]));
    let args = [Arg::Buffer(bx), Arg::Buffer(out), Arg::I32(65)];
    let report = launch(&module("reduce"), [1, 1, 1], [64, 1, 1], &args, &mut memory);
    let finding = report.of(FindingKind::OutOfBounds).expect("not found");
    assert_eq!(finding.thread, [0, 0, 0]);
    assert!(
        finding
            .object
            .as_deref()
            .unwrap()
            .contains("reduce_param_0")
            && finding.text.starts_with("ld.global"),
        "{finding}"
    );
}

#[test]
fn an_output_that_two_blocks_write_is_reported() {
    let x: Vec<u32> = vec![1; 256];
    let mut memory = Memory::new();
    let (bx, y) = (memory.alloc_u32("x", &x), memory.alloc_uninit("y", 1024));
    memory.write_once(y);
    // Every block believes to be block 0.
    let m = broken("scan", "%ctaid.x", "0", 0);
    let args = [Arg::Buffer(bx), Arg::Buffer(y), Arg::I32(256)];
    let report = launch(&m, [2, 1, 1], [256, 1, 1], &args, &mut memory);
    let finding = report.of(FindingKind::DoubleWrite).expect("not found");
    assert!(
        finding.object.as_deref().unwrap().contains("scan_param_1"),
        "{finding}"
    );
    assert!(report.of(FindingKind::RaceBetweenBlocks).is_some());
    assert_eq!(report.findings.len(), 2, "{:?}", report.findings);
}

#[test]
fn a_matrix_product_of_one_warp() {
    let bf16 = |v: &[f32]| {
        v.iter()
            .map(|v| half::bf16::from_f32(*v).to_bits())
            .collect::<Vec<u16>>()
    };
    let (a, b) = (numbers(256, 7), numbers(128, 8));
    let (a16, b16) = (bf16(&a), bf16(&b));
    let mut memory = Memory::new();
    let (ma, mb) = (memory.alloc_u16("a", &a16), memory.alloc_u16("b", &b16));
    let c = memory.alloc_uninit("c", 512);
    memory.write_once(c);
    let args = [Arg::Buffer(ma), Arg::Buffer(mb), Arg::Buffer(c)];
    clean(&launch(
        &module("tensor"),
        [1, 1, 1],
        [32, 1, 1],
        &args,
        &mut memory,
    ));
    for (n, got) in memory.f32s(c).into_iter().enumerate() {
        let want: f32 = (0..16).map(|k| a[n / 8 * 16 + k] * b[k * 8 + n % 8]).sum();
        assert_eq!(got, want + 0.5);
    }
}

#[test]
fn many_blocks_run_in_reasonable_time() {
    let start = std::time::Instant::now();
    let (report, got, want) = matmul(&module("matmul"), (128, 128, 128));
    println!(
        "128 x 128 x 128 with scalar instructions: {:?}, {} warp instructions",
        start.elapsed(),
        report.counts.total()
    );
    clean(&report);
    assert_eq!(got, want);
}
