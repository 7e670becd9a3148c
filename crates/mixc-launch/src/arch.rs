//! GPU architectures by their PTX names: which cards run what, and how large a block may be.

use std::fmt;
use std::str::FromStr;

/// The target of a PTX module, e.g. `sm_80` or `sm_90a`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Arch {
    /// 80 for `sm_80`, 120 for `sm_120`.
    pub number: u32,
    pub scope: Scope,
}

/// Which cards run code for a target (PTX ISA 9.0, `.target`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// This compute capability and all later ones.
    Later,
    /// This compute capability and later ones of the same major number (suffix `f`).
    Family,
    /// This compute capability only (suffix `a`).
    Exact,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{name}' is not a GPU target; expected sm_80, sm_90a or the like")]
pub struct ArchError {
    pub name: String,
}

impl Arch {
    /// Whether PTX for this target runs on a card of compute capability `cc`.
    pub fn runs_on(self, cc: (u32, u32)) -> bool {
        let card = cc.0 * 10 + cc.1;
        match self.scope {
            Scope::Later => card >= self.number,
            Scope::Family => card >= self.number && card / 10 == self.number / 10,
            Scope::Exact => card == self.number,
        }
    }

    /// Whether machine code (a cubin) for this target runs on the card: never across major numbers.
    pub fn cubin_runs_on(self, cc: (u32, u32)) -> bool {
        self.runs_on(cc) && self.number / 10 == cc.0
    }

    /// Shared memory that one block may ask for, in bytes
    /// (CUDA C++ Programming Guide, "Technical Specifications per Compute Capability").
    /// Cards that are not in the table get the smallest value of the newer ones.
    pub fn max_shared_bytes(self) -> u32 {
        let kib = match self.number {
            ..70 => 48,
            70..75 => 96,
            75..80 => 64,
            80 | 87 => 163,
            90..120 => 227,
            _ => 99,
        };
        kib * 1024
    }

    /// Whether bulk tensor copies and their maps exist.
    pub fn has_tensor_maps(self) -> bool {
        self.number >= 90
    }
}

impl FromStr for Arch {
    type Err = ArchError;

    fn from_str(name: &str) -> Result<Arch, ArchError> {
        let failed = || ArchError {
            name: name.to_owned(),
        };
        let rest = name.strip_prefix("sm_").ok_or_else(failed)?;
        let (digits, scope) = match rest.strip_suffix(['a', 'f']) {
            Some(digits) if rest.ends_with('a') => (digits, Scope::Exact),
            Some(digits) => (digits, Scope::Family),
            None => (rest, Scope::Later),
        };
        let plain = (2..=3).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
        if !plain {
            return Err(failed());
        }
        let number = digits.parse().map_err(|_| failed())?;
        Ok(Arch { number, scope })
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let suffix = match self.scope {
            Scope::Later => "",
            Scope::Family => "f",
            Scope::Exact => "a",
        };
        write!(f, "sm_{}{suffix}", self.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back() {
        for name in ["sm_80", "sm_90a", "sm_100f", "sm_120"] {
            assert_eq!(name.parse::<Arch>().unwrap().to_string(), name);
        }
        for name in [
            "",
            "sm_",
            "sm_a",
            "80",
            "sm_9x",
            "sm_90aa",
            "sm_+80",
            "sm_1234",
            "compute_80",
        ] {
            assert!(name.parse::<Arch>().is_err(), "{name}");
        }
    }

    #[test]
    fn suffixes_bind_code_to_cards() {
        let runs = |name: &str, cc| name.parse::<Arch>().unwrap().runs_on(cc);
        assert!(runs("sm_80", (8, 0)) && runs("sm_80", (9, 0)) && runs("sm_80", (12, 0)));
        assert!(!runs("sm_80", (7, 5)));
        assert!(runs("sm_90a", (9, 0)) && !runs("sm_90a", (10, 0)) && !runs("sm_90a", (8, 9)));
        assert!(runs("sm_100f", (10, 3)) && !runs("sm_100f", (12, 0)));
        let cubin = |name: &str, cc| name.parse::<Arch>().unwrap().cubin_runs_on(cc);
        assert!(cubin("sm_80", (8, 6)) && !cubin("sm_80", (9, 0)));
    }
}
