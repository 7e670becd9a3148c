//! From a kernel to machine code in this process.

use crate::coalesce::coalesce;
use crate::emit::Emit;
use crate::error::CompileError;
use crate::layout::{self, Layout};
use crate::lower::{Lower, Slots};
use crate::machine;
use cranelift_codegen::Context;
use cranelift_codegen::ir::{AbiParam, Function, UserFuncName, types::I64};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use cranelift_jit::{JITBuilder, JITModule};
use cranelift_module::{Linkage, Module, default_libcall_names};
use mixc_tile::Kernel;
use std::time::Instant;

/// How to compile.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// Lets Cranelift's optimiser rewrite the code. It moves loads away from their uses, so kernels
    /// are usually slower; for comparison only.
    pub optimise: bool,
}

/// A kernel as machine code, with its constants. Shared freely between threads.
pub struct Compiled {
    pub(crate) kernel: Kernel,
    pub(crate) entry: Entry,
    pub(crate) table: Vec<Aligned>,
    pub(crate) slots: Slots,
    pub(crate) scratch: usize,
    pub(crate) layouts: Vec<Layout>,
    function: Function,
    options: Options,
    code_bytes: usize,
    micros: u64,
    module: Option<JITModule>,
}

/// (argument block, scratch memory, constants, first grid point, grid point behind the last).
pub(crate) type Entry = unsafe extern "C" fn(*const u64, *mut u8, *const Aligned, i64, i64);

/// A constant of the table.
#[repr(C, align(16))]
#[derive(Clone, Copy)]
pub(crate) struct Aligned(pub [u32; 4]);

// SAFETY: the module is only touched again to free its memory, by the one owner; the code and the
// constants are never written after compilation.
unsafe impl Send for Compiled {}
// SAFETY: as above; launching only reads.
unsafe impl Sync for Compiled {}

impl Drop for Compiled {
    fn drop(&mut self) {
        if let Some(module) = self.module.take() {
            // SAFETY: `entry` points into the module and is not used after this; no thread can be in
            // the code, because launching borrows `self`.
            unsafe { module.free_memory() };
        }
    }
}

/// Compiles a kernel for this machine.
///
/// # Errors
/// [`CompileError`] naming the statement that breaks a rule of the tile IR.
pub fn compile(kernel: &Kernel, options: &Options) -> Result<Compiled, CompileError> {
    let start = Instant::now();
    let codegen = |what: String| CompileError::Codegen {
        kernel: kernel.name.clone(),
        what,
    };
    let (isa, features) = machine::isa(options.optimise)?;
    let mut module = JITModule::new(JITBuilder::with_isa(isa, default_libcall_names()));
    let mut context = module.make_context();
    for _ in 0..5 {
        context.func.signature.params.push(AbiParam::new(I64));
    }
    context.func.signature.call_conv = module.isa().default_call_conv();
    let id = module
        .declare_function("kernel", Linkage::Export, &context.func.signature)
        .map_err(|e| codegen(e.to_string()))?;
    context.func.name = UserFuncName::user(0, id.as_u32());

    let merged = coalesce(kernel);
    let slots = Slots::of(kernel);
    let (layouts, scratch) = layout::assign(&merged);
    let mut frontend = FunctionBuilderContext::new();
    let mut builder = FunctionBuilder::new(&mut context.func, &mut frontend);
    let entry = builder.create_block();
    builder.append_block_params_for_function_params(entry);
    builder.switch_to_block(entry);
    let params = builder.block_params(entry).to_vec();
    let e = Emit::new(builder, params[0], params[1], params[2], features.fma);
    let mut lower = Lower {
        e,
        k: &merged,
        layouts: &layouts,
        slots: &slots,
        env: Vec::new(),
    };
    lower.kernel(params[3], params[4])?;
    let Lower {
        e: Emit { mut b, table, .. },
        ..
    } = lower;
    b.seal_all_blocks();
    b.finalize(module.target_config());

    let function = context.func.clone();
    module
        .define_function(id, &mut context)
        .map_err(|e| codegen(format!("{e:?}")))?;
    let code_bytes = context
        .compiled_code()
        .map_or(0, |c| c.code_info().total_size as usize);
    module
        .finalize_definitions()
        .map_err(|e| codegen(e.to_string()))?;
    let code = module.get_finalized_function(id);
    // SAFETY: the function was just defined with five 64-bit parameters under the default calling
    // convention, and the module that holds it lives as long as `Compiled`.
    let entry = unsafe { std::mem::transmute::<*const u8, Entry>(code) };
    Ok(Compiled {
        kernel: kernel.clone(),
        entry,
        table: table.into_iter().map(Aligned).collect(),
        slots,
        scratch: scratch as usize,
        layouts,
        function,
        options: options.clone(),
        code_bytes,
        micros: start.elapsed().as_micros() as u64,
        module: Some(module),
    })
}

impl Compiled {
    /// The kernel as Cranelift's intermediate representation.
    pub fn clif(&self) -> String {
        self.function.display().to_string()
    }

    /// The machine code as text, one virtual instruction a line. Compiles again to get it.
    pub fn disassembly(&self) -> String {
        let Ok((isa, _)) = machine::isa(self.options.optimise) else {
            return String::new();
        };
        let mut context = Context::for_function(self.function.clone());
        context.set_disasm(true);
        match context.compile(&*isa, &mut Default::default()) {
            Ok(code) => code.vcode.clone().unwrap_or_default(),
            Err(e) => format!("the code generator failed: {:?}", e.inner),
        }
    }

    /// Size of the machine code in bytes.
    pub fn code_bytes(&self) -> usize {
        self.code_bytes
    }

    /// Scratch memory of each thread in bytes.
    pub fn scratch_bytes(&self) -> usize {
        self.scratch
    }

    pub fn compile_micros(&self) -> u64 {
        self.micros
    }

    pub fn kernel(&self) -> &Kernel {
        &self.kernel
    }

    /// The innermost dimension chosen for each buffer, by name: what `explain` shows.
    pub fn layouts(&self) -> Vec<(String, Option<usize>)> {
        self.kernel
            .bufs
            .iter()
            .zip(&self.layouts)
            .map(|(b, l)| (b.name.to_string(), l.inner))
            .collect()
    }
}

impl std::fmt::Debug for Compiled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Compiled")
            .field("kernel", &self.kernel.name)
            .field("code_bytes", &self.code_bytes)
            .field("scratch_bytes", &self.scratch)
            .finish_non_exhaustive()
    }
}
