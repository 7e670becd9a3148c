//! The machine that code is generated for: the one at hand.

use crate::error::CompileError;
use cranelift_codegen::isa::OwnedTargetIsa;
use cranelift_codegen::settings::{self, Configurable};

/// What generated code may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Features {
    /// The triple, for instance `x86_64-unknown-linux-gnu`.
    pub target: String,
    /// Whether a multiply-add is one instruction. Without it kernels are correct but slower: a
    /// product and a sum take its place.
    pub fma: bool,
}

/// The instruction set of this machine, with the features that it reports.
pub(crate) fn isa(optimise: bool) -> Result<(OwnedTargetIsa, Features), CompileError> {
    let machine = |e: &dyn std::fmt::Display| CompileError::Machine(e.to_string());
    let mut flags = settings::builder();
    let level = if optimise { "speed" } else { "none" };
    for (name, value) in [
        ("opt_level", level),
        ("is_pic", "false"),
        ("use_colocated_libcalls", "false"),
        (
            "enable_verifier",
            if cfg!(debug_assertions) {
                "true"
            } else {
                "false"
            },
        ),
    ] {
        flags.set(name, value).map_err(|e| machine(&e))?;
    }
    let builder = cranelift_native::builder().map_err(|e| machine(&e))?;
    let isa = builder
        .finish(settings::Flags::new(flags))
        .map_err(|e| machine(&e))?;
    // Every other supported architecture always has it.
    let x86 = isa.name().starts_with("x64") || isa.name().starts_with("x86");
    let fma = !x86
        || isa
            .isa_flags()
            .iter()
            .any(|f| f.name == "has_fma" && f.as_bool() == Some(true));
    Ok((
        isa.clone(),
        Features {
            target: isa.triple().to_string(),
            fma,
        },
    ))
}
