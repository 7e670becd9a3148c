//! The results as a page for readers.

use crate::{Class, Hot, Machine, Row};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

const HEAD: &str = "# Kernels for NVIDIA GPUs, examined without a GPU

Written by `cargo run --release -p mixc-static -- --out benches/results`; every row is in `static.jsonl`, the sizes \
are in `../static.toml`. Registers, spills, shared memory and instructions are facts of the machine code. \
**Everything called predicted is computed from them and from published rates; nothing on this page was measured.**
";

/// The page. `versions` names the tools; `predicted` the forms (`mixer/form`) whose predictions are shown.
pub fn markdown(rows: &[Row], versions: &str, predicted: &[String]) -> String {
    let mut page = format!("{HEAD}\nTools: {versions}.\n");
    summary(rows, &mut page);
    resources(rows, &mut page);
    hot_loops(rows, &mut page);
    predictions(rows, predicted, &mut page);
    page += REASONING;
    spills(rows, &mut page);
    failures(rows, &mut page);
    page
}

fn machines<'r>(rows: impl IntoIterator<Item = &'r Row>) -> Vec<(&'r Row, &'r Machine)> {
    let rows = rows.into_iter();
    rows.filter_map(|r| Some((r, r.machine.as_ref()?)))
        .collect()
}

fn summary(rows: &[Row], page: &mut String) {
    let machines = machines(rows);
    let forms: BTreeSet<_> = rows.iter().map(|r| (&r.mixer, &r.form)).collect();
    let mixers: BTreeSet<_> = rows.iter().map(|r| &r.mixer).collect();
    let failed = rows.iter().filter(|r| r.error.is_some()).count();
    let found = machines.iter().filter(|(_, m)| !m.findings.is_empty());
    let calls = machines.iter().filter(|(_, m)| !m.externs.is_empty());
    let _ = writeln!(
        page,
        "\n{} kernels of {} forms of {} mixers. {failed} without machine code, {} with remarks of ptxas, {} that call \
         functions from elsewhere. Kernels that spill, by element type:\n",
        machines.len(),
        forms.len(),
        mixers.len(),
        found.count(),
        calls.count(),
    );
    *page += "| element type | kernels | spill | stack without spill |\n|---|---|---|---|\n";
    for (dtype, all) in grouped(&machines, |r| r.dtype.clone()) {
        let spill = all.iter().filter(|(_, m)| m.spilled() > 0).count();
        let stack = all
            .iter()
            .filter(|(_, m)| m.spilled() == 0 && m.stack > 0)
            .count();
        let _ = writeln!(page, "| {dtype} | {} | {spill} | {stack} |", all.len());
    }
    let settled = machines.iter().filter(|(_, m)| m.room.is_some()).count();
    let _ = writeln!(
        page,
        "\n{settled} kernels spill where `ptxas` is told what it usually is, and are made with another limit on registers."
    );
}

type Found<'r> = (&'r Row, &'r Machine);

fn grouped<'r, K: Ord>(
    machines: &[Found<'r>],
    key: impl Fn(&Row) -> K,
) -> BTreeMap<K, Vec<Found<'r>>> {
    let mut groups: BTreeMap<K, Vec<Found<'r>>> = BTreeMap::new();
    for found in machines {
        groups.entry(key(found.0)).or_default().push(*found);
    }
    groups
}

fn name(row: &Row) -> String {
    format!("{} {} {} #{}", row.mixer, row.form, row.shape, row.index)
}

fn resources(rows: &[Row], page: &mut String) {
    *page += "\n## Resources by template\n\nMedian and largest; warps are those that a multiprocessor holds at a \
              time. The last column is the kernel with the most spills, else with the most registers.\n\n\
              | template | target | type | kernels | registers | shared KiB | warps, least | bound by | worst |\n\
              |---|---|---|---|---|---|---|---|---|\n";
    let machines = machines(rows);
    let groups = grouped(&machines, |r| {
        (r.template.clone(), r.target.clone(), r.dtype.clone())
    });
    for ((template, target, dtype), all) in groups {
        let registers = sorted(all.iter().map(|(_, m)| f64::from(m.registers)));
        let shared = sorted(all.iter().map(|(_, m)| f64::from(m.shared) / 1024.0));
        let warps = sorted(all.iter().map(|(_, m)| f64::from(m.warps)));
        let worst = all.iter().max_by_key(|(_, m)| (m.spilled(), m.registers));
        let least = all.iter().min_by_key(|(_, m)| m.warps);
        let (Some(worst), Some(least)) = (worst, least) else {
            continue;
        };
        let _ = writeln!(
            page,
            "| {template} | {target} | {dtype} | {} | {:.0}, {:.0} | {:.1}, {:.1} | {:.0}, {:.0} | {} | {}{} |",
            all.len(),
            middle(&registers),
            last(&registers),
            middle(&shared),
            last(&shared),
            middle(&warps),
            warps.first().copied().unwrap_or(0.0),
            least.1.bound,
            name(worst.0),
            match worst.1.spilled() {
                0 => String::new(),
                n => format!(" ({n} bytes spilled)"),
            },
        );
    }
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

fn middle(sorted: &[f64]) -> f64 {
    sorted.get(sorted.len() / 2).copied().unwrap_or(0.0)
}

fn last(sorted: &[f64]) -> f64 {
    sorted.last().copied().unwrap_or(0.0)
}

/// Classes with columns of their own; the others are summed.
const SHOWN: [Class; 9] = [
    Class::Matrix,
    Class::Ldsm,
    Class::Copy,
    Class::Lds,
    Class::Sts,
    Class::Mufu,
    Class::Fp32,
    Class::Int,
    Class::Barrier,
];

fn hot_loops(rows: &[Row], page: &mut String) {
    *page += "\n## Hot loops with matrix products\n\nInstructions of one warp in one turn. *Ideal* is the least number \
              that the statements of the tile loop need (see `crates/mixc-static/src/ideal.rs`): a yardstick, \
              without index arithmetic and changes of layout. Of each group, the kernel with the middle ratio and the \
              one with the worst.\n\n| template | target | type | kernel | all |";
    for class in SHOWN {
        let _ = write!(page, " {class} |");
    }
    *page += " other | ideal | ratio |\n|---|---|---|---|---|";
    *page += &"---|".repeat(SHOWN.len() + 3);
    page.push('\n');
    let with_ratio = |found: &Found| found.1.hot.as_ref()?.ratio;
    let mut machines = machines(rows);
    machines.retain(|found| with_ratio(found).is_some());
    let groups = grouped(&machines, |r| {
        (r.template.clone(), r.target.clone(), r.dtype.clone())
    });
    for ((template, target, dtype), mut all) in groups {
        let ratio = |found: &Found| with_ratio(found).unwrap_or(0.0);
        all.sort_by(|a, b| ratio(a).total_cmp(&ratio(b)));
        let mut picked = vec![all[all.len() / 2]];
        picked.extend(
            all.last()
                .filter(|l| !std::ptr::eq(l.0, picked[0].0))
                .copied(),
        );
        for (row, machine) in picked {
            let Some(hot) = &machine.hot else { continue };
            let _ = writeln!(
                page,
                "| {template} | {target} | {dtype} | {} {}",
                name(row),
                counts(hot)
            );
        }
    }
}

fn counts(hot: &Hot) -> String {
    let count = |class: Class| hot.classes.get(&class).copied().unwrap_or(0);
    let mut text = format!("| {} |", hot.instructions);
    for class in SHOWN {
        let _ = write!(text, " {} |", count(class));
    }
    let shown: usize = SHOWN.iter().map(|c| count(*c)).sum();
    let _ = write!(
        text,
        " {} | {:.0} | {:.2} |",
        hot.instructions - shown,
        hot.ideal.map_or(0.0, |i| i.total()),
        hot.ratio.unwrap_or(0.0)
    );
    text
}

fn predictions(rows: &[Row], predicted: &[String], page: &mut String) {
    *page += "\n## Predicted times (not measured)\n\nCycles of a multiprocessor for one turn of one block, by the unit \
              that is kept busy; the share is of the dense peak of the matrix unit, for all products that the kernel \
              executes. *Overlapped* is the longest unit alone, *in turns* the tensor cores and the longest of the \
              others one after the other. Blocks are those of the launch for each multiprocessor; where there are \
              fewer than one, the share of the whole chip is smaller by that factor.\n\n\
              | kernel | target | type | tensor | issue | fma | alu | special | shared | bound | share overlapped | \
              share in turns | blocks |\n|---|---|---|---|---|---|---|---|---|---|---|---|---|\n";
    for wanted in predicted {
        let own = rows
            .iter()
            .filter(|r| format!("{}/{}", r.mixer, r.form) == *wanted);
        for (row, machine) in machines(own) {
            let (Some(share), Some(hot)) = (&machine.share, &machine.hot) else {
                continue;
            };
            let Some(p) = &hot.prediction else { continue };
            let _ = writeln!(
                page,
                "| {} | {} | {} | {:.0} | {:.0} | {:.0} | {:.0} | {:.0} | {:.0} | {} | {:.0}% | {:.0}% | {} |",
                name(row),
                row.target,
                row.dtype,
                p.tensor,
                p.issue,
                p.fma,
                p.alu,
                p.special,
                p.shared,
                p.bound,
                100.0 * share.overlapped,
                100.0 * share.in_turns,
                share.blocks_per_multiprocessor,
            );
        }
    }
}

const REASONING: &str = "
Where the figures come from:

- Multiply-adds of 16-bit inputs a clock and multiprocessor: 1024 (A100), 512 (Ada), 2048 (H100), from the dense peaks \
in NVIDIA's architecture white papers divided by multiprocessors and clock; half of it for tf32. So an instruction of \
16 x 8 x 16 takes a quarter of a multiprocessor 8, 16 and 4 cycles.
- On sm_90 `mma.sync` does not reach the peak, which takes `wgmma`: others measured 62.9% on average (Luo et al. 2024, \
arXiv 2402.13499). Tensor cycles of `HMMA` there are longer by that, and the share is of the peak of `wgmma`.
- f32 products are three products of tf32 parts: 33% is the most that their share can be.
- Results a clock and multiprocessor (CUDA C++ Programming Guide, throughput of native arithmetic instructions): f32 \
additions and multiplications 64 on 8.0, 128 on 8.9 and 9.0; integers, comparisons and minima 64; special functions \
and most conversions 16; shuffles 32. Each of the four schedulers issues one instruction a clock. Shared memory moves \
128 bytes a clock.
- Bank conflicts, misses, waiting at barriers and for copies, and the code around the loops are left out: real shares \
are lower. What the page is good for is which unit is in the way, and by how much a change of the generated code \
should help.
";

fn spills(rows: &[Row], page: &mut String) {
    let mut all = machines(rows);
    all.retain(|(_, m)| m.spilled() > 0 || m.stack > 0);
    if all.is_empty() {
        return;
    }
    *page += "\n## Kernels with stack\n\nBytes of a thread: spilled stores and loads over the whole text, stack.\n\n\
              | kernel | target | type | template | stores | loads | stack | registers |\n\
              |---|---|---|---|---|---|---|---|\n";
    for (row, m) in all {
        let _ = writeln!(
            page,
            "| {} | {} | {} | {} | {} | {} | {} | {} |",
            name(row),
            row.target,
            row.dtype,
            row.template,
            m.spill_stores,
            m.spill_loads,
            m.stack,
            m.registers
        );
    }
}

fn failures(rows: &[Row], page: &mut String) {
    // Many rows fail for one reason: the first line of the message, once for each form.
    let mut reasons: BTreeMap<(&str, &str, &str), usize> = BTreeMap::new();
    for row in rows {
        if let Some(error) = &row.error {
            let line = error.lines().find(|l| !l.is_empty()).unwrap_or("");
            *reasons.entry((&row.mixer, &row.form, line)).or_default() += 1;
        }
    }
    if reasons.is_empty() {
        return;
    }
    *page += "\n## Without machine code\n\n| mixer | form | rows | reason |\n|---|---|---|---|\n";
    for ((mixer, form, reason), count) in reasons {
        let reason = reason.replace('|', "\\|");
        let _ = writeln!(page, "| {mixer} | {form} | {count} | {reason} |");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_of_one_kind_are_one_line() {
        let row = |target: &str, error: Option<&str>| Row {
            mixer: "m".into(),
            form: "f".into(),
            shape: "B=1".into(),
            target: target.into(),
            dtype: "bf16".into(),
            error: error.map(str::to_owned),
            ..Row::default()
        };
        let rows = [
            row("sm_80", Some("lowering: too | large\nmore")),
            row("sm_89", Some("lowering: too | large")),
            row("sm_90a", None),
        ];
        let page = markdown(&rows, "ptxas 1", &[]);
        assert!(
            page.contains("| m | f | 2 | lowering: too \\| large |"),
            "{page}"
        );
        assert!(page.contains("2 without machine code"));
    }
}
