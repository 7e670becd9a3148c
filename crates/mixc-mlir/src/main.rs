//! `mixc-mlir`: the worker process, and the same on the command line for looking at a module.

use clap::Parser;
use mixc_mlir::Target;
use mixc_nvtools::protocol::{Request, Response, read_frame, write_frame};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Lowers MLIR to PTX. Without a file, serves requests on standard input until it ends.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// The module to lower; `-` is standard input.
    file: Option<PathBuf>,
    /// The processor, as LLVM names it.
    #[arg(long, default_value = "sm_80")]
    chip: String,
    /// The PTX version without its dot (83 is 8.3); by default what the chip needs.
    #[arg(long, default_value = "")]
    ptx: String,
    /// Print the LLVM IR instead, before LLVM's own passes.
    #[arg(long)]
    llvm: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match &arguments.file {
        Some(file) => lower_file(&arguments, file),
        None => serve().map_err(|e| e.to_string()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(what) => {
            eprintln!("mixc-mlir: {what}");
            ExitCode::FAILURE
        }
    }
}

fn lower_file(arguments: &Arguments, file: &Path) -> Result<(), String> {
    let text = if file == Path::new("-") {
        let mut text = String::new();
        io::stdin().read_to_string(&mut text).map(|_| text)
    } else {
        std::fs::read_to_string(file)
    };
    let text = text.map_err(|e| format!("{}: {e}", file.display()))?;
    let target = Target::new(&arguments.chip, &arguments.ptx).map_err(|e| e.to_string())?;
    let lower = if arguments.llvm {
        mixc_mlir::llvm_ir
    } else {
        mixc_mlir::ptx
    };
    let printed = lower(&target, &text).map_err(|e| format!("{}:\n{e}", file.display()))?;
    print!("{printed}");
    Ok(())
}

fn serve() -> io::Result<()> {
    let (mut input, mut output) = (io::stdin().lock(), io::stdout().lock());
    while let Some(request) = read_frame::<Request>(&mut input)? {
        write_frame(&mut output, &answer(&request))?;
    }
    Ok(())
}

fn answer(request: &Request) -> Response {
    let lowered = Target::new(&request.chip, &request.ptx)
        .map_err(|e| e.to_string())
        .and_then(|target| mixc_mlir::ptx(&target, &request.mlir));
    match lowered {
        Ok(ptx) => Response::Ptx(ptx),
        Err(what) => Response::Error(what),
    }
}
