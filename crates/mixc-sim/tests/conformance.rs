//! The conformance suite covers what the simulator knows, and consists of PTX that assembles.

use mixc_sim::conformance::{Case, Tolerance, instructions, suite};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

const SEED: u64 = 1;
static CASES: LazyLock<Vec<Case>> = LazyLock::new(|| suite(SEED));

/// First words of the instructions in a text.
fn names(ptx: &str) -> impl Iterator<Item = &str> {
    ptx.split([';', '{', '}', '\n', ':']).filter_map(|s| {
        let s = s.trim();
        let s = if s.starts_with('@') {
            s.split_once(' ')?.1.trim()
        } else {
            s
        };
        let word = s.split([' ', '.']).next()?;
        (!word.is_empty()).then_some(word)
    })
}

#[test]
fn every_instruction_has_a_case() {
    let cases = &*CASES;
    let used: BTreeSet<&str> = cases.iter().flat_map(|c| names(&c.ptx)).collect();
    let missing: Vec<&str> = instructions().filter(|i| !used.contains(i)).collect();
    assert!(missing.is_empty(), "no case for {missing:?}");
    // Instructions whose second word makes them different ones.
    let second = [
        "cp.async.bulk.tensor",
        "cp.reduce.async.bulk.global",
        "cp.reduce.async.bulk.tensor",
        "cp.async.commit_group",
        "cp.async.wait_group",
        "cp.async.wait_all",
        "cp.async.mbarrier.arrive",
        "cp.async.bulk.commit_group",
        "cp.async.bulk.wait_group",
        "mbarrier.init",
        "mbarrier.inval",
        "mbarrier.expect_tx",
        "mbarrier.complete_tx",
        "mbarrier.arrive",
        "mbarrier.arrive_drop",
        "mbarrier.test_wait",
        "mbarrier.try_wait",
        "wgmma.fence",
        "wgmma.mma_async",
        "wgmma.commit_group",
        "wgmma.wait_group",
        "bar.sync",
        "bar.arrive",
        "bar.red.popc",
        "bar.red.and",
        "bar.red.or",
        "bar.warp.sync",
        "barrier.sync",
        "fence.proxy.async",
        "fence.mbarrier_init",
        "fence.acq_rel",
        "fence.sc",
        "shfl.sync.up",
        "shfl.sync.down",
        "shfl.sync.bfly",
        "shfl.sync.idx",
        "vote.sync.all",
        "vote.sync.any",
        "vote.sync.uni",
        "vote.sync.ballot",
        "match.any.sync",
        "match.all.sync",
        "cvta.to",
        "setmaxnreg.inc",
        "setmaxnreg.dec",
        "elect.sync",
    ];
    for start in second {
        assert!(
            cases.iter().any(|c| c.ptx.contains(start)),
            "no case for {start}"
        );
    }
    let unique: BTreeSet<&str> = cases.iter().map(|c| c.name.as_str()).collect();
    assert_eq!(unique.len(), cases.len(), "names are unique");
}

#[test]
fn outputs_are_compared_bit_by_bit_or_within_the_documented_error() {
    let cases = &*CASES;
    for case in cases {
        assert_eq!(case.compare(&case.expected), [], "{}", case.name);
        assert!(!case.checks.is_empty(), "{} checks nothing", case.name);
        // Every check notices a result with its upper bits turned over.
        for check in &case.checks {
            let mut output = case.expected.clone();
            let top = check.offset + (check.bits as usize).div_ceil(8) - 1;
            output[top] ^= 0x45;
            let found = case.compare(&output);
            assert!(found.iter().all(|m| m.label == check.label));
            if check.tolerance == Tolerance::Exact {
                assert_eq!(found.len(), 1, "{}: {}", case.name, check.label);
            }
        }
    }
    // The same seed gives the same suite, another one other operands.
    assert_eq!(*cases, suite(SEED));
    assert_ne!(*cases, suite(SEED + 1));
}

fn ptxas() -> Option<PathBuf> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.tools/cuda/bin/ptxas");
    let named = std::env::var_os("MIXC_PTXAS").map(PathBuf::from);
    named.into_iter().chain([own]).find(|p| p.exists())
}

/// Kernels of one architecture in one text: their entries get numbers.
fn joined(cases: &[&Case]) -> String {
    let header = |l: &&str| {
        l.starts_with(".version") || l.starts_with(".target") || l.starts_with(".address_size")
    };
    let mut out: Vec<String> = cases[0]
        .ptx
        .lines()
        .filter(header)
        .map(str::to_string)
        .collect();
    for (n, case) in cases.iter().enumerate() {
        let body: Vec<&str> = case.ptx.lines().filter(|l| !header(l)).collect();
        out.push(
            body.join("\n")
                .replace("entry k(", &format!("entry k{n}("))
                .replace("module_", &format!("module_{n}_")),
        );
    }
    out.join("\n")
}

#[test]
fn the_suite_assembles() {
    let Some(ptxas) = ptxas() else {
        eprintln!("ptxas was not found: the suite is not assembled");
        return;
    };
    let cases = &*CASES;
    let folder = tempfile::tempdir().unwrap();
    for target in ["sm_80", "sm_90a"] {
        let all: Vec<&Case> = cases.iter().filter(|c| c.target == target).collect();
        for (n, part) in all.chunks(200).enumerate() {
            let path = folder.path().join(format!("{target}-{n}.ptx"));
            let text = joined(part);
            std::fs::write(&path, &text).unwrap();
            let run = Command::new(&ptxas)
                .arg(format!("-arch={target}"))
                .args(["-O0", "-o", "/dev/null"])
                .arg(&path)
                .output()
                .unwrap();
            let messages = String::from_utf8_lossy(&run.stderr).to_string();
            assert!(run.status.success(), "{}", with_lines(&messages, &text));
        }
    }
}

/// The first messages of the assembler, each with the line that it names.
fn with_lines(messages: &str, text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let one = |message: &str| {
        let number = message.split_once("line ")?.1.split_once(';')?.0;
        let line = lines.get(number.parse::<usize>().ok()? - 1)?;
        Some(format!("{message}: {line}"))
    };
    let all = messages.lines().map(|m| one(m).unwrap_or(m.to_string()));
    all.take(30).collect::<Vec<_>>().join("\n")
}
