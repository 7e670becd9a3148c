//! Mistakes planted in the PTX of generated kernels, at every place where they can be made: the simulator reports each and
//! names it, or, where only indices or arithmetic are wrong, the numbers differ from the tile interpreter's.
//!
//! A mistake that is not reported must be one of those that the table of a test allows, with the reason.

mod common;

use common::{Case, Config, file};
use mixc_ptx::{Precision, Target};
use mixc_sim::{Finding, FindingKind};
use mixc_tile::TensorData;

use FindingKind::{
    Deadlock, Divergent, DoubleWrite, InvalidOperand, Misaligned, MissingProxyFence, OutOfBounds,
    Race, ReadBeforeWait, UninitRegister, UninitShared,
};

/// One changed text: what was changed, and whether the launch gets only half of its shared memory.
struct Mutant {
    what: String,
    ptx: String,
    half_shared: bool,
}

/// Applies `change` to each line for which it gives another text. What it gives may be several lines or none.
fn each_line(ptx: &str, change: impl Fn(&str) -> Option<String>) -> Vec<Mutant> {
    let lines: Vec<&str> = ptx.lines().collect();
    let mut found = vec![];
    for (n, line) in lines.iter().enumerate() {
        let Some(new) = change(line) else { continue };
        assert_ne!(&new, line, "line {} is not changed", n + 1);
        let mut mutated = lines.clone();
        mutated[n] = &new;
        found.push(Mutant {
            what: format!("line {}: `{}` to `{}`", n + 1, line.trim(), new.trim()),
            ptx: mutated.join("\n") + "\n",
            half_shared: false,
        });
    }
    found
}

fn is(line: &str, instruction: &str) -> bool {
    line.trim_start().starts_with(instruction)
}

/// Replaces the only occurrence of `from`.
fn once(line: &str, from: &str, to: &str) -> Option<String> {
    (line.matches(from).count() == 1).then(|| line.replacen(from, to, 1))
}

fn without(ptx: &str, instruction: &str) -> Vec<Mutant> {
    each_line(ptx, |l| is(l, instruction).then(String::new))
}

/// Adds bytes to the address between the first brackets of the lines that `wanted` picks.
fn moved(ptx: &str, by: i64, wanted: impl Fn(&str) -> bool) -> Vec<Mutant> {
    each_line(ptx, |l| {
        if !wanted(l) {
            return None;
        }
        let (open, close) = (l.find('[')?, l.find(']')?);
        let address = &l[open + 1..close];
        let (base, offset) = match address.split_once('+') {
            Some((base, offset)) => (base, offset.parse::<i64>().ok()?),
            None => (address, 0),
        };
        Some(format!(
            "{}[{base}+{}]{}",
            &l[..open],
            offset + by,
            &l[close + 1..]
        ))
    })
}

/// Exchanges the first two registers of the line `after` lines behind each `mma.sync`.
fn swapped_fragments(ptx: &str, after: usize) -> Vec<Mutant> {
    let lines: Vec<&str> = ptx.lines().collect();
    let is_operand = |n: usize| n >= after && is(lines[n - after], "mma.sync");
    let mut found = vec![];
    for n in (0..lines.len()).filter(|n| is_operand(*n)) {
        let (open, close) = (lines[n].find('{').unwrap(), lines[n].find('}').unwrap());
        let mut registers: Vec<&str> = lines[n][open + 1..close].split(", ").collect();
        if registers[0] == registers[1] {
            continue;
        }
        registers.swap(0, 1);
        let new = format!("{{{}}}{}", registers.join(", "), &lines[n][close + 1..]);
        assert_ne!(new.trim(), lines[n].trim());
        let mut mutated = lines.clone();
        mutated[n] = &new;
        found.push(Mutant {
            what: format!("line {}: `{}` to `{new}`", n + 1, lines[n].trim()),
            ptx: mutated.join("\n") + "\n",
            half_shared: false,
        });
    }
    found
}

/// The kinds of mistakes.
#[derive(Clone, Copy, Debug)]
enum Mistake {
    /// A barrier is left out.
    NoBarrier,
    /// Only the threads from the 16th on come to a barrier.
    BarrierOfSome,
    NoWait,
    /// A wait lets one more group be on its way.
    WaitForFewer,
    /// The copies of a group are never committed.
    NoCommits,
    /// A copy past the end of a tensor reads it instead of filling with zeros.
    NoZeroFill,
    /// A guarded access of global memory is made by all threads.
    NoGuardOfLoad,
    NoGuardOfStore,
    /// Vector accesses and asynchronous copies off by 4 bytes.
    MisalignedCopy,
    MisalignedVector,
    /// A read of shared memory takes the next row.
    ReadNext,
    WriteNext,
    /// Exclusive or, of which swizzles are made, becomes or.
    NoSwizzle,
    Transposed,
    FragmentA,
    FragmentB,
    /// A shuffle names a mask without the lanes that execute it.
    ShuffleMask,
    ShuffleDistance,
    /// A value that starts at 0 or -inf does not start at all.
    NoStart,
    /// The number of tiles is rounded down.
    FewerTiles,
    LessShared,
    /// The ring of stages does not turn.
    OneStage,
    /// A load goes to the tile that is being read.
    EarlyStage,
    NoProxyFence,
    NoProductWait,
    NoProductCommit,
}

impl Mistake {
    fn plant(self, ptx: &str) -> Vec<Mutant> {
        match self {
            Mistake::NoBarrier => without(ptx, "bar.sync"),
            Mistake::BarrierOfSome => each_line(ptx, |l| {
                is(l, "bar.sync").then(|| {
                    "{ .reg .pred q; .reg .b32 t; mov.u32 t, %tid.x; setp.gt.u32 q, t, 15; @q bar.sync 0; }"
                        .to_owned()
                })
            }),
            Mistake::NoWait => {
                let mut all = without(ptx, "cp.async.wait_group");
                all.extend(without(ptx, "cp.async.wait_all"));
                all
            }
            Mistake::WaitForFewer => each_line(ptx, |l| {
                let (head, count) = l.split_once("cp.async.wait_group")?;
                let count: u32 = count.trim().trim_end_matches(';').parse().ok()?;
                Some(format!("{head}cp.async.wait_group {};", count + 1))
            }),
            Mistake::NoCommits => {
                let mutated = ptx.replace("cp.async.commit_group;", "");
                assert_ne!(mutated, ptx);
                vec![Mutant {
                    what: "no cp.async.commit_group".to_owned(),
                    ptx: mutated,
                    half_shared: false,
                }]
            }
            Mistake::NoZeroFill => each_line(ptx, |l| {
                let (head, size) = l.rsplit_once(", 16, ")?;
                (is(l, "cp.async") && size.starts_with('%')).then(|| format!("{head}, 16, 16;"))
            }),
            Mistake::NoGuardOfLoad => each_line(ptx, |l| once(l, "@p ld.global", "ld.global")),
            Mistake::NoGuardOfStore => each_line(ptx, |l| once(l, "@p st.global", "st.global")),
            Mistake::MisalignedCopy => moved(ptx, 4, |l| is(l, "cp.async.c")),
            Mistake::MisalignedVector => moved(ptx, 4, |l| {
                l.contains("st.global.v2")
                    || l.contains("st.shared.v2")
                    || l.contains("ld.shared.v2")
            }),
            Mistake::ReadNext => moved(ptx, 64, |l| is(l, "ld.shared") || is(l, "ldmatrix")),
            Mistake::WriteNext => moved(ptx, 64, |l| is(l, "st.shared")),
            Mistake::NoSwizzle => each_line(ptx, |l| {
                is(l, "xor.b32").then(|| l.replacen("xor.b32", "or.b32", 1))
            }),
            Mistake::Transposed => each_line(ptx, |l| {
                if !is(l, "ldmatrix") {
                    None
                } else if l.contains(".trans") {
                    once(l, ".trans", "")
                } else {
                    once(l, ".shared.b16", ".trans.shared.b16")
                }
            }),
            Mistake::FragmentA => swapped_fragments(ptx, 2),
            Mistake::FragmentB => swapped_fragments(ptx, 3),
            Mistake::ShuffleMask => each_line(ptx, |l| once(l, ", 31, -1;", ", 31, 65535;")),
            Mistake::ShuffleDistance => each_line(ptx, |l| {
                let (head, _) = l.split_once(", 31, -1;")?;
                let (head, distance) = head.rsplit_once(", ")?;
                let other = if distance == "16" { 1 } else { 16 };
                is(l, "shfl.sync").then(|| format!("{head}, {other}, 31, -1;"))
            }),
            Mistake::NoStart => each_line(ptx, |l| {
                let start = l.ends_with(", 0f00000000;") || l.ends_with(", 0fFF800000;");
                (is(l, "mov.b32") && start).then(String::new)
            }),
            Mistake::FewerTiles => each_line(ptx, |l| {
                let step = is(l, "add.s32") && l.ends_with(", 15;");
                step.then(|| l.replacen(", 15;", ", 0;", 1))
            }),
            Mistake::LessShared => vec![Mutant {
                what: "half of the shared memory".to_owned(),
                ptx: ptx.to_owned(),
                half_shared: true,
            }],
            Mistake::OneStage => each_line(ptx, |l| {
                // The next stage is 0 after the last one.
                let rest = l.trim().strip_prefix("selp.b32")?.trim();
                let parts: Vec<&str> = rest.trim_end_matches(';').split(", ").collect();
                let [stage, "0", next, _] = parts[..] else {
                    return None;
                };
                let step = format!("{next}, {stage}, 1;");
                let turns = ptx.lines().any(|o| is(o, "add.s32") && o.ends_with(&step));
                turns.then(|| format!("mov.b32 {stage}, 0;"))
            }),
            Mistake::EarlyStage => each_line(ptx, |l| {
                // Where a load goes: one stage on, or back by the others.
                let rest = l.trim().strip_prefix("selp.b32")?.trim();
                let parts: Vec<&str> = rest.trim_end_matches(';').split(", ").collect();
                let [to, stride, back, _] = parts[..] else {
                    return None;
                };
                let (start, end) = (format!("{back}, "), format!(", -{stride};"));
                let from = ptx.lines().find_map(|o| {
                    let rest = o.trim().strip_prefix("add.s32")?.trim();
                    rest.strip_prefix(&start)?.strip_suffix(&end)
                })?;
                Some(format!("mov.b32 {to}, {from};"))
            }),
            Mistake::NoProxyFence => without(ptx, "fence.proxy.async"),
            Mistake::NoProductWait => {
                each_line(ptx, |l| once(l, "wgmma.wait_group.sync.aligned 0;", ""))
            }
            Mistake::NoProductCommit => {
                each_line(ptx, |l| once(l, "wgmma.commit_group.sync.aligned;", ""))
            }
        }
    }

    /// The kinds of findings of which each place must give one; with `true`, other numbers will do.
    fn expected(self) -> (&'static [FindingKind], bool) {
        match self {
            Mistake::NoBarrier => (&[Race, UninitShared, ReadBeforeWait], false),
            Mistake::BarrierOfSome => (&[Divergent, Deadlock, Race], false),
            Mistake::NoWait | Mistake::WaitForFewer | Mistake::NoCommits => {
                (&[ReadBeforeWait], false)
            }
            Mistake::NoZeroFill | Mistake::NoGuardOfLoad | Mistake::LessShared => {
                (&[OutOfBounds], false)
            }
            Mistake::NoGuardOfStore => (&[OutOfBounds, DoubleWrite], false),
            Mistake::MisalignedCopy | Mistake::MisalignedVector => (&[Misaligned], false),
            Mistake::ReadNext | Mistake::WriteNext => (
                &[Race, UninitShared, OutOfBounds, ReadBeforeWait, Misaligned],
                true,
            ),
            Mistake::NoSwizzle => (&[Race, UninitShared, OutOfBounds, ReadBeforeWait], true),
            Mistake::Transposed | Mistake::FragmentA | Mistake::FragmentB | Mistake::FewerTiles => {
                (&[], true)
            }
            Mistake::ShuffleMask => (&[InvalidOperand, Divergent], false),
            Mistake::ShuffleDistance => (&[], true),
            Mistake::NoStart => (&[UninitRegister], false),
            Mistake::OneStage => (&[Race, ReadBeforeWait], true),
            Mistake::EarlyStage => (&[Race, ReadBeforeWait], false),
            Mistake::NoProxyFence => (&[MissingProxyFence], false),
            Mistake::NoProductWait | Mistake::NoProductCommit => (&[ReadBeforeWait], false),
        }
    }
}

/// A report says where, and of what.
fn assert_named(finding: &Finding, ptx: &str) {
    let line = ptx
        .lines()
        .nth(finding.line as usize - 1)
        .unwrap_or_default();
    assert!(
        !finding.text.is_empty() && finding.occurrences > 0,
        "{finding}"
    );
    let instruction = finding.text.split_whitespace().next().unwrap();
    let instruction = instruction.trim_end_matches(';');
    assert!(
        line.contains(instruction),
        "{finding}: line {} is `{line}`",
        finding.line
    );
    let of_memory = [OutOfBounds, Misaligned, Race, UninitShared, DoubleWrite];
    if of_memory.contains(&finding.kind) {
        assert!(
            finding.address.is_some() && finding.object.is_some(),
            "{finding}"
        );
    }
    if finding.kind == Race {
        assert!(finding.other.is_some(), "{finding}");
    }
    if finding.kind == UninitRegister {
        assert!(finding.message.contains('%'), "{finding}");
    }
}

/// Plants each mistake wherever it can be, and runs each changed kernel with all sizes until one shows it. At most
/// `equivalent` places of a mistake change nothing that a kernel must do.
fn plant(cases: Vec<Case>, config: &Config, tolerance: f32, mistakes: &[(Mistake, usize)]) {
    let cases: Vec<Case> = cases.into_iter().map(Case::filled).collect();
    let expected: Vec<_> = cases.iter().map(Case::expected).collect();
    let built = cases[0].build(config);
    for (case, expected) in cases.iter().zip(&expected) {
        assert_eq!(
            case.build(config).ptx,
            built.ptx,
            "sizes must not change the kernel"
        );
        let clean = case.simulate(&built.lowered, &built.ptx).unwrap();
        assert!(clean.findings.is_empty(), "{}", clean.findings[0]);
        assert_eq!(case.difference(&clean.tensors, expected, tolerance), None);
    }
    let mut wrong = vec![];
    for (mistake, equivalent) in mistakes {
        let mutants = mistake.plant(&built.ptx);
        if mutants.is_empty() {
            wrong.push(format!("{mistake:?} applies nowhere"));
        }
        println!("{mistake:?}: {} places", mutants.len());
        let mut unnoticed = vec![];
        for mutant in mutants {
            let mut lowered = built.lowered.clone();
            if mutant.half_shared {
                lowered.shared_bytes /= 2;
            }
            let shown = cases.iter().zip(&expected).any(|(case, expected)| {
                let ran = case
                    .simulate(&lowered, &mutant.ptx)
                    .unwrap_or_else(|e| panic!("{mistake:?}, {}: {e}", mutant.what));
                let (kinds, numbers) = mistake.expected();
                let finding = ran.findings.iter().find(|f| kinds.contains(&f.kind));
                if let Some(finding) = finding {
                    assert_named(finding, &mutant.ptx);
                }
                let differs = || case.difference(&ran.tensors, expected, tolerance).is_some();
                finding.is_some() || (numbers && differs())
            });
            if !shown {
                unnoticed.push(format!("  {}", mutant.what));
            }
        }
        if unnoticed.len() > *equivalent {
            let list = unnoticed.join("\n");
            wrong.push(format!(
                "{mistake:?}: {} unnoticed\n{list}",
                unnoticed.len()
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn attention(dtype: &str) -> Vec<Case> {
    let text = file("attention").replace("24", "32");
    let text = ["q", "k", "v"].iter().fold(text, |text, name| {
        text.replace(&format!("in {name}: f32"), &format!("in {name}: {dtype}"))
    });
    // Ragged tiles, tiles of queries that see no key, and ends in each of the tiles that are loaded ahead.
    [(33, 50), (40, 3), (20, 18)]
        .map(|(i, j)| {
            Case::new(&text)
                .dim("B", 1)
                .dim("H", 1)
                .dim("I", i)
                .dim("J", j)
                .scalar("scale", 0.2)
        })
        .into()
}

fn config(target: Target, warps: u32, stages: u32) -> Config {
    Config {
        target,
        precision: Precision::Tf32x3,
        warps,
        stages,
        aligned: true,
        // The protocol of a producer has its own tests.
        producer: false,
    }
}

use Mistake::*;

#[test]
fn attention_in_bf16_on_four_warps() {
    let mistakes = [
        (NoBarrier, 0),
        (BarrierOfSome, 0),
        (NoWait, 0),
        (WaitForFewer, 0),
        (NoCommits, 0),
        (NoZeroFill, 0),
        (NoGuardOfStore, 0),
        (MisalignedCopy, 0),
        (MisalignedVector, 0),
        // Softmax does not depend on the maximum that it subtracts: 3 reads of the other warp's.
        (ReadNext, 3),
        (WriteNext, 0),
        (NoSwizzle, 0),
        (Transposed, 0),
        (FragmentA, 0),
        (FragmentB, 0),
        (ShuffleMask, 0),
        (ShuffleDistance, 0),
        // One is set to 0 again, for the loop, after it was set for the case that there is none.
        (NoStart, 1),
        (FewerTiles, 0),
        (LessShared, 0),
        (OneStage, 0),
        (EarlyStage, 0),
    ];
    plant(
        attention("bf16"),
        &config(Target::Sm80, 4, 2),
        1e-4,
        &mistakes,
    );
}

#[test]
fn attention_in_f32_on_one_warp_with_three_stages() {
    let mistakes = [
        (NoBarrier, 0),
        (NoWait, 0),
        (WaitForFewer, 0),
        (NoCommits, 0),
        (NoZeroFill, 0),
        (NoGuardOfStore, 0),
        (MisalignedCopy, 0),
        (ReadNext, 0),
        (FragmentA, 0),
        (FragmentB, 0),
        (ShuffleMask, 0),
        (ShuffleDistance, 0),
        (FewerTiles, 0),
        (LessShared, 0),
        (OneStage, 0),
    ];
    plant(
        attention("f32"),
        &config(Target::Sm90a, 1, 3),
        1e-5,
        &mistakes,
    );
}

#[test]
fn recurrence_in_chunks() {
    let cases = [41, 5].map(|t| {
        Case::new(&file("linear_attention"))
            .dim("B", 1)
            .dim("H", 2)
            .dim("T", t)
    });
    let mistakes = [
        (NoBarrier, 0),
        (BarrierOfSome, 0),
        // The wait for what this chunk loads itself waits for what was loaded ahead too.
        (NoWait, 1),
        (NoZeroFill, 0),
        (NoGuardOfLoad, 0),
        (NoGuardOfStore, 0),
        (MisalignedCopy, 0),
        (WriteNext, 0),
        (FragmentA, 0),
        (FragmentB, 0),
        (LessShared, 0),
    ];
    plant(cases.into(), &config(Target::Sm90a, 4, 2), 2e-5, &mistakes);
}

#[test]
fn scans() {
    let mistakes = [
        (NoBarrier, 0),
        (ReadNext, 0),
        (WriteNext, 0),
        (MisalignedVector, 0),
        (ShuffleMask, 0),
        (NoGuardOfStore, 0),
    ];
    plant(
        vec![Case::new(&file("scans"))],
        &config(Target::Sm80, 1, 1),
        1e-5,
        &mistakes,
    );
}

#[test]
fn gathers() {
    let text = file("gather").replace("i64", "i32");
    let indices = (0..21).map(|n| (n * 5 % 11 - 1) as f32).collect();
    let case = Case::new(&text)
        .dim("N", 21)
        .dim("R", 7)
        .tensor("idx", TensorData::new(&[21], indices));
    let mistakes = [
        // Each thread reads only the rows that it wrote.
        (NoBarrier, 1),
        (BarrierOfSome, 0),
        (NoGuardOfLoad, 0),
        (NoGuardOfStore, 0),
        (ReadNext, 0),
        (WriteNext, 0),
        (NoSwizzle, 0),
        (LessShared, 0),
    ];
    plant(vec![case], &config(Target::Sm80, 4, 1), 0.0, &mistakes);
}

#[test]
fn reductions_across_warps() {
    let text = "kernel sums(dims: M, N) {
      in a: f32 [$M, $N] unit
      out r: f32 [$M] unit
      out c: f32 [$N] unit
      shared t: [16, 128]
      register r1: [16]
      register c1: [128]
      load [m < 16, n < 128] t[m, n] <- a[m, n]
      reduce sum [m < 16, n < 128] r1[m] = t[m, n]
      reduce max [m < 16, n < 128] c1[n] = t[m, n]
      store [m < 16] r[m] <- r1[m]
      store [n < 128] c[n] <- c1[n]
    }";
    let mistakes = [
        (NoBarrier, 0),
        (BarrierOfSome, 0),
        (ShuffleMask, 0),
        (ShuffleDistance, 0),
        (ReadNext, 0),
        (WriteNext, 0),
        (NoGuardOfStore, 0),
        (LessShared, 0),
    ];
    let cases = [(13, 100), (16, 128)].map(|(m, n)| Case::new(text).dim("M", m).dim("N", n));
    plant(cases.into(), &config(Target::Sm90a, 4, 1), 1e-5, &mistakes);
}

#[test]
fn products_of_a_warpgroup() {
    let text = file("matmul")
        .replace("in a: f32", "in a: bf16")
        .replace("in b: f32", "in b: bf16");
    let cases = [(72, 64, 168), (40, 56, 72), (8, 8, 8)]
        .map(|(m, n, k)| Case::new(&text).dim("M", m).dim("N", n).dim("K", k));
    let mistakes = [
        (NoBarrier, 0),
        (NoWait, 0),
        (WaitForFewer, 0),
        (NoProxyFence, 0),
        (NoProductWait, 0),
        (NoProductCommit, 0),
        (NoZeroFill, 0),
        (OneStage, 0),
        (EarlyStage, 0),
    ];
    plant(cases.into(), &config(Target::Sm90a, 4, 2), 1e-4, &mistakes);
}
