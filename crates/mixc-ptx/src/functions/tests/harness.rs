//! Every function as a kernel of its own, in one module, run by the simulator.

use super::super::{Accuracy, call, number};
use crate::emit::{Emit, Ty, Val};
use mixc_ir::Func;
use mixc_nvtools::Translator;
use mixc_sim::{Arg, Memory, Module, Options};

/// What makes the result of a kernel from three numbers; an I1 counts as 1 or 0.
pub type Body = Box<dyn Fn(&mut Emit, &[Val]) -> Val>;

/// Kernels by name, translated together.
pub struct Kernels {
    ptx: String,
}

impl Kernels {
    pub fn new(chip: &str, kernels: &[(String, Body)]) -> Kernels {
        let functions: String = kernels
            .iter()
            .map(|(name, body)| kernel(name, body))
            .collect();
        let mlir = format!(
            "module attributes {{gpu.container_module}} {{ gpu.module @kernels {{\n{functions}}} }}\n"
        );
        let translator = Translator::find().unwrap_or_else(|e| panic!("{e}"));
        let ptx = translator
            .ptx(chip, &mlir)
            .unwrap_or_else(|e| panic!("{e}"));
        Kernels { ptx }
    }

    /// Every function in both accuracies; their names are those of [`name`].
    pub fn of_all(chip: &str) -> Kernels {
        let mut kernels: Vec<(String, Body)> = vec![];
        for f in Func::ALL.iter().copied() {
            for accuracy in [Accuracy::Full, Accuracy::Fast] {
                let body =
                    move |e: &mut Emit, args: &[Val]| call(e, accuracy, f, &args[..f.arity()]);
                kernels.push((name(f, accuracy), Box::new(body)));
            }
        }
        Kernels::new(chip, &kernels)
    }

    pub fn ptx(&self) -> &str {
        &self.ptx
    }

    /// With another text for each line.
    pub fn changed(&self, line: impl Fn(&str) -> String) -> Kernels {
        Kernels {
            ptx: self.ptx.lines().map(line).collect(),
        }
    }

    pub fn ready(&self) -> Module {
        Module::parse(&self.ptx).unwrap_or_else(|e| panic!("{}\n{}", e[0].message, self.ptx))
    }
}

pub fn name(f: Func, accuracy: Accuracy) -> String {
    format!("f_{}_{accuracy:?}", f.name())
}

const THREADS: usize = 128;

/// One element a thread: a fourth buffer from three.
fn kernel(name: &str, body: &Body) -> String {
    let mut e = Emit::new();
    let pointers: Vec<Val> = (0..4).map(|_| e.fresh(Ty::Global)).collect();
    let (block, thread) = (e.special("ctaid.x"), e.special("tid.x"));
    let threads = e.i32(THREADS as i32);
    let first = e.mul(block, threads);
    let index = e.add(first, thread);
    let at = e.shl(index, 2);
    let inputs: Vec<Val> = pointers[..3]
        .iter()
        .map(|p| {
            let from = e.offset(*p, at);
            e.load(from, Ty::F32)
        })
        .collect();
    let value = body(&mut e, &inputs);
    let value = number(&mut e, value);
    let to = e.offset(pointers[3], at);
    e.store(value, to);
    e.line("llvm.return");
    let parameters: Vec<String> = pointers
        .iter()
        .map(|p| format!("{p}: !llvm.ptr<1>"))
        .collect();
    format!(
        "llvm.func @{name}({}) attributes {{gpu.kernel, nvvm.kernel, nvvm.reqntid = array<i32: {THREADS}, 1, 1>}} {{\n{}}}\n",
        parameters.join(", "),
        e.finish()
    )
}

/// The kernel's value at each of the arguments.
pub fn run(module: &Module, kernel: &str, args: &[[f32; 3]]) -> Vec<f32> {
    let blocks = args.len().div_ceil(THREADS);
    let mut memory = Memory::new();
    let mut buffers: Vec<Arg> = (0..3)
        .map(|n| {
            let mut values: Vec<f32> = args.iter().map(|a| a[n]).collect();
            values.resize(blocks * THREADS, 0.0);
            Arg::Buffer(memory.alloc_f32("argument", &values))
        })
        .collect();
    let result = memory.alloc_uninit("result", blocks * THREADS * 4);
    buffers.push(Arg::Buffer(result));
    let options = Options {
        races: false,
        ..Options::default()
    };
    let (grid, block) = ([blocks as u32, 1, 1], [THREADS as u32, 1, 1]);
    let report = module
        .launch(kernel, grid, block, 0, &buffers, &mut memory, &options)
        .unwrap_or_else(|e| panic!("{kernel}: {e}"));
    assert!(
        report.findings.is_empty(),
        "{kernel}: {:?}",
        report.findings
    );
    let mut values = memory.f32s(result);
    values.truncate(args.len());
    values
}

/// The hardware's approximations are off by at most a documented amount (PTX ISA, 9.7.3), and the simulator
/// rounds their exact values. This adds such an error to each of them, upwards (1) or downwards (-1).
pub fn off_by_the_most(line: &str, exponentials: f32, others: f32) -> String {
    let mut words = line.split_whitespace();
    let (Some(op), Some(to)) = (words.next(), words.next()) else {
        return format!("{line}\n");
    };
    let to = to.trim_end_matches(',');
    // The power of two below the value; a multiple of it is a number of units in the last place.
    let power = format!("and.b32 %size, {to}, 2139095040;\n");
    let size = format!("abs.f32 %size, {to};\n");
    let at_least_one = format!("{size}max.f32 %size, %size, 0f3F800000;\n");
    let one = "mov.f32 %size, 0f3F800000;\n".to_owned();
    let (size, error) = match op {
        "ex2.approx.ftz.f32" => (power, 2f32.powi(-22)),
        "rcp.approx.ftz.f32" | "rcp.approx.f32" => (power, 2f32.powi(-23)),
        "sqrt.approx.ftz.f32" => (size, 2f32.powi(-23)),
        "rsqrt.approx.ftz.f32" | "rsqrt.approx.f32" => (size, 2f32.powf(-22.9)),
        "lg2.approx.ftz.f32" => (at_least_one, 2f32.powi(-22)),
        "sin.approx.ftz.f32" => (one, 2f32.powf(-20.5)),
        _ => {
            assert!(
                !op.contains("approx") && !op.contains("full"),
                "no error is known for {op}"
            );
            return format!("{line}\n");
        }
    };
    let direction = match op {
        "ex2.approx.ftz.f32" => exponentials,
        _ => others,
    };
    // An infinite value stays.
    format!(
        "{line}\n{{\n.reg .f32 %size;\n{size}min.f32 %size, %size, 0f7F000000;\n\
         fma.rn.f32 {to}, %size, 0f{:08X}, {to};\n}}\n",
        (direction * error).to_bits()
    )
}
