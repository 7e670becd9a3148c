//! Launch plans on NVIDIA GPUs.
//!
//! In: a [`Plan`](mixc_launch::Plan) and the bytes of its inputs. Out: the bytes of its outputs, and how long a run
//! takes. The CUDA driver library is loaded while the program runs: where there is none, everything here is an
//! error and nothing panics. This crate does not know who made the kernels.
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let (plan, inputs) = (mixc_launch::Plan::default(), Default::default());
//! let session = mixc_cuda::open(0)?;
//! let mut prepared = session.load(&plan)?;
//! prepared.upload(&inputs)?;
//! prepared.run()?;
//! let outputs = prepared.download()?;
//! let timing = prepared.time(&mixc_cuda::TimingOptions::default())?;
//! # Ok(())
//! # }
//! ```
//!
//! Layers: [`Driver`] is what a CUDA driver offers, with bare error codes; [`Cuda`] is the real one, with nearly
//! all of the unsafe code. [`Session`] and [`Prepared`] follow plans on any driver and say what an error means.

mod card;
mod cuda;
mod driver;
mod error;
mod jit;
mod load;
mod memory;
mod prepared;
mod session;
mod timing;

pub use card::Card;
pub use cuda::{Cuda, devices, is_present};
pub use driver::{
    Address, Driver, EventId, Failure, FunctionId, FunctionInfo, GraphId, MapBits, MemoryInfo,
    ModuleId, RawLaunch, Value,
};
pub use error::CudaError;
pub use prepared::Prepared;
pub use session::Session;
pub use timing::{Measured, TimingOptions};

/// A session on the real driver and the card `index`.
pub fn open(index: usize) -> Result<Session<Cuda>, CudaError> {
    Ok(Session::new(Cuda::open(index)?))
}
