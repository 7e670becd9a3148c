//! Running compiled kernels over their grid.

use crate::compile::Compiled;
use crate::error::LaunchError;
use mixc_ir::{Ix, Name};
use rayon::prelude::*;
use std::cell::RefCell;
use std::collections::BTreeMap;

/// A tensor in memory.
#[derive(Debug, Clone)]
pub struct TensorPtr {
    pub ptr: *mut u8,
    pub shape: Vec<i64>,
    /// In elements.
    pub strides: Vec<i64>,
}

/// The arguments of one launch, in the order of the kernel's declarations.
#[derive(Debug, Clone, Default)]
pub struct LaunchArgs {
    pub dims: Vec<i64>,
    pub scalars: Vec<f32>,
    pub tensors: Vec<TensorPtr>,
}

// SAFETY: the pointers are only followed by kernels, under the contract of `Compiled::launch`.
unsafe impl Send for TensorPtr {}
// SAFETY: as above.
unsafe impl Sync for TensorPtr {}

/// Where the grid's points run.
#[derive(Debug, Clone, Copy, Default)]
pub enum Threads<'a> {
    /// On the calling thread.
    #[default]
    One,
    /// On rayon's current pool.
    All,
    /// On this pool.
    Pool(&'a rayon::ThreadPool),
}

#[repr(C, align(64))]
#[derive(Clone, Copy)]
struct Line([u8; 64]);

thread_local! {
    /// The thread's scratch memory; grows to the largest kernel's need and is reused.
    static SCRATCH: RefCell<Vec<Line>> = const { RefCell::new(Vec::new()) };
}

impl Compiled {
    /// Runs every point of the grid. Points are independent, so threads take runs of them.
    ///
    /// # Errors
    /// Counts and shapes that differ from the kernel's declarations.
    ///
    /// # Safety
    /// The caller owns the memory: every element that `shape` and `strides` reach must be valid, inputs
    /// must not change meanwhile, and outputs must not overlap any other tensor.
    pub unsafe fn launch(&self, args: &LaunchArgs, threads: &Threads) -> Result<(), LaunchError> {
        let (block, points) = self.argument_block(args)?;
        if points == 0 {
            return Ok(());
        }
        match threads {
            Threads::One => self.run(&block, 0, points),
            Threads::All => self.spread(&block, points),
            Threads::Pool(pool) => pool.install(|| self.spread(&block, points)),
        }
        Ok(())
    }

    fn spread(&self, block: &[u64], points: i64) {
        let workers = rayon::current_num_threads() as i64;
        if workers == 1 || points == 1 {
            return self.run(block, 0, points);
        }
        // Several parts a thread, because points can cost differently (causal blocks).
        let parts = points.min(8 * workers);
        (0..parts as usize)
            .into_par_iter()
            .with_max_len(1)
            .for_each(|i| {
                let i = i as i64;
                self.run(block, points * i / parts, points * (i + 1) / parts);
            });
    }

    fn run(&self, block: &[u64], lo: i64, hi: i64) {
        SCRATCH.with(|scratch| {
            let mut scratch = scratch.borrow_mut();
            let lines = self.scratch.div_ceil(64);
            if scratch.len() < lines {
                *scratch = vec![Line([0; 64]); lines];
            }
            // SAFETY: the code was compiled for this argument block, scratch size and table; the grid
            // range is inside the grid, and tensor accesses are checked against the shapes in the block,
            // which the caller vouches for.
            unsafe {
                (self.entry)(
                    block.as_ptr(),
                    scratch.as_mut_ptr().cast(),
                    self.table.as_ptr(),
                    lo,
                    hi,
                )
            };
        });
    }

    /// The argument block that the code reads, and the number of grid points.
    fn argument_block(&self, args: &LaunchArgs) -> Result<(Vec<u64>, i64), LaunchError> {
        let k = &self.kernel;
        let count = |what, expected: usize, got: usize| match expected == got {
            true => Ok(()),
            false => Err(LaunchError::Count {
                kernel: k.name.clone(),
                what,
                expected,
                got,
            }),
        };
        count("sizes", k.dims.len(), args.dims.len())?;
        count("scalars", k.scalars.len(), args.scalars.len())?;
        count("tensors", k.tensors.len(), args.tensors.len())?;
        let sizes: BTreeMap<Name, i64> = k
            .dims
            .iter()
            .cloned()
            .zip(args.dims.iter().copied())
            .collect();
        let size = |ix: &Ix, what: &str| {
            ix.eval_sizes(&sizes).ok_or_else(|| LaunchError::Size {
                kernel: k.name.clone(),
                what: format!("{what} `{ix}`"),
            })
        };
        let mut block: Vec<u64> = Vec::with_capacity(self.slots.len);
        block.extend(args.dims.iter().map(|d| *d as u64));
        block.extend(args.scalars.iter().map(|s| u64::from(s.to_bits())));
        for (declared, given) in k.tensors.iter().zip(&args.tensors) {
            let wrong = |expected: String, got: String| LaunchError::Tensor {
                kernel: k.name.clone(),
                tensor: declared.name.to_string(),
                expected,
                got,
            };
            let rank = declared.shape.len();
            if given.shape.len() != rank || given.strides.len() != rank {
                let got = format!(
                    "{} sizes and {} strides",
                    given.shape.len(),
                    given.strides.len()
                );
                return Err(wrong(format!("{rank} dimensions"), got));
            }
            let shape: Vec<i64> = declared
                .shape
                .iter()
                .map(|ix| size(ix, &format!("the size of `{}`,", declared.name)))
                .collect::<Result<_, _>>()?;
            if shape != given.shape {
                return Err(wrong(
                    format!("shape {shape:?}"),
                    format!("{:?}", given.shape),
                ));
            }
            let elements: i64 = shape.iter().product();
            if declared.unit_inner
                && rank > 0
                && shape[rank - 1] > 1
                && given.strides[rank - 1] != 1
                && elements > 0
            {
                return Err(wrong(
                    "innermost stride 1".into(),
                    given.strides[rank - 1].to_string(),
                ));
            }
            if elements > 0 && given.ptr.is_null() {
                return Err(wrong("memory".into(), "a null pointer".into()));
            }
            block.push(given.ptr as u64);
            block.extend(shape.iter().map(|x| *x as u64));
            block.extend(given.strides.iter().map(|x| *x as u64));
        }
        let mut points = 1i64;
        for axis in &k.grid {
            let extent = size(&axis.extent, "the grid extent")?.max(0);
            block.push(extent as u64);
            points = points
                .checked_mul(extent)
                .ok_or_else(|| LaunchError::Size {
                    kernel: k.name.clone(),
                    what: "the number of grid points".into(),
                })?;
        }
        Ok((block, points))
    }
}
