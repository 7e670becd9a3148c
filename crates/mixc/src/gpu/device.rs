//! The cards of this machine, and plans on them.

use crate::Error;
use mixc_cuda::{Card, Cuda, CudaError, Session, TimingOptions};
use mixc_launch::{Arch, Plan, Timing};
use mixc_ptx::Target;
use mixc_tensor::Tensor;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// The cards of this machine; none where there is no driver.
pub fn cards() -> &'static [Card] {
    found().as_deref().unwrap_or_default()
}

/// Why there are no cards to use; None if there are some.
pub fn no_card() -> Option<String> {
    found().as_ref().err().map(CudaError::to_string)
}

fn found() -> &'static Result<Vec<Card>, CudaError> {
    static CARDS: OnceLock<Result<Vec<Card>, CudaError>> = OnceLock::new();
    CARDS.get_or_init(mixc_cuda::devices)
}

/// The first card that runs code for a target.
pub fn card_for(target: Target) -> Option<&'static Card> {
    let arch: Arch = target.chip().parse().ok()?;
    cards().iter().find(|card| arch.runs_on(card.cc))
}

/// What a plan did on a card.
pub(crate) struct Ran {
    /// The output buffers, by index.
    pub buffers: BTreeMap<usize, Vec<u8>>,
    /// One run, the host's time for its launches included.
    pub time: Duration,
}

/// Runs a plan once, and checks that it wrote only where it may.
pub(crate) fn execute(
    card: &Card,
    plan: &Plan,
    contents: &BTreeMap<usize, Tensor>,
) -> Result<Ran, Error> {
    on(card, |session| {
        let mut prepared = session.load(plan)?;
        let inputs = bytes(plan, contents);
        prepared.upload(&inputs)?;
        prepared.poison()?;
        // An error then names its kernel, and modules are loaded before the clock starts.
        prepared.run_each()?;
        let start = Instant::now();
        prepared.run()?;
        let time = start.elapsed();
        prepared.check_memory(&inputs)?;
        let buffers = prepared.download()?;
        Ok(Ran { buffers, time })
    })
}

/// Measures a plan with inputs that no cache holds.
pub(crate) fn measure(
    card: &Card,
    plan: &Plan,
    contents: &BTreeMap<usize, Tensor>,
    samples: usize,
) -> Result<Timing, Error> {
    on(card, |session| {
        let mut prepared = session.load(plan)?;
        prepared.upload(&bytes(plan, contents))?;
        let options = TimingOptions {
            samples,
            ..TimingOptions::default()
        };
        Ok(prepared.time(&options)?.timing)
    })
}

/// The memory of the input buffers.
pub(crate) fn bytes(plan: &Plan, contents: &BTreeMap<usize, Tensor>) -> BTreeMap<usize, Vec<u8>> {
    let of = |(n, tensor): (&usize, &Tensor)| {
        let size = plan.buffers[*n].size_bytes().unwrap_or(0) as usize;
        // A tensor may be a view that begins inside its memory; its bytes run from its first element.
        (*n, tensor.bytes()[..size].to_vec())
    };
    contents.iter().map(of).collect()
}

/// This thread's session on a card, which keeps the modules that it has loaded.
fn on<R>(card: &Card, f: impl FnOnce(&Session<Cuda>) -> Result<R, CudaError>) -> Result<R, Error> {
    thread_local! {
        static SESSIONS: RefCell<BTreeMap<usize, Session<Cuda>>> = const { RefCell::new(BTreeMap::new()) };
    }
    SESSIONS.with(|sessions| {
        let mut sessions = sessions.borrow_mut();
        let failed = |e: CudaError| Error::Execution(format!("{}: {e}", card.name));
        let session = match sessions.entry(card.index) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => place.insert(mixc_cuda::open(card.index).map_err(failed)?),
        };
        let done = f(session).map_err(failed);
        if done.is_err() {
            // After a fault nothing else works in the same context.
            sessions.remove(&card.index);
        }
        done
    })
}
