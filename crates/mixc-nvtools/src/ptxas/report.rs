//! Reads what `ptxas -v` prints: one paragraph for each entry function, and remarks between.

/// Resources of one kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EntryStats {
    pub name: String,
    /// 32-bit registers of a thread.
    pub registers: u32,
    /// Bytes of shared memory that the text declares with a size; what a launch adds is not in it.
    pub shared_static: u32,
    /// Bytes of constant memory, parameters included.
    pub constant: u32,
    /// Bytes of stack of a thread: arrays indexed at run time, and spilled registers.
    pub stack: u32,
    /// Bytes that a thread spills, added over all places that do so.
    pub spill_stores: u32,
    /// Bytes read back, likewise.
    pub spill_loads: u32,
    /// Named barriers of a block (`bar.sync` and its kin).
    pub barriers: u32,
}

impl EntryStats {
    /// Bytes of a thread, stores and loads over the whole text.
    pub fn spilled(&self) -> u32 {
        self.spill_stores + self.spill_loads
    }
}

/// A warning or a piece of advice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub kind: FindingKind,
    /// The whole line.
    pub text: String,
}

/// The findings that a tuner or a reader acts on by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FindingKind {
    /// `wgmma` products wait for each other: something touches their registers in flight, or a
    /// function call or a branch lies between.
    WgmmaSerialized,
    /// The assembler added a wait for running products, or a fence before one, because the text
    /// touches their registers without.
    WgmmaSyncInjected,
    /// `setmaxnreg` has no effect, so that warps keep the registers of the launch.
    SetmaxnregIgnored,
    /// Other advice: what has a number such as `(C7508)` and is no warning.
    Advice,
    /// Any other warning.
    Warning,
}

/// The entries in order, and the findings.
pub(super) fn parse(messages: &str) -> (Vec<EntryStats>, Vec<Finding>) {
    let mut entries: Vec<EntryStats> = vec![];
    let mut findings = vec![];
    // The function that the lines of figures belong to; entries and functions that they call.
    let mut function = "";
    for line in messages.lines() {
        if let Some(kind) = finding(line) {
            let text = line.trim().to_string();
            findings.push(Finding { kind, text });
        } else if let Some(name) = between(line, "Compiling entry function '", "'") {
            function = name;
            entries.push(EntryStats {
                name: name.to_string(),
                ..EntryStats::default()
            });
        } else if let Some((_, name)) = line.split_once("Function properties for ") {
            function = name.trim();
        } else if let Some(entry) = entries.last_mut().filter(|e| e.name == function) {
            figures(line, entry);
        }
    }
    (entries, findings)
}

fn finding(line: &str) -> Option<FindingKind> {
    let has = |parts: &[&str]| parts.iter().all(|p| line.contains(p));
    if has(&["wgmma", "serialized"]) {
        return Some(FindingKind::WgmmaSerialized);
    }
    if has(&["warpgroup.", "injected"]) {
        return Some(FindingKind::WgmmaSyncInjected);
    }
    if has(&["setmaxnreg", "ignored"]) {
        return Some(FindingKind::SetmaxnregIgnored);
    }
    if has(&["warning"]) {
        return Some(FindingKind::Warning);
    }
    has(&[": (C"]).then_some(FindingKind::Advice)
}

/// Takes up the parts of a line such as `Used 32 registers, used 1 barriers, 1024 bytes smem`.
fn figures(line: &str, entry: &mut EntryStats) {
    let line = line.split_once(" : ").map_or(line, |(_, rest)| rest);
    for part in line.split(',') {
        let part = part.trim().trim_start_matches(['U', 'u']);
        let part = part.strip_prefix("sed ").unwrap_or(part);
        let Some((number, what)) = part.split_once(' ') else {
            continue;
        };
        let Ok(number) = number.parse() else { continue };
        match what {
            "registers" => entry.registers = number,
            "barriers" => entry.barriers = number,
            "bytes smem" => entry.shared_static = number,
            "bytes stack frame" => entry.stack = number,
            "bytes spill stores" => entry.spill_stores = number,
            "bytes spill loads" => entry.spill_loads = number,
            _ if what.starts_with("bytes cmem[") => entry.constant += number,
            _ => {}
        }
    }
}

fn between<'a>(line: &'a str, before: &str, after: &str) -> Option<&'a str> {
    let (_, rest) = line.split_once(before)?;
    Some(rest.split_once(after)?.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    // Made by hand in the form that ptxas 12.9 prints.
    const TEXT: &str = "\
ptxas info    : (C7510) Potential Performance Loss: wgmma.mma_async instructions are serialized due to something in the function 'first'
ptxas info    : (C7508) Potential Performance Loss: 'setmaxnreg' ignored to maintain minimum register requirement.
ptxas info    : (C7517) warpgroup.wait is injected in around line 22 by compiler to allow use of registers
ptxas info    : 16 bytes gmem, 8 bytes cmem[4]
ptxas info    : Compiling entry function 'first' for 'sm_90a'
ptxas info    : Function properties for first
    64 bytes stack frame, 12 bytes spill stores, 20 bytes spill loads
ptxas info    : Used 168 registers, used 3 barriers, 64 bytes cumulative stack size, 2048 bytes smem, 560 bytes cmem[0], 4 bytes cmem[2]
ptxas info    : Function properties for helper
    8 bytes stack frame, 1 bytes spill stores, 2 bytes spill loads
ptxas warning : Registers are spilled to local memory in function 'first', 12 bytes spill stores
ptxas info    : Compiling entry function 'second' for 'sm_90a'
ptxas info    : Function properties for second
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 10 registers, used 0 barriers
";

    #[test]
    fn figures_go_to_their_entry() {
        let (entries, _) = parse(TEXT);
        let first = EntryStats {
            name: "first".into(),
            registers: 168,
            shared_static: 2048,
            constant: 564,
            stack: 64,
            spill_stores: 12,
            spill_loads: 20,
            barriers: 3,
        };
        let second = EntryStats {
            name: "second".into(),
            registers: 10,
            ..EntryStats::default()
        };
        assert_eq!(entries, [first, second]);
    }

    #[test]
    fn findings_are_named() {
        let (_, findings) = parse(TEXT);
        let kinds: Vec<FindingKind> = findings.iter().map(|f| f.kind).collect();
        let expected = [
            FindingKind::WgmmaSerialized,
            FindingKind::SetmaxnregIgnored,
            FindingKind::WgmmaSyncInjected,
            FindingKind::Warning,
        ];
        assert_eq!(kinds, expected);
        assert!(findings[0].text.contains("'first'"));
    }
}
