//! Where a mixer can run, and in which direction.

use std::fmt;
use std::str::FromStr;

/// What executes a form.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// The f64 interpreter of the core IR.
    Interp,
    /// The interpreter of the tile IR, on the scheduled kernels.
    Tile,
    /// Machine code for this CPU.
    Cpu,
    /// PTX for an NVIDIA architecture, e.g. `sm_90a`.
    Gpu(mixc_ptx::Target),
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Target, String> {
        match text {
            "interp" => Ok(Target::Interp),
            "tile" => Ok(Target::Tile),
            "cpu" => Ok(Target::Cpu),
            _ if text.starts_with("sm_") => text.parse().map(Target::Gpu),
            _ => Err(
                "expected cpu, tile, interp, or an NVIDIA architecture such as sm_90a".to_owned(),
            ),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Target::Interp => "interp",
            Target::Tile => "tile",
            Target::Cpu => "cpu",
            Target::Gpu(target) => target.chip(),
        })
    }
}

/// Which function of a mixer: itself, its gradient, or one step of decoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    Forward,
    Backward,
    Step,
}

impl FromStr for Direction {
    type Err = String;

    fn from_str(text: &str) -> Result<Direction, String> {
        match text {
            "forward" => Ok(Direction::Forward),
            "backward" => Ok(Direction::Backward),
            "step" => Ok(Direction::Step),
            _ => Err("expected forward, backward or step".to_owned()),
        }
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Direction::Forward => "forward",
            Direction::Backward => "backward",
            Direction::Step => "step",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_print_as_they_parse() {
        for text in ["interp", "tile", "cpu", "sm_90a"] {
            assert_eq!(text.parse::<Target>().unwrap().to_string(), text);
        }
        assert!("sm_".parse::<Target>().is_err() && "gpu".parse::<Target>().is_err());
    }
}
