//! MLIR text to PTX text, through a pool of worker processes.

use crate::find::{Missing, Tool, beside_this_program};
use crate::protocol::{Request, Response};
use crate::worker::{Failure, Worker};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::Duration;

const WORKER: Tool = Tool {
    name: "mixc-mlir",
    variable: "MIXC_MLIR",
    purpose: "it lowers MLIR to PTX for the NVIDIA target",
    remedy: "Run `make setup`, which installs LLVM and MLIR 22 (Debian packages llvm-22-dev and libmlir-22-dev among \
             them), then `cargo build -p mixc-mlir`; or set MIXC_MLIR to the file.",
};

/// Why there is no PTX.
#[derive(Debug, thiserror::Error)]
pub enum TranslateError {
    /// The module is wrong: diagnostics of the parser, the verifier or a pass, with their places.
    #[error("the module was refused:\n{0}")]
    Refused(String),
    /// LLVM ended the worker, as it does on an operation that it cannot select.
    #[error("the translation ended without an answer ({status}): {stderr}")]
    Died { status: ExitStatus, stderr: String },
    #[error("the translation took more than {0:?} and was ended")]
    TimedOut(Duration),
    #[error("no answer from the worker {program}: {source}")]
    Worker {
        program: PathBuf,
        source: std::io::Error,
    },
}

/// The worker's client. Shared between threads: each caller has a process to itself while it is
/// served, and processes are kept for the next call. None runs before the first call.
pub struct Translator {
    program: PathBuf,
    limit: Duration,
    most: usize,
    pool: Mutex<Pool>,
    freed: Condvar,
}

#[derive(Default)]
struct Pool {
    idle: Vec<Worker>,
    busy: usize,
}

impl Translator {
    /// The worker named by `MIXC_MLIR`; else the one beside this program or one folder above; else
    /// the one on PATH.
    pub fn find() -> Result<Translator, Missing> {
        Ok(Translator::at(WORKER.find(&beside_this_program())?))
    }

    /// The worker at a given place. As many processes as the machine has processors, 60 s a call.
    pub fn at(program: impl Into<PathBuf>) -> Translator {
        Translator {
            program: program.into(),
            limit: Duration::from_secs(60),
            most: std::thread::available_parallelism().map_or(1, |n| n.get()),
            pool: Mutex::default(),
            freed: Condvar::new(),
        }
    }

    /// How long a call may take before its process is killed.
    pub fn with_time_limit(self, limit: Duration) -> Translator {
        Translator { limit, ..self }
    }

    /// How many processes there are at most; further callers wait. At least 1.
    pub fn with_processes(self, most: usize) -> Translator {
        Translator {
            most: most.max(1),
            ..self
        }
    }

    /// Where the worker lies.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Lowers a module for a chip (`sm_90a`), in the default PTX version of that chip.
    pub fn ptx(&self, chip: &str, mlir: &str) -> Result<String, TranslateError> {
        self.ptx_version(chip, "", mlir)
    }

    /// Lowers a module in a given PTX version, written without its dot: `83` is 8.3.
    pub fn ptx_version(
        &self,
        chip: &str,
        version: &str,
        mlir: &str,
    ) -> Result<String, TranslateError> {
        let request = Request {
            chip: chip.into(),
            ptx: version.into(),
            mlir: mlir.into(),
        };
        let mut place = Place::take(self);
        let failed = |source| TranslateError::Worker {
            program: self.program.clone(),
            source,
        };
        let mut worker = match place.worker.take() {
            Some(worker) => worker,
            None => Worker::start(&self.program).map_err(failed)?,
        };
        let answer = worker.exchange(request, self.limit);
        match answer {
            // Only a worker that answered is kept; the others are of no more use.
            Ok(response) => {
                place.worker = Some(worker);
                match response {
                    Response::Ptx(ptx) => Ok(ptx),
                    Response::Error(text) => Err(TranslateError::Refused(text)),
                }
            }
            Err(Failure::Died { status, stderr }) => Err(TranslateError::Died { status, stderr }),
            Err(Failure::TimedOut) => Err(TranslateError::TimedOut(self.limit)),
            Err(Failure::Garbled(source)) => Err(failed(source)),
        }
    }

    fn pool(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(|e| e.into_inner())
    }
}

impl std::fmt::Debug for Translator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Translator({})", self.program.display())
    }
}

/// One caller's right to a process. Given back when dropped, with the worker that it then holds.
struct Place<'a> {
    translator: &'a Translator,
    worker: Option<Worker>,
}

impl<'a> Place<'a> {
    fn take(translator: &'a Translator) -> Place<'a> {
        let mut pool = translator.pool();
        while pool.busy >= translator.most {
            pool = translator
                .freed
                .wait(pool)
                .unwrap_or_else(|e| e.into_inner());
        }
        pool.busy += 1;
        // Something else may have ended a worker while it was idle.
        let mut worker = pool.idle.pop();
        while worker.as_mut().is_some_and(|w| !w.is_alive()) {
            worker = pool.idle.pop();
        }
        Place { translator, worker }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut pool = self.translator.pool();
        pool.busy -= 1;
        pool.idle.extend(self.worker.take());
        self.translator.freed.notify_one();
    }
}
