//! MLIR to machine code and its instruction counts, each text once.

use crate::Error;
use mixc_nvtools::sass::{Counts, Function, LoopKind};
use mixc_nvtools::{EntryStats, Finding, Nvdisasm, Ptxas, Translator};
use mixc_ptx::PtxKernel;
use std::collections::HashMap;
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// The tools that turn kernels into machine code.
pub struct Tools {
    translator: Translator,
    ptxas: Ptxas,
    nvdisasm: Nvdisasm,
    known: Mutex<HashMap<String, Arc<Result<Code, String>>>>,
}

/// What is known about the machine code of a kernel.
#[derive(Clone, Debug)]
pub struct Code {
    pub stats: EntryStats,
    pub findings: Vec<Finding>,
    /// Functions that the text declares without a body: there should be none.
    pub externs: Vec<String>,
    /// The whole function.
    pub counts: Counts,
    pub loops: Vec<CodeLoop>,
    pub translated: Duration,
    pub assembled: Duration,
}

/// A loop of the machine code, with one turn's instructions.
#[derive(Clone, Debug)]
pub struct CodeLoop {
    pub innermost: bool,
    pub counts: Counts,
}

impl Tools {
    /// # Errors
    /// The first tool that is not installed.
    pub fn find() -> Result<Tools, Error> {
        Ok(Tools {
            translator: Translator::find()?,
            ptxas: Ptxas::find()?,
            nvdisasm: Nvdisasm::find()?,
            known: Mutex::default(),
        })
    }

    /// The machine code of a kernel, or what a tool said against it. `hash` is that of the kernel's text.
    pub fn code(&self, kernel: &PtxKernel, hash: &str) -> Arc<Result<Code, String>> {
        if let Some(known) = self.known().get(hash) {
            return known.clone();
        }
        let code = Arc::new(self.make(kernel));
        self.known().insert(hash.to_owned(), code.clone());
        code
    }

    /// Time spent in the translation to PTX and in `ptxas`, and for how many texts.
    pub fn spent(&self) -> (Duration, Duration, u32) {
        let known = self.known();
        let codes = known.values().filter_map(|c| c.as_ref().as_ref().ok());
        codes.fold((Duration::ZERO, Duration::ZERO, 0), |(t, a, n), c| {
            (t + c.translated, a + c.assembled, n + 1)
        })
    }

    /// The assembler and the translator, with their versions.
    pub fn versions(&self) -> String {
        format!("ptxas {}, LLVM {}", self.ptxas_version(), llvm_version())
    }

    /// The version of `ptxas`: `12.9.86`.
    fn ptxas_version(&self) -> String {
        let output = Command::new(self.ptxas.program()).arg("--version").output();
        let text = output.map(|o| String::from_utf8_lossy(&o.stdout).into_owned());
        let text = text.unwrap_or_default();
        // `Cuda compilation tools, release 12.9, V12.9.86`
        let version = text.split_whitespace().rev().find_map(|word| {
            let version = word.strip_prefix('V')?;
            version
                .starts_with(|c: char| c.is_ascii_digit())
                .then(|| version.to_owned())
        });
        version.unwrap_or_else(|| "unknown".to_owned())
    }

    fn make(&self, kernel: &PtxKernel) -> Result<Code, String> {
        let chip = kernel.target.chip();
        let start = Instant::now();
        let ptx = self.translator.ptx(chip, &kernel.mlir);
        let ptx = ptx.map_err(|e| format!("translation: {e}"))?;
        let translated = start.elapsed();
        let start = Instant::now();
        let assembled = self.ptxas.assemble(&ptx, chip);
        let assembled = assembled.map_err(|e| format!("assembly: {e}"))?;
        let stats = assembled.entry(&kernel.entry).cloned();
        let stats = stats.ok_or_else(|| format!("assembly: no entry {}", kernel.entry))?;
        let time = start.elapsed();
        let functions = self.nvdisasm.functions(&assembled.cubin);
        let functions = functions.map_err(|e| format!("disassembly: {e}"))?;
        let function = functions.iter().find(|f| f.name == kernel.entry);
        let function = function.ok_or_else(|| format!("disassembly: no {}", kernel.entry))?;
        Ok(Code {
            stats,
            findings: assembled.findings,
            externs: externs(&ptx),
            counts: function.counts(),
            loops: loops(function),
            translated,
            assembled: time,
        })
    }

    fn known(&self) -> MutexGuard<'_, HashMap<String, Arc<Result<Code, String>>>> {
        self.known.lock().unwrap_or_else(|e| e.into_inner())
    }
}

/// That of the installed LLVM, which the worker is built from; it does not tell its own.
fn llvm_version() -> String {
    let output = Command::new("llvm-config-22").arg("--version").output();
    let output = output.ok().filter(|o| o.status.success());
    let version = output.map(|o| String::from_utf8_lossy(&o.stdout).trim().to_owned());
    version.unwrap_or_else(|| "22".to_owned())
}

fn loops(function: &Function) -> Vec<CodeLoop> {
    let mut loops = function.loops();
    loops.retain(|l| l.kind == LoopKind::Work);
    let describe = |l: mixc_nvtools::sass::Loop| CodeLoop {
        innermost: l.innermost,
        counts: l.counts,
    };
    loops.into_iter().map(describe).collect()
}

/// Names of functions that a PTX text declares as defined elsewhere.
fn externs(ptx: &str) -> Vec<String> {
    let declared = ptx.split(".extern .func").skip(1);
    let name = |rest: &str| {
        // `(.param .b32 r) name (...)` or `name (...)`.
        let rest = rest.trim_start();
        let rest = match rest.strip_prefix('(') {
            Some(results) => results.split_once(')').map_or("", |(_, after)| after),
            None => rest,
        };
        let name: String = rest
            .trim_start()
            .chars()
            .take_while(|c| c.is_alphanumeric() || "_$".contains(*c))
            .collect();
        name
    };
    declared.map(name).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn functions_from_elsewhere_are_found() {
        let text = ".version 8.3\n.extern .func  (.param .b32 func_retval0) __nv_expf\n(\n)\n;\n\
                    .extern .func abort ();\n.visible .entry k()\n{\nret;\n}";
        assert_eq!(super::externs(text), ["__nv_expf", "abort"]);
        assert!(super::externs(".visible .entry k() { ret; }").is_empty());
    }
}
