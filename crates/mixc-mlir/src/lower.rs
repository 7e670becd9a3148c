//! The pipeline: text, module, LLVM dialect, PTX.

use crate::diagnostics::collect;
use crate::{Target, llvm};
use melior::Context;
use melior::dialect::DialectRegistry;
use melior::ir::attribute::AttributeLike;
use melior::ir::operation::OperationLike;
use melior::ir::{Attribute, BlockLike, Module, OperationRef};
use melior::pass::PassManager;
use melior::utility::{
    parse_pass_pipeline, register_all_dialects, register_all_llvm_translations, register_all_passes,
};
use std::sync::Once;

/// Lowers the module to PTX text. The error holds one line for each diagnostic, with its place.
pub fn ptx(target: &Target, mlir: &str) -> Result<String, String> {
    let context = new_context();
    let mut module = parse(&context, mlir)?;
    let passes = format!(
        "builtin.module({},gpu-module-to-binary{{format=isa}})",
        to_llvm_dialect(target)
    );
    run(&context, &mut module, mlir, &passes)?;
    let binary = only(&module, "gpu.binary")?;
    let objects = binary.attribute("objects").map_err(|e| e.to_string())?;
    String::from_utf8(only_object(&objects)?).map_err(|e| e.to_string())
}

/// The LLVM IR that LLVM's own passes and the code generator would start from, for people.
pub fn llvm_ir(target: &Target, mlir: &str) -> Result<String, String> {
    let context = new_context();
    let mut module = parse(&context, mlir)?;
    let passes = format!("builtin.module({})", to_llvm_dialect(target));
    run(&context, &mut module, mlir, &passes)?;
    let kernels = only(&module, "gpu.module")?;
    collect(&context, mlir, || llvm::ir_text(kernels))
}

/// `convert-cf-to-llvm` only runs on a whole module.
fn to_llvm_dialect(target: &Target) -> String {
    format!(
        "nvvm-attach-target{{chip={} features={} O=3}},\
         gpu.module(convert-scf-to-cf,convert-arith-to-llvm),convert-cf-to-llvm,\
         gpu.module(convert-nvvm-to-llvm,reconcile-unrealized-casts,canonicalize,cse)",
        target.chip(),
        target.features()
    )
}

/// A fresh context for each module: what MLIR makes unique it keeps as long as the context lives.
fn new_context() -> Context {
    static PASSES: Once = Once::new();
    PASSES.call_once(register_all_passes);
    let registry = DialectRegistry::new();
    register_all_dialects(&registry);
    // Without threads of its own: several workers run at a time.
    let context = Context::new_with_registry(&registry, false);
    register_all_llvm_translations(&context);
    context
}

fn parse<'c>(context: &'c Context, mlir: &str) -> Result<Module<'c>, String> {
    collect(context, mlir, || Module::parse(context, mlir))
}

fn run(context: &Context, module: &mut Module, mlir: &str, passes: &str) -> Result<(), String> {
    let manager = PassManager::new(context);
    parse_pass_pipeline(manager.as_operation_pass_manager(), passes)
        .unwrap_or_else(|e| panic!("bug: the pipeline does not parse: {e}"));
    collect(context, mlir, || manager.run(module).ok())
}

/// The one operation of that name at the top of the module.
fn only<'m>(module: &'m Module<'_>, name: &str) -> Result<OperationRef<'m, 'm>, String> {
    let mut found = vec![];
    let mut next = module.body().first_operation();
    while let Some(operation) = next {
        if operation.name().as_string_ref().as_str() == Ok(name) {
            found.push(operation);
        }
        next = operation.next_in_block();
    }
    match found[..] {
        [operation] => Ok(operation),
        _ => Err(format!(
            "expected one gpu.module at the top of the module, found {}",
            found.len()
        )),
    }
}

/// The bytes of the one object of a `gpu.binary`.
fn only_object(objects: &Attribute<'_>) -> Result<Vec<u8>, String> {
    let array = objects.to_raw();
    // SAFETY: the attribute lives as long as its context, which the caller holds; each query below
    // is asked of an attribute whose kind was tested first; and the bytes are copied at once.
    unsafe {
        if !mlir_sys::mlirAttributeIsAArray(array)
            || mlir_sys::mlirArrayAttrGetNumElements(array) != 1
        {
            return Err("expected one object in the binary".to_string());
        }
        let object = mlir_sys::mlirArrayAttrGetElement(array, 0);
        if !mlir_sys::mlirAttributeIsAGPUObjectAttr(object) {
            return Err("expected a GPU object in the binary".to_string());
        }
        let bytes = mlir_sys::mlirGPUObjectAttrGetObject(object);
        Ok(std::slice::from_raw_parts(bytes.data.cast::<u8>(), bytes.length).to_vec())
    }
}
