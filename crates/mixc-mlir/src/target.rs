//! Chips and PTX versions. Checked here because LLVM only warns of a chip that it does not know and
//! compiles for another, and ends the process where the version is too low for the chip.

/// The chips that kernels are made for: name, the first PTX version that has it (PTX ISA, "Release
/// Notes", supported targets), and the one used unless asked for, which the instructions that the
/// chip is chosen for need (`wgmma` 8.0; `cp.async.bulk` into a block's own memory and `tcgen05` 8.6).
const CHIPS: &[(&str, u32, u32)] = &[
    ("sm_75", 63, 78),
    ("sm_80", 70, 78),
    ("sm_86", 71, 78),
    ("sm_87", 74, 78),
    ("sm_89", 78, 78),
    ("sm_90", 78, 83),
    ("sm_90a", 80, 83),
    ("sm_100", 86, 86),
    ("sm_100a", 86, 86),
    ("sm_103", 88, 88),
    ("sm_103a", 88, 88),
    ("sm_120", 87, 87),
    ("sm_120a", 87, 87),
    ("sm_121", 88, 88),
    ("sm_121a", 88, 88),
];

/// The PTX versions that LLVM 22 writes, from the first that a chip above has.
const VERSIONS: &[u32] = &[
    63, 64, 65, 70, 71, 72, 73, 74, 75, 76, 77, 78, 80, 81, 82, 83, 84, 85, 86, 87, 88, 90,
];

/// A chip and a PTX version that go together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    chip: &'static str,
    version: u32,
}

/// A chip or version that cannot be compiled for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetError(String);

impl std::fmt::Display for TargetError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl Target {
    /// `chip` as LLVM names it (`sm_90a`), `version` without its dot (`83`), or empty for the
    /// default of the chip.
    pub fn new(chip: &str, version: &str) -> Result<Target, TargetError> {
        let Some(&(chip, first, usual)) = CHIPS.iter().find(|(name, ..)| *name == chip) else {
            let known: Vec<&str> = CHIPS.iter().map(|(name, ..)| *name).collect();
            let known = known.join(", ");
            return Err(TargetError(format!(
                "unknown chip '{chip}', expected one of {known}"
            )));
        };
        if version.is_empty() {
            return Ok(Target {
                chip,
                version: usual,
            });
        }
        let found = VERSIONS.iter().find(|v| v.to_string() == version);
        let Some(&version) = found else {
            let known: Vec<String> = VERSIONS.iter().map(u32::to_string).collect();
            let known = known.join(", ");
            return Err(TargetError(format!(
                "unknown PTX version '{version}', expected one of {known}"
            )));
        };
        if version < first {
            return Err(TargetError(format!(
                "PTX version {version} does not have {chip}, which came with {first}"
            )));
        }
        Ok(Target { chip, version })
    }

    pub fn chip(&self) -> &'static str {
        self.chip
    }

    /// The subtarget feature that selects the version: `+ptx83`.
    pub fn features(&self) -> String {
        format!("+ptx{}", self.version)
    }
}
