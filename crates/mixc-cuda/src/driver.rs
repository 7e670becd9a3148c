//! What a plan needs of a driver. There are two kinds: CUDA, and stand-ins on which the rest of this crate is
//! tested without a card.

use crate::Card;
use mixc_launch::TensorMap;

/// A device address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address(pub u64);

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident),*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub usize);
    )*};
}

ids! {
    /// A loaded module. It stays loaded as long as the driver lives.
    ModuleId,
    /// A kernel of a loaded module.
    FunctionId,
    /// A captured sequence of launches.
    GraphId,
    /// A point in the stream whose time is taken.
    EventId
}

/// What a driver answers when a call fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// A `CUresult`.
    pub code: u32,
    /// Its name and the driver's words for it.
    pub text: String,
    /// What the compiler inside the driver wrote.
    pub log: String,
}

impl Failure {
    /// Whether the context is of no use any more: every later call would give the same answer
    /// (CUDA driver API, `CUresult`: "the process must be terminated and relaunched").
    pub fn is_sticky(&self) -> bool {
        matches!(
            self.code,
            214 | 220 | 700 | 702 | 709 | 710 | 714..=719 | 721 | 999
        )
    }
}

pub(crate) mod codes {
    pub const INVALID_VALUE: u32 = 1;
    pub const OUT_OF_MEMORY: u32 = 2;
    pub const INVALID_IMAGE: u32 = 200;
    pub const NO_BINARY_FOR_GPU: u32 = 209;
    pub const INVALID_PTX: u32 = 218;
    pub const NO_JIT: u32 = 221;
    pub const UNSUPPORTED_PTX_VERSION: u32 = 222;
    pub const JIT_DISABLED: u32 = 223;
    pub const INVALID_SOURCE: u32 = 300;
    pub const NOT_FOUND: u32 = 500;
    pub const OUT_OF_RESOURCES: u32 = 701;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryInfo {
    pub free: u64,
    pub total: u64,
}

/// A kernel and the resources that its code fixes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionInfo {
    pub id: FunctionId,
    /// Shared memory of fixed size, in bytes.
    pub static_shared: u32,
    /// Registers of a thread.
    pub registers: u32,
    /// Bytes of a thread in local memory: spilled registers and arrays.
    pub local_bytes: u32,
    /// The largest block that its registers allow.
    pub max_threads: u32,
    /// Sizes of its parameters in bytes, where the driver can tell.
    pub params: Option<Vec<usize>>,
}

/// A tensor map as the hardware reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(64))]
pub struct MapBits(pub [u64; 16]);

/// A kernel argument.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value {
    Address(Address),
    I32(i32),
    I64(i64),
    F32(f32),
    Map(MapBits),
}

/// A launch with everything resolved.
#[derive(Clone, Debug, PartialEq)]
pub struct RawLaunch {
    pub function: FunctionId,
    pub grid: [u32; 3],
    pub block: [u32; 3],
    pub shared_bytes: u32,
    pub values: Vec<Value>,
}

/// One card with one context and one stream. Everything that is queued runs in order.
pub trait Driver {
    fn card(&self) -> &Card;
    fn memory(&self) -> Result<MemoryInfo, Failure>;

    /// Loads PTX or a cubin.
    fn load_ptx(&self, ptx: &str) -> Result<ModuleId, Failure>;
    fn load_cubin(&self, cubin: &[u8]) -> Result<ModuleId, Failure>;
    fn function(&self, module: ModuleId, entry: &str) -> Result<FunctionInfo, Failure>;
    /// Lets launches of a kernel ask for up to `bytes` of dynamic shared memory.
    fn allow_shared(&self, function: FunctionId, bytes: u32) -> Result<(), Failure>;

    /// Device memory that starts at a multiple of 256. `bytes` is at least 1.
    fn alloc(&self, bytes: u64) -> Result<Address, Failure>;
    /// Gives memory back. `at` came from [`Driver::alloc`] and nothing that is queued uses it.
    fn free(&self, at: Address) -> Result<(), Failure>;
    /// Copies to the device; done when the call returns.
    fn write(&self, to: Address, bytes: &[u8]) -> Result<(), Failure>;
    /// Waits for what is queued, then copies from the device.
    fn read(&self, from: Address, bytes: &mut [u8]) -> Result<(), Failure>;
    /// Queues a copy on the device.
    fn copy(&self, to: Address, from: Address, bytes: u64) -> Result<(), Failure>;
    /// Queues setting every byte to `byte`.
    fn fill(&self, at: Address, byte: u8, bytes: u64) -> Result<(), Failure>;

    /// Encodes a map without empty dimensions for a tensor that starts at `at`.
    fn encode_map(&self, map: &TensorMap, at: Address) -> Result<MapBits, Failure>;
    /// Queues a launch; the driver copies the values.
    ///
    /// # Safety
    /// The values must be those that the kernel takes, in number and sizes: the driver reads as many as the kernel
    /// has parameters.
    unsafe fn launch(&self, launch: &RawLaunch) -> Result<(), Failure>;
    /// Waits for what is queued and returns the first failure of it.
    fn synchronize(&self) -> Result<(), Failure>;

    /// From now on, queue into a graph.
    fn begin_capture(&self) -> Result<(), Failure>;
    fn end_capture(&self) -> Result<GraphId, Failure>;
    /// Queues all that a graph holds.
    fn replay(&self, graph: GraphId) -> Result<(), Failure>;
    fn drop_graph(&self, graph: GraphId) -> Result<(), Failure>;

    fn event(&self) -> Result<EventId, Failure>;
    /// Queues taking the time.
    fn record(&self, event: EventId) -> Result<(), Failure>;
    /// Microseconds between two events that have happened.
    fn elapsed_us(&self, start: EventId, end: EventId) -> Result<f64, Failure>;
    fn drop_event(&self, event: EventId) -> Result<(), Failure>;
}
