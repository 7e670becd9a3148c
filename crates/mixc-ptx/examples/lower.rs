//! Prints the MLIR of the kernels in a file, for people who work on the lowering:
//! `cargo run -p mixc-ptx --example lower -- KERNELS.tile sm_90a WARPS STAGES [no-producer] [alternate]`.
//! All tensors count as aligned.

use mixc_ptx::{Options, Precision, Room, lower};
use mixc_text::Source;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [path, target, warps, stages, rest @ ..] = arguments.as_slice() else {
        return Err(
            "usage: lower KERNELS.tile TARGET WARPS STAGES [no-producer] [alternate]".into(),
        );
    };
    let text = std::fs::read_to_string(path)?;
    let kernels = mixc_tile::parse_kernels(&Source::new(path, &text))
        .map_err(|found| format!("{path} does not parse: {found:?}"))?;
    for kernel in &kernels {
        let options = Options {
            target: target.parse()?,
            precision: Precision::default(),
            warps: warps.parse()?,
            stages: stages.parse()?,
            aligned: kernel.tensors.iter().map(|t| t.name.clone()).collect(),
            producer: !rest.iter().any(|r| r == "no-producer"),
            alternate: rest.iter().any(|r| r == "alternate"),
            room: Room::default(),
        };
        print!("{}", lower(kernel, &options)?.mlir);
    }
    Ok(())
}
