//! What the tools say of a PTX file: resources, blocks at a time, and instructions of the loops.
//!
//!   cargo run -p mixc-nvtools --example inspect -- FILE.ptx ARCH [THREADS [SHARED-BYTES]]

use mixc_nvtools::{Footprint, Limits, Nvdisasm, Ptxas, occupancy};
use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [file, arch, launch @ ..] = arguments.as_slice() else {
        return Err("expected FILE.ptx ARCH [THREADS [SHARED-BYTES]]".into());
    };
    let assembled = Ptxas::find()?.assemble(&std::fs::read_to_string(file)?, arch)?;
    for finding in &assembled.findings {
        println!("{:?}: {}", finding.kind, finding.text);
    }
    for entry in &assembled.entries {
        println!("{entry:?}");
        if let (Some(limits), Some(threads)) = (Limits::of(arch), launch.first()) {
            let dynamic: u32 = launch.get(1).map_or(Ok(0), |s| s.parse())?;
            let block = Footprint {
                threads: threads.parse()?,
                registers: entry.registers,
                shared: entry.shared_static + dynamic,
            };
            println!("  {:?}", occupancy(limits, &block));
        }
    }
    for function in Nvdisasm::find()?.functions(&assembled.cubin)? {
        println!("{}: {}", function.name, function.counts());
        for found in function.loops() {
            let mark = if found.innermost { ", innermost" } else { "" };
            let (at, depth) = (16 * found.head, found.depth);
            println!(
                "  at {at:#06x}, depth {depth}, {:?}{mark}: {}",
                found.kind, found.counts
            );
        }
    }
    Ok(())
}
