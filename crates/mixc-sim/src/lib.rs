//! A simulator of PTX on the CPU.
//!
//! In: PTX text as LLVM's NVPTX back end and inline assembly write it, kernel arguments, and global
//! memory. Out: changed memory, findings (races, bad addresses, missing waits, ...), and counts of what
//! was executed. It does not know who wrote the PTX, nor any timing.
//!
//! ```
//! use mixc_sim::{Arg, Memory, Module, Options};
//! let ptx = r#"
//! .version 7.8
//! .target sm_80
//! .address_size 64
//! .visible .entry double_all(.param .u64 x) {
//!     .reg .b32 %r<4>;
//!     .reg .b64 %rd<4>;
//!     ld.param.u64 %rd1, [x];
//!     mov.u32 %r1, %tid.x;
//!     mul.wide.u32 %rd2, %r1, 4;
//!     add.s64 %rd3, %rd1, %rd2;
//!     ld.global.u32 %r2, [%rd3];
//!     shl.b32 %r3, %r2, 1;
//!     st.global.u32 [%rd3], %r3;
//!     ret;
//! }"#;
//! let module = Module::parse(ptx).unwrap();
//! let mut memory = Memory::new();
//! let x = memory.alloc_u32("x", &[1, 2, 3, 4]);
//! let report = module
//!     .launch("double_all", [1, 1, 1], [4, 1, 1], 0, &[Arg::Buffer(x)], &mut memory, &Options::default())
//!     .unwrap();
//! assert!(report.findings.is_empty());
//! assert_eq!(memory.u32s(x), [2, 4, 6, 8]);
//! ```
//!
//! What is modelled, by section of the PTX ISA (release 8.x): syntax, types and state spaces (4, 5), the
//! arithmetic instructions with their rounding (9.7.1 to 9.7.8), data movement, `cp.async`, bulk and
//! tensor copies (9.7.9), control flow with reconvergence at immediate post-dominators (9.7.12), barriers,
//! votes, atomics and mbarriers (9.7.13), `mma`, `ldmatrix`, `stmatrix` (9.7.14), `wgmma` (9.7.15), causality
//! order and proxies (8). Not modelled: clusters of more than one block, `call`, textures, 8-bit floats,
//! integer `wgmma`, `tcgen05`. An instruction that is not known stops the launch that reaches it with a
//! finding, never with a guess.
//!
//! Where PTX leaves freedom, the choice is the one that shows mistakes: `cp.async` data arrives only at the
//! wait, the first `try_wait` for a phase fails, lanes that a branch separated do not wait for each other
//! before the meeting point, fresh memory holds a pattern that is NaN as a float. Approximate instructions
//! are computed in double and rounded once; matrix products are summed in double and rounded once.
//!
//! Shared memory is checked by happens-before (see `check::clock`): every granule remembers its last write
//! and the reads since, and a barrier, `bar.warp.sync`, mbarrier phase or wait orders what came before it.
//! Global memory is checked for bounds, alignment, initialisation and repeated stores, and for races between
//! blocks (see `check::blocks`), not for races between threads of one block.
//!
//! [`conformance`] makes small kernels for every instruction that is known here, with the results that are
//! predicted, to be compared bit by bit where there is a GPU.

mod check;
mod compile;
pub mod conformance;
mod counts;
mod exec;
mod memory;
mod numeric;
mod profile;
mod program;
mod syntax;

pub use check::finding::{Finding, FindingKind, Other};
pub use counts::{Counts, Issued, Tally};
pub use exec::tensor_map::{Swizzle, TensorElem, TensorMap};
pub use exec::{Arg, Options, Report, SimError};
pub use memory::{BufferId, Memory};
pub use profile::{LineCounts, LoopCounts, Profile};
pub use program::Class;

use mixc_text::Diagnostic;
use program::Program;
use syntax::ast::Space;

/// A PTX module whose kernels are ready to run.
pub struct Module {
    text: String,
    programs: Vec<Program>,
    /// Module-scope `.global` and `.const` variables. They keep their values from launch to launch.
    variables: Memory,
}

/// What a caller needs to know about a kernel to launch it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryInfo {
    pub name: String,
    /// Name and size in bytes of each parameter.
    pub params: Vec<(String, usize)>,
    /// Bytes of shared memory declared with a size.
    pub shared_bytes: u64,
    pub required_threads: Option<[u32; 3]>,
    pub max_threads: Option<[u32; 3]>,
}

/// An instruction that the simulator does not know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsupported {
    pub entry: String,
    /// With its modifiers, as written: `tcgen05.alloc.cta_group::1.sync.aligned.b32`.
    pub instruction: String,
    /// 1-based line of the PTX text.
    pub line: u32,
}

impl Module {
    /// Parses and compiles all kernels of a PTX text. Every error names its line. Instructions that the
    /// simulator does not know are kept, see [`Module::unsupported`]; a launch that reaches one stops with
    /// a finding.
    pub fn parse(text: &str) -> Result<Module, Vec<Diagnostic>> {
        let parsed = syntax::parse_module(text)?;
        let mut variables = Memory::new();
        let mut addresses = compile::ModuleVars::new();
        let mut shared = vec![];
        for v in &parsed.variables {
            if v.space == Space::Shared {
                shared.push(v.clone());
                continue;
            }
            // Variables without an initial value are zero.
            let mut bytes = v.init.clone();
            bytes.resize(v.bytes() as usize, 0);
            let id = variables.alloc(&v.name, &bytes);
            addresses.insert(v.name.clone(), variables.address(id) + exec::MODULE_BASE);
        }
        let (mut programs, mut errors) = (vec![], vec![]);
        for entry in &parsed.entries {
            match compile::compile(entry, &shared, &addresses) {
                Ok(program) => programs.push(program),
                Err(mut e) => errors.append(&mut e),
            }
        }
        if errors.is_empty() {
            Ok(Module {
                text: text.to_string(),
                programs,
                variables,
            })
        } else {
            Err(errors)
        }
    }

    pub fn entries(&self) -> Vec<EntryInfo> {
        let info = |p: &Program| EntryInfo {
            name: p.name.clone(),
            params: p.params.iter().map(|q| (q.name.clone(), q.bytes)).collect(),
            shared_bytes: p.shared_bytes,
            required_threads: p.required_threads,
            max_threads: p.max_threads,
        };
        self.programs.iter().map(info).collect()
    }

    /// The instructions of all kernels that the simulator does not know.
    pub fn unsupported(&self) -> Vec<Unsupported> {
        let of = |p: &Program| {
            let entry = p.name.clone();
            let one = move |(instruction, line): &(String, u32)| Unsupported {
                entry: entry.clone(),
                instruction: instruction.clone(),
                line: *line,
            };
            p.unsupported.iter().map(one).collect::<Vec<_>>()
        };
        self.programs.iter().flat_map(of).collect()
    }

    /// Runs kernel `entry` on a grid of blocks with `shared_bytes` of dynamic shared memory.
    ///
    /// Mistakes of the kernel are findings of the report; the launch itself fails only when it does not
    /// fit the kernel (missing entry, wrong arguments, impossible sizes).
    #[allow(clippy::too_many_arguments)]
    pub fn launch(
        &self,
        entry: &str,
        grid: [u32; 3],
        block: [u32; 3],
        shared_bytes: u32,
        args: &[Arg],
        memory: &mut Memory,
        options: &Options,
    ) -> Result<Report, SimError> {
        let program = self
            .programs
            .iter()
            .find(|p| p.name == entry)
            .ok_or_else(|| SimError::NoEntry {
                name: entry.to_string(),
                known: self
                    .programs
                    .iter()
                    .map(|p| p.name.as_str())
                    .collect::<Vec<_>>()
                    .join(", "),
            })?;
        let geometry = (grid, block, shared_bytes);
        let launch = exec::bind(
            program,
            &self.text,
            &self.variables,
            memory,
            geometry,
            args,
            options,
        )?;
        Ok(exec::run(&launch))
    }
}
