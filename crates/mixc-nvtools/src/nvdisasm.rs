//! Machine code as text, through NVIDIA's disassembler.

use crate::command::run_within;
use crate::find::{Missing, Tool, project_tools};
use crate::sass::{Function, Instruction};
use serde::Deserialize;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const NVDISASM: Tool = Tool {
    name: "nvdisasm",
    variable: "MIXC_NVDISASM",
    purpose: "it shows the machine code of a kernel, for instruction counts",
    remedy: "Run `make setup`, which fetches it into .tools/cuda/bin, or install the CUDA toolkit (12.0 or newer); or \
             set MIXC_NVDISASM to the file.",
};

const LIMIT: Duration = Duration::from_secs(120);

/// Why a cubin could not be read.
#[derive(Debug, thiserror::Error)]
pub enum DisassembleError {
    #[error("nvdisasm refused the file: {0}")]
    Refused(String),
    #[error("nvdisasm took more than {LIMIT:?} and was ended")]
    TimedOut,
    #[error("the output of nvdisasm was not understood: {0}")]
    Unexpected(#[from] serde_json::Error),
    #[error("{program} could not be run: {source}")]
    Run { program: PathBuf, source: io::Error },
}

/// NVIDIA's `nvdisasm`.
#[derive(Clone, Debug)]
pub struct Nvdisasm {
    program: PathBuf,
}

impl Nvdisasm {
    /// Found as [`crate::Ptxas::find`] finds its tool, with the variable `MIXC_NVDISASM`.
    pub fn find() -> Result<Nvdisasm, Missing> {
        Ok(Nvdisasm::at(NVDISASM.find(&project_tools())?))
    }

    pub fn at(program: impl Into<PathBuf>) -> Nvdisasm {
        Nvdisasm {
            program: program.into(),
        }
    }

    pub fn program(&self) -> &Path {
        &self.program
    }

    /// The functions of a cubin, as [`crate::Assembled`] has it.
    pub fn functions(&self, cubin: &[u8]) -> Result<Vec<Function>, DisassembleError> {
        let run_error = |source| DisassembleError::Run {
            program: self.program.clone(),
            source,
        };
        let folder = tempfile::Builder::new().prefix("mixc-sass").tempdir();
        let folder = folder.map_err(run_error)?;
        let file = folder.path().join("code.cubin");
        std::fs::write(&file, cubin).map_err(run_error)?;
        let mut command = Command::new(&self.program);
        command.arg("-json").arg(&file);
        let output = run_within(&mut command, LIMIT).map_err(run_error)?;
        let output = output.ok_or(DisassembleError::TimedOut)?;
        if !output.status.success() {
            return Err(DisassembleError::Refused(output.stderr.trim().to_string()));
        }
        parse(&output.stdout)
    }
}

/// One function of the list that follows the header (CUDA Binary Utilities, "JSON Format").
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Listed {
    function_name: String,
    sass_instructions: Vec<ListedInstruction>,
}

#[derive(Deserialize)]
struct ListedInstruction {
    predicate: Option<String>,
    opcode: String,
    #[serde(default)]
    operands: String,
}

fn parse(json: &str) -> Result<Vec<Function>, DisassembleError> {
    let (_header, listed): (serde_json::Value, Vec<Listed>) = serde_json::from_str(json)?;
    let functions = listed.into_iter().map(|function| {
        let instructions = function.sass_instructions.into_iter().map(|i| Instruction {
            predicate: i.predicate,
            opcode: i.opcode,
            operands: i.operands,
        });
        Function {
            name: function.function_name,
            instructions: instructions.collect(),
        }
    });
    Ok(functions.collect())
}
