//! The few functions of LLVM's C interface that print a module. They lie in the libraries that
//! `mlir-sys` links; its bindings only cover MLIR.

use melior::ir::OperationRef;
use std::ffi::{CStr, c_char, c_void};

unsafe extern "C" {
    fn LLVMContextCreate() -> *mut c_void;
    fn LLVMContextDispose(context: *mut c_void);
    fn LLVMDisposeModule(module: *mut c_void);
    fn LLVMPrintModuleToString(module: *mut c_void) -> *mut c_char;
    fn LLVMDisposeMessage(message: *mut c_char);
}

/// The text of a `gpu.module` that holds the `llvm` dialect only; `None` where translation fails,
/// with the reason as a diagnostic.
pub fn ir_text(kernels: OperationRef<'_, '_>) -> Option<String> {
    // SAFETY: the operation is alive, and the context outlives the module, which outlives its
    // printing; each is freed once.
    unsafe {
        let context = LLVMContextCreate();
        let module = mlir_sys::mlirTranslateModuleToLLVMIR(kernels.to_raw(), context.cast());
        let module: *mut c_void = module.cast();
        let text = (!module.is_null()).then(|| {
            let printed = LLVMPrintModuleToString(module);
            let text = CStr::from_ptr(printed).to_string_lossy().into_owned();
            LLVMDisposeMessage(printed);
            LLVMDisposeModule(module);
            text
        });
        LLVMContextDispose(context);
        text
    }
}
