//! PTX text to machine code through NVIDIA's assembler, with what it says about the code.

mod report;

pub use report::{EntryStats, Finding, FindingKind};

use crate::command::run_within;
use crate::find::{Missing, Tool, project_tools};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

const PTXAS: Tool = Tool {
    name: "ptxas",
    variable: "MIXC_PTXAS",
    purpose: "it assembles PTX into machine code and reports registers, spills and shared memory",
    remedy: "Run `make setup`, which fetches it into .tools/cuda/bin, or install the CUDA toolkit; or set MIXC_PTXAS \
             to the file.",
};

/// Why there is no machine code.
#[derive(Debug, thiserror::Error)]
pub enum AssembleError {
    /// The text is wrong: the assembler's messages, with line numbers of the text.
    #[error("ptxas refused the text ({status}):\n{messages}")]
    Refused {
        status: ExitStatus,
        messages: String,
    },
    #[error("ptxas took more than {0:?} and was ended")]
    TimedOut(Duration),
    #[error("{program} could not be run: {source}")]
    Run { program: PathBuf, source: io::Error },
}

/// What became of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assembled {
    /// The ELF file with the machine code.
    pub cubin: Vec<u8>,
    /// One for each `.entry` of the text, in its order.
    pub entries: Vec<EntryStats>,
    /// Warnings, and advice about performance.
    pub findings: Vec<Finding>,
}

impl Assembled {
    pub fn entry(&self, name: &str) -> Option<&EntryStats> {
        self.entries.iter().find(|e| e.name == name)
    }
}

/// NVIDIA's `ptxas`.
#[derive(Clone, Debug)]
pub struct Ptxas {
    program: PathBuf,
    limit: Duration,
}

impl Ptxas {
    /// The one named by `MIXC_PTXAS`; else the project's own; else the one on PATH; else that of an
    /// installed toolkit.
    pub fn find() -> Result<Ptxas, Missing> {
        Ok(Ptxas::at(PTXAS.find(&project_tools())?))
    }

    /// The one at a given place; 120 s a call.
    pub fn at(program: impl Into<PathBuf>) -> Ptxas {
        Ptxas {
            program: program.into(),
            limit: Duration::from_secs(120),
        }
    }

    /// How long a call may take before its process is killed.
    pub fn with_time_limit(self, limit: Duration) -> Ptxas {
        Ptxas { limit, ..self }
    }

    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Assembles at full optimisation for `arch`, named like the text's `.target`: `sm_90a`.
    pub fn assemble(&self, ptx: &str, arch: &str) -> Result<Assembled, AssembleError> {
        let run_error = |source| AssembleError::Run {
            program: self.program.clone(),
            source,
        };
        let folder = tempfile::Builder::new().prefix("mixc-ptxas").tempdir();
        let folder = folder.map_err(run_error)?;
        let (text, cubin) = (
            folder.path().join("text.ptx"),
            folder.path().join("out.cubin"),
        );
        std::fs::write(&text, ptx).map_err(run_error)?;
        let mut command = Command::new(&self.program);
        command.args(["-v", "-O3", "-arch", arch, "-o"]);
        command.arg(&cubin).arg(&text);
        let output = run_within(&mut command, self.limit).map_err(run_error)?;
        let output = output.ok_or(AssembleError::TimedOut(self.limit))?;
        // The folder is temporary: messages name the text by its line alone.
        let shown = format!("{}, ", text.display());
        let messages = (output.stdout + &output.stderr).replace(&shown, "");
        if !output.status.success() {
            return Err(AssembleError::Refused {
                status: output.status,
                messages: messages.trim_end().to_string(),
            });
        }
        let (entries, findings) = report::parse(&messages);
        let cubin = std::fs::read(&cubin).map_err(run_error)?;
        Ok(Assembled {
            cubin,
            entries,
            findings,
        })
    }
}
