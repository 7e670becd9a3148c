//! A plan on a card.

use crate::error::During;
use crate::load::{Addresses, Step, explain, has_empty_map};
use crate::memory::Block;
use crate::{CudaError, Driver, GraphId, RawLaunch};
use mixc_launch::{Plan, Role};
use std::collections::BTreeMap;
use std::rc::Rc;

/// A plan whose modules are loaded and whose buffers lie in device memory.
pub struct Prepared<D: Driver> {
    pub(crate) driver: Rc<D>,
    pub(crate) plan: Plan,
    steps: Vec<Step>,
    /// Zeros for tensor maps of empty tensors.
    nothing: Option<Block<D>>,
    /// At least one; runs use the first, timing rotates.
    pub(crate) copies: Vec<Copy<D>>,
}

/// One set of buffers, and the launches on it.
pub(crate) struct Copy<D: Driver> {
    pub blocks: Vec<Rc<Block<D>>>,
    launches: Vec<RawLaunch>,
}

/// A captured run, replayed with one call.
pub struct Graph<D: Driver> {
    driver: Rc<D>,
    id: GraphId,
}

impl<D: Driver> Prepared<D> {
    pub(crate) fn new(
        driver: Rc<D>,
        plan: Plan,
        steps: Vec<Step>,
    ) -> Result<Prepared<D>, CudaError> {
        let nothing = match has_empty_map(&plan) {
            true => {
                let block = Block::new(&driver, 16, "an empty tensor")?;
                block.zero()?;
                Some(block)
            }
            false => None,
        };
        let mut prepared = Prepared {
            driver,
            plan,
            steps,
            nothing,
            copies: vec![],
        };
        prepared.add_copy()?;
        Ok(prepared)
    }

    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Whether no launch has anything to do.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// One more set of buffers; work buffers are shared by all, contents of inputs are taken over.
    pub(crate) fn add_copy(&mut self) -> Result<(), CudaError> {
        let mut blocks = vec![];
        for (at, spec) in self.plan.buffers.iter().enumerate() {
            let first = self.copies.first().map(|copy| &copy.blocks[at]);
            if let (Some(block), Role::Work) = (first, spec.role) {
                blocks.push(block.clone());
                continue;
            }
            let what = format!("buffer '{}'", spec.name);
            let block = Block::new(&self.driver, spec.size_bytes().unwrap_or(0), &what)?;
            if let (Some(first), Role::In) = (first, spec.role) {
                block.copy_from(first)?;
            }
            blocks.push(Rc::new(block));
        }
        let addresses = Addresses {
            driver: &*self.driver,
            buffers: blocks.iter().map(|b| b.at()).collect(),
            nothing: self.nothing.as_ref(),
        };
        let mut launches = vec![];
        for step in &self.steps {
            launches.push(addresses.resolve(step, &self.plan.launches[step.launch])?);
        }
        self.copies.push(Copy { blocks, launches });
        Ok(())
    }

    /// Fills input buffers, by buffer, with their memory. Inputs that are not named keep their contents.
    pub fn upload(&mut self, inputs: &BTreeMap<usize, Vec<u8>>) -> Result<(), CudaError> {
        // Copies were filled from the old contents.
        self.copies.truncate(1);
        for (&at, bytes) in inputs {
            let spec = self.plan.buffers.get(at).filter(|b| b.role == Role::In);
            let spec = spec.ok_or(CudaError::NotAnInput { buffer: at })?;
            let block = &self.copies[0].blocks[at];
            if bytes.len() as u64 != block.bytes() {
                return Err(CudaError::InputSize {
                    buffer: spec.name.clone(),
                    found: bytes.len() as u64,
                    expected: block.bytes(),
                });
            }
            block.write(bytes)?;
        }
        Ok(())
    }

    /// Makes what kernels have to write NaN, so that nothing is right by accident.
    pub fn poison(&self) -> Result<(), CudaError> {
        for (block, spec) in self.copies[0].blocks.iter().zip(&self.plan.buffers) {
            if spec.role != Role::In {
                block.poison()?;
            }
        }
        Ok(())
    }

    /// Runs the launches in order and waits for them.
    pub fn run(&self) -> Result<(), CudaError> {
        self.queue(0)?;
        self.wait()
    }

    /// Like [`Prepared::run`], waiting for each launch, so that an error names its kernel.
    pub fn run_each(&self) -> Result<(), CudaError> {
        self.queue_zeros(0)?;
        self.driver
            .synchronize()
            .during("setting buffers to zero")?;
        for (step, launch) in self.steps.iter().zip(&self.copies[0].launches) {
            let entry = &self.plan.launches[step.launch].entry;
            self.launch(step, launch)?;
            self.driver
                .synchronize()
                .map_err(|failure| CudaError::Kernel {
                    launch: step.launch,
                    entry: entry.clone(),
                    failure,
                })?;
        }
        Ok(())
    }

    /// Queues one run on a set of buffers.
    pub(crate) fn queue(&self, copy: usize) -> Result<(), CudaError> {
        self.queue_zeros(copy)?;
        let launches = &self.copies[copy].launches;
        let mut steps = self.steps.iter().zip(launches);
        steps.try_for_each(|(step, launch)| self.launch(step, launch))
    }

    fn launch(&self, step: &Step, launch: &RawLaunch) -> Result<(), CudaError> {
        let entry = &self.plan.launches[step.launch].entry;
        // SAFETY: the plan was validated and the step loaded, and both compare the arguments with what the kernel
        // takes; the values follow the arguments one by one.
        let launched = unsafe { self.driver.launch(launch) };
        launched.map_err(|f| explain(f, step.launch, entry))
    }

    fn queue_zeros(&self, copy: usize) -> Result<(), CudaError> {
        let buffers = self.copies[copy].blocks.iter().zip(&self.plan.buffers);
        buffers
            .filter(|(_, spec)| spec.zeroed)
            .try_for_each(|(block, _)| block.zero())
    }

    pub(crate) fn wait(&self) -> Result<(), CudaError> {
        self.driver.synchronize().map_err(|failure| {
            let mut entries: Vec<String> = vec![];
            for step in &self.steps {
                let entry = &self.plan.launches[step.launch].entry;
                if !entries.contains(entry) {
                    entries.push(entry.clone());
                }
            }
            CudaError::Run { entries, failure }
        })
    }

    /// The memory of the output buffers, by buffer.
    pub fn download(&self) -> Result<BTreeMap<usize, Vec<u8>>, CudaError> {
        let mut outputs = BTreeMap::new();
        for (at, spec) in self.plan.buffers.iter().enumerate() {
            if spec.role == Role::Out {
                outputs.insert(at, self.copies[0].blocks[at].read()?);
            }
        }
        Ok(outputs)
    }

    /// Whether kernels wrote only where they may: not behind the end of a buffer, and not into the inputs, which
    /// must be those that were uploaded.
    pub fn check_memory(&self, inputs: &BTreeMap<usize, Vec<u8>>) -> Result<(), CudaError> {
        for (at, spec) in self.plan.buffers.iter().enumerate() {
            let buffer = || spec.name.clone();
            for copy in &self.copies {
                if let Some(offset) = copy.blocks[at].written_past_end()? {
                    let buffer = buffer();
                    return Err(CudaError::WrotePastEnd { buffer, offset });
                }
            }
            let block = &self.copies[0].blocks[at];
            let Some(bytes) = inputs.get(&at).filter(|_| spec.role == Role::In) else {
                continue;
            };
            let now = block.read()?;
            if let Some(offset) = now.iter().zip(bytes).position(|(a, b)| a != b) {
                return Err(CudaError::ChangedInput {
                    buffer: buffer(),
                    offset: offset as u64,
                });
            }
        }
        Ok(())
    }

    /// Captures one run.
    pub fn capture(&self) -> Result<Graph<D>, CudaError> {
        self.capture_runs(&[0])
    }

    /// Captures runs on several sets of buffers, one after the other.
    pub(crate) fn capture_runs(&self, copies: &[usize]) -> Result<Graph<D>, CudaError> {
        self.driver.begin_capture().during("beginning a capture")?;
        let queued = copies.iter().try_for_each(|&copy| self.queue(copy));
        // The stream must leave the capture whatever happened in it.
        let captured = self.driver.end_capture().during("ending a capture");
        let graph = captured.map(|id| Graph {
            driver: self.driver.clone(),
            id,
        });
        queued.and(graph)
    }
}

impl<D: Driver> Graph<D> {
    /// Queues the captured launches.
    pub fn replay(&self) -> Result<(), CudaError> {
        self.driver.replay(self.id).during("launching a graph")
    }

    /// Waits for everything that is queued.
    pub fn wait(&self) -> Result<(), CudaError> {
        self.driver.synchronize().during("running a graph")
    }
}

impl<D: Driver> Drop for Graph<D> {
    fn drop(&mut self) {
        // The graph of a broken context goes with the context.
        let _ = self.driver.drop_graph(self.id);
    }
}
