//! A driver without a card: memory is host memory, kernels are closures, time is counted, calls are written down.
#![allow(dead_code)]

use mixc_cuda::{
    Address, Card, Driver, EventId, Failure, FunctionId, FunctionInfo, GraphId, MapBits,
    MemoryInfo, ModuleId, RawLaunch, Value,
};
use mixc_launch::{Arg, BufferSpec, DType, Launch, ModuleImage, Plan, Role, TensorMap};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

/// What was asked of the driver. Addresses are those of the call.
#[derive(Clone, Debug, PartialEq)]
pub enum Call {
    LoadPtx(String),
    LoadCubin,
    Function(String),
    AllowShared(u32),
    Launch { entry: String, values: Vec<Value> },
    Fill { at: Address, byte: u8, bytes: u64 },
    Copy,
    Write,
    Read,
    Map { dims: Vec<u64>, at: Address },
    Synchronize,
    BeginCapture,
    EndCapture,
    Replay(GraphId),
    Record,
}

pub type Kernel = Box<dyn Fn(&Fake, &RawLaunch)>;

pub struct Fake {
    pub card: Card,
    pub calls: RefCell<Vec<Call>>,
    /// Answers of the next calls of a kind, by the kind's name.
    pub failures: RefCell<BTreeMap<&'static str, Failure>>,
    pub kernels: BTreeMap<String, Kernel>,
    pub kernel_us: f64,
    pub info: FunctionInfo,
    pub free: Cell<u64>,
    memory: RefCell<BTreeMap<u64, Vec<u8>>>,
    next: Cell<u64>,
    functions: RefCell<Vec<String>>,
    modules: Cell<usize>,
    capturing: RefCell<Option<Vec<Queued>>>,
    graphs: RefCell<Vec<Option<Vec<Queued>>>>,
    clock: Cell<f64>,
    events: RefCell<Vec<Option<f64>>>,
}

#[derive(Clone)]
enum Queued {
    Launch(RawLaunch),
    Fill(Address, u8, u64),
}

pub fn failure(code: u32, text: &str) -> Failure {
    Failure {
        code,
        text: text.into(),
        log: String::new(),
    }
}

impl Fake {
    pub fn new(cc: (u32, u32)) -> Fake {
        Fake {
            card: Card {
                index: 0,
                name: "a stand-in".into(),
                cc,
                memory_bytes: 1 << 30,
                cuda: (12, 8),
                driver: None,
                sms: 4,
                l2_bytes: 1 << 20,
                max_shared_bytes: 200 * 1024,
                max_clock_mhz: 0,
                max_memory_clock_mhz: 0,
                memory_bus_bits: 0,
            },
            calls: RefCell::default(),
            failures: RefCell::default(),
            kernels: BTreeMap::new(),
            kernel_us: 10.0,
            info: FunctionInfo {
                id: FunctionId(0),
                static_shared: 1024,
                registers: 32,
                local_bytes: 0,
                max_threads: 512,
                params: None,
            },
            free: Cell::new(1 << 30),
            memory: RefCell::default(),
            next: Cell::new(1 << 20),
            functions: RefCell::default(),
            modules: Cell::new(0),
            capturing: RefCell::default(),
            graphs: RefCell::default(),
            clock: Cell::new(0.0),
            events: RefCell::default(),
        }
    }

    pub fn kernel(mut self, entry: &str, run: impl Fn(&Fake, &RawLaunch) + 'static) -> Fake {
        self.kernels.insert(entry.into(), Box::new(run));
        self
    }

    /// Kernels take this long.
    pub fn takes(mut self, us: f64) -> Fake {
        self.kernel_us = us;
        self
    }

    pub fn on(mut self, change: impl FnOnce(&mut Card)) -> Fake {
        change(&mut self.card);
        self
    }

    pub fn fail_next(&self, kind: &'static str, failure: Failure) {
        self.failures.borrow_mut().insert(kind, failure);
    }

    pub fn take_calls(&self) -> Vec<Call> {
        self.calls.take()
    }

    pub fn live_allocations(&self) -> usize {
        self.memory.borrow().len()
    }

    pub fn live_graphs(&self) -> usize {
        self.graphs.borrow().iter().flatten().count()
    }

    pub fn live_events(&self) -> usize {
        self.events.borrow().iter().flatten().count()
    }

    /// Calls `f` with memory from `at` to the end of its allocation.
    pub fn with<R>(&self, at: Address, f: impl FnOnce(&mut [u8]) -> R) -> R {
        let mut memory = self.memory.borrow_mut();
        let (start, block) = memory
            .range_mut(..=at.0)
            .next_back()
            .expect("an allocation");
        f(&mut block[(at.0 - start) as usize..])
    }

    fn note(&self, kind: &'static str, call: Call) -> Result<(), Failure> {
        self.calls.borrow_mut().push(call);
        self.failures.borrow_mut().remove(kind).map_or(Ok(()), Err)
    }

    fn queue(&self, queued: Queued) {
        if let Some(graph) = self.capturing.borrow_mut().as_mut() {
            graph.push(queued);
            return;
        }
        self.execute(&queued);
    }

    fn execute(&self, queued: &Queued) {
        match queued {
            Queued::Launch(launch) => {
                let entry = self.functions.borrow()[launch.function.0].clone();
                if let Some(kernel) = self.kernels.get(&entry) {
                    kernel(self, launch);
                }
                self.clock.set(self.clock.get() + self.kernel_us);
            }
            Queued::Fill(at, byte, bytes) => {
                self.with(*at, |m| m[..*bytes as usize].fill(*byte));
                self.clock.set(self.clock.get() + *bytes as f64 / 1e3);
            }
        }
    }
}

impl Driver for Fake {
    fn card(&self) -> &Card {
        &self.card
    }

    fn memory(&self) -> Result<MemoryInfo, Failure> {
        Ok(MemoryInfo {
            free: self.free.get(),
            total: self.card.memory_bytes,
        })
    }

    fn load_ptx(&self, ptx: &str) -> Result<ModuleId, Failure> {
        self.note("load", Call::LoadPtx(ptx.into()))?;
        self.modules.set(self.modules.get() + 1);
        Ok(ModuleId(self.modules.get()))
    }

    fn load_cubin(&self, _: &[u8]) -> Result<ModuleId, Failure> {
        self.note("cubin", Call::LoadCubin)?;
        self.modules.set(self.modules.get() + 1);
        Ok(ModuleId(self.modules.get()))
    }

    fn function(&self, _: ModuleId, entry: &str) -> Result<FunctionInfo, Failure> {
        self.note("function", Call::Function(entry.into()))?;
        self.functions.borrow_mut().push(entry.into());
        let id = FunctionId(self.functions.borrow().len() - 1);
        Ok(FunctionInfo {
            id,
            ..self.info.clone()
        })
    }

    fn allow_shared(&self, _: FunctionId, bytes: u32) -> Result<(), Failure> {
        self.note("shared", Call::AllowShared(bytes))
    }

    fn alloc(&self, bytes: u64) -> Result<Address, Failure> {
        if bytes > self.free.get() {
            return Err(failure(2, "out of memory"));
        }
        self.free.set(self.free.get() - bytes);
        let at = self.next.get();
        self.next.set((at + bytes).next_multiple_of(256) + 4096);
        self.memory
            .borrow_mut()
            .insert(at, vec![0x11; bytes as usize]);
        Ok(Address(at))
    }

    fn free(&self, at: Address) -> Result<(), Failure> {
        let block = self
            .memory
            .borrow_mut()
            .remove(&at.0)
            .expect("a live allocation");
        self.free.set(self.free.get() + block.len() as u64);
        Ok(())
    }

    fn write(&self, to: Address, bytes: &[u8]) -> Result<(), Failure> {
        self.note("write", Call::Write)?;
        self.with(to, |m| m[..bytes.len()].copy_from_slice(bytes));
        Ok(())
    }

    fn read(&self, from: Address, bytes: &mut [u8]) -> Result<(), Failure> {
        self.note("read", Call::Read)?;
        self.with(from, |m| bytes.copy_from_slice(&m[..bytes.len()]));
        Ok(())
    }

    fn copy(&self, to: Address, from: Address, bytes: u64) -> Result<(), Failure> {
        self.note("copy", Call::Copy)?;
        assert!(self.capturing.borrow().is_none(), "copies are not captured");
        let source = self.with(from, |m| m[..bytes as usize].to_vec());
        self.with(to, |m| m[..source.len()].copy_from_slice(&source));
        Ok(())
    }

    fn fill(&self, at: Address, byte: u8, bytes: u64) -> Result<(), Failure> {
        self.note("fill", Call::Fill { at, byte, bytes })?;
        self.queue(Queued::Fill(at, byte, bytes));
        Ok(())
    }

    fn encode_map(&self, map: &TensorMap, at: Address) -> Result<MapBits, Failure> {
        self.note(
            "map",
            Call::Map {
                dims: map.dims.clone(),
                at,
            },
        )?;
        let mut bits = [0; 16];
        bits[0] = at.0;
        Ok(MapBits(bits))
    }

    unsafe fn launch(&self, launch: &RawLaunch) -> Result<(), Failure> {
        let entry = self.functions.borrow()[launch.function.0].clone();
        let values = launch.values.clone();
        self.note("launch", Call::Launch { entry, values })?;
        self.queue(Queued::Launch(launch.clone()));
        Ok(())
    }

    fn synchronize(&self) -> Result<(), Failure> {
        assert!(
            self.capturing.borrow().is_none(),
            "waiting breaks a capture"
        );
        self.note("synchronize", Call::Synchronize)
    }

    fn begin_capture(&self) -> Result<(), Failure> {
        self.note("begin", Call::BeginCapture)?;
        assert!(self.capturing.replace(Some(vec![])).is_none());
        Ok(())
    }

    fn end_capture(&self) -> Result<GraphId, Failure> {
        self.note("end", Call::EndCapture)?;
        let graph = self.capturing.take().expect("a capture");
        self.graphs.borrow_mut().push(Some(graph));
        Ok(GraphId(self.graphs.borrow().len() - 1))
    }

    fn replay(&self, graph: GraphId) -> Result<(), Failure> {
        self.note("replay", Call::Replay(graph))?;
        let queued = self.graphs.borrow()[graph.0].clone().expect("a live graph");
        queued.iter().for_each(|q| self.execute(q));
        Ok(())
    }

    fn drop_graph(&self, graph: GraphId) -> Result<(), Failure> {
        assert!(self.graphs.borrow_mut()[graph.0].take().is_some());
        Ok(())
    }

    fn event(&self) -> Result<EventId, Failure> {
        self.events.borrow_mut().push(Some(f64::NAN));
        Ok(EventId(self.events.borrow().len() - 1))
    }

    fn record(&self, event: EventId) -> Result<(), Failure> {
        self.note("record", Call::Record)?;
        self.events.borrow_mut()[event.0] = Some(self.clock.get());
        Ok(())
    }

    fn elapsed_us(&self, start: EventId, end: EventId) -> Result<f64, Failure> {
        let events = self.events.borrow();
        Ok(events[end.0].expect("a live event") - events[start.0].expect("a live event"))
    }

    fn drop_event(&self, event: EventId) -> Result<(), Failure> {
        assert!(self.events.borrow_mut()[event.0].take().is_some());
        Ok(())
    }
}

pub const PTX: &str = ".version 8.3
.target sm_80
.visible .entry double(.param .u64 from, .param .u64 to, .param .u32 n) { ret; }
.visible .entry add(.param .u64 from, .param .u64 to, .param .u32 n) { ret; }";

fn launch(entry: &str, from: usize, to: usize, n: i32) -> Launch {
    Launch {
        module: 0,
        entry: entry.into(),
        grid: [1, 1, 1],
        block: [64, 1, 1],
        shared_bytes: 0,
        args: vec![Arg::Buffer(from), Arg::Buffer(to), Arg::I32(n)],
    }
}

/// `w = 2 x; o = o + w`, elementwise, with `o` starting as zeros.
pub fn plan(n: i64) -> Plan {
    let mut o = BufferSpec::new("o", DType::F32, &[n], Role::Out);
    o.zeroed = true;
    Plan {
        buffers: vec![
            BufferSpec::new("x", DType::F32, &[n], Role::In),
            BufferSpec::new("w", DType::F32, &[n], Role::Work),
            o,
        ],
        modules: vec![ModuleImage {
            target: "sm_80".into(),
            ptx: PTX.into(),
            cubin: None,
        }],
        launches: vec![
            launch("double", 0, 1, n as i32),
            launch("add", 1, 2, n as i32),
        ],
    }
}

/// A card on which the kernels of [`plan`] do what they are called.
pub fn working() -> Fake {
    let operation = |f: fn(f32, f32) -> f32| {
        move |fake: &Fake, launch: &RawLaunch| {
            let [Value::Address(from), Value::Address(to), Value::I32(n)] = launch.values[..]
            else {
                panic!("arguments {:?}", launch.values);
            };
            let bytes = 4 * n as usize;
            let x = floats(&fake.with(from, |m| m[..bytes].to_vec()));
            fake.with(to, |m| {
                let y = floats(&m[..bytes]);
                for (i, (x, y)) in x.iter().zip(y).enumerate() {
                    m[4 * i..4 * i + 4].copy_from_slice(&f(*x, y).to_le_bytes());
                }
            });
        }
    };
    Fake::new((9, 0))
        .kernel("double", operation(|x, _| 2.0 * x))
        .kernel("add", operation(|x, y| x + y))
}

pub fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes
        .as_chunks()
        .0
        .iter()
        .map(|b| f32::from_le_bytes(*b))
        .collect()
}

pub fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

pub fn inputs(values: &[f32]) -> BTreeMap<usize, Vec<u8>> {
    [(0, bytes(values))].into()
}
