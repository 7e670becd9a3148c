//! Runs a plan in the simulator.

use crate::Error;
use mixc_launch::{Arg, MapElem, Plan, Role, Swizzle, TensorMap};
use mixc_sim::{BufferId, Counts, Finding, Memory, Module, Options, TensorElem};
use mixc_tensor::Tensor;
use std::collections::BTreeMap;

/// What a plan did.
#[derive(Debug)]
pub struct Simulated {
    /// The buffers that kernels write, by index.
    pub buffers: BTreeMap<usize, Vec<u8>>,
    /// What is wrong with the kernels, in the order of launches; empty if nothing is.
    pub findings: Vec<(String, Finding)>,
    /// By launch: the entry and what it executed.
    pub counts: Vec<(String, Counts)>,
}

/// Findings that a message quotes.
const MOST_SHOWN: usize = 5;

impl Simulated {
    /// What is wrong with the kernels, in words; None if nothing is.
    pub fn mistakes(&self) -> Option<String> {
        let mut text = match self.findings.len() {
            0 => return None,
            1 => "the simulator found a mistake in the PTX:".to_owned(),
            n => format!("the simulator found {n} mistakes in the PTX:"),
        };
        for (kernel, finding) in self.findings.iter().take(MOST_SHOWN) {
            text += &format!("\nkernel {kernel}: {finding}");
        }
        if self.findings.len() > MOST_SHOWN {
            text += "\n...";
        }
        Some(text)
    }
}

/// Executes all launches in order.
///
/// # Errors
/// If the PTX cannot be read or executed at all.
pub fn simulate(plan: &Plan, contents: &BTreeMap<usize, Tensor>) -> Result<Simulated, Error> {
    let mut memory = Memory::new();
    let mut ids = vec![];
    for (n, spec) in plan.buffers.iter().enumerate() {
        let bytes = spec.size_bytes().unwrap_or(0) as usize;
        ids.push(match contents.get(&n) {
            // A tensor may be a view that begins inside its memory; its bytes run from its first element.
            Some(tensor) => memory.alloc(&spec.name, &tensor.bytes()[..bytes]),
            None => {
                let id = memory.alloc_uninit(&spec.name, bytes);
                if spec.role == Role::Out {
                    memory.write_once(id);
                }
                id
            }
        });
    }
    let mut result = Simulated {
        buffers: BTreeMap::new(),
        findings: vec![],
        counts: vec![],
    };
    for launch in plan.launches.iter().filter(|l| !l.is_empty()) {
        let module = Module::parse(&plan.modules[launch.module].ptx).map_err(|found| {
            let lines: Vec<String> = found.iter().map(|d| d.message.clone()).collect();
            Error::Execution(format!(
                "the simulator cannot read kernel {}: {}",
                launch.entry,
                lines.join("; ")
            ))
        })?;
        let args: Vec<mixc_sim::Arg> = launch
            .args
            .iter()
            .map(|arg| match arg {
                Arg::Buffer(n) => Ok(mixc_sim::Arg::Buffer(ids[*n])),
                Arg::BufferAt {
                    buffer,
                    byte_offset,
                } => Ok(mixc_sim::Arg::BufferAt(ids[*buffer], *byte_offset as i64)),
                Arg::I32(x) => Ok(mixc_sim::Arg::I32(*x)),
                Arg::I64(x) => Ok(mixc_sim::Arg::I64(*x)),
                Arg::F32(x) => Ok(mixc_sim::Arg::F32(*x)),
                Arg::TensorMap(map) => Ok(mixc_sim::Arg::TensorMap(simulated_map(
                    map,
                    ids[map.buffer],
                )?)),
            })
            .collect::<Result<_, Error>>()?;
        let report = module
            .launch(
                &launch.entry,
                launch.grid,
                launch.block,
                launch.shared_bytes,
                &args,
                &mut memory,
                &Options::default(),
            )
            .map_err(|e| Error::Execution(format!("kernel {}: {e}", launch.entry)))?;
        let named = |f: Finding| (launch.entry.clone(), f);
        result
            .findings
            .extend(report.findings.into_iter().map(named));
        result.counts.push((launch.entry.clone(), report.counts));
    }
    for (n, spec) in plan.buffers.iter().enumerate() {
        if spec.role != Role::In {
            result.buffers.insert(n, memory.bytes(ids[n]));
        }
    }
    Ok(result)
}

fn simulated_map(map: &TensorMap, buffer: BufferId) -> Result<mixc_sim::TensorMap, Error> {
    map.check()
        .map_err(|e| Error::Execution(format!("bug: a tensor map breaks a rule: {e}")))?;
    Ok(mixc_sim::TensorMap {
        buffer,
        offset: map.byte_offset,
        elem: match map.elem {
            MapElem::F32 => TensorElem::F32,
            MapElem::F16 => TensorElem::F16,
            MapElem::Bf16 => TensorElem::Bf16,
            other => {
                return Err(Error::Execution(format!(
                    "bug: the simulator has no tensor maps over {other:?}"
                )));
            }
        },
        dims: map.dims.clone(),
        strides: map.strides_bytes.clone(),
        box_dims: map.box_.clone(),
        swizzle: match map.swizzle {
            Swizzle::None => mixc_sim::Swizzle::None,
            Swizzle::B32 => mixc_sim::Swizzle::B32,
            Swizzle::B64 => mixc_sim::Swizzle::B64,
            Swizzle::B128 => mixc_sim::Swizzle::B128,
        },
    })
}
