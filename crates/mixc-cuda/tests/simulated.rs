//! Plans with real PTX, run by a driver that is the simulator.

use mixc_cuda::{
    Address, Card, CudaError, Driver, EventId, Failure, FunctionId, FunctionInfo, GraphId, MapBits,
    MemoryInfo, ModuleId, RawLaunch, Session, Value,
};
use mixc_launch::{Arg, BufferSpec, DType, Launch, ModuleImage, Plan, Role, TensorMap};
use mixc_sim::{Arg as SimArg, BufferId, Memory, Module, Options};
use std::cell::RefCell;
use std::collections::BTreeMap;

struct Simulated {
    card: Card,
    memory: RefCell<Memory>,
    blocks: RefCell<BTreeMap<u64, BufferId>>,
    modules: RefCell<Vec<Module>>,
    functions: RefCell<Vec<(usize, String)>>,
}

fn failure(code: u32, text: String) -> Failure {
    Failure {
        code,
        text,
        log: String::new(),
    }
}

impl Simulated {
    fn new() -> Simulated {
        Simulated {
            card: Card {
                index: 0,
                name: "the simulator".into(),
                cc: (9, 0),
                memory_bytes: 1 << 30,
                cuda: (12, 8),
                driver: None,
                sms: 1,
                l2_bytes: 1 << 20,
                max_shared_bytes: 227 * 1024,
                max_clock_mhz: 0,
                max_memory_clock_mhz: 0,
                memory_bus_bits: 0,
            },
            memory: RefCell::new(Memory::new()),
            blocks: RefCell::default(),
            modules: RefCell::default(),
            functions: RefCell::default(),
        }
    }

    /// The buffer of an address and the offset in it.
    fn find(&self, at: Address) -> (BufferId, usize) {
        let blocks = self.blocks.borrow();
        let (start, id) = blocks.range(..=at.0).next_back().expect("an allocation");
        (*id, (at.0 - start) as usize)
    }

    fn change(&self, at: Address, change: impl FnOnce(&mut [u8])) {
        let (id, offset) = self.find(at);
        let mut memory = self.memory.borrow_mut();
        let mut bytes = memory.bytes(id);
        change(&mut bytes[offset..]);
        memory.write(id, &bytes);
    }
}

impl Driver for Simulated {
    fn card(&self) -> &Card {
        &self.card
    }

    fn memory(&self) -> Result<MemoryInfo, Failure> {
        Ok(MemoryInfo {
            free: 1 << 30,
            total: 1 << 30,
        })
    }

    fn load_ptx(&self, ptx: &str) -> Result<ModuleId, Failure> {
        let module = Module::parse(ptx).map_err(|e| failure(218, format!("{e:?}")))?;
        self.modules.borrow_mut().push(module);
        Ok(ModuleId(self.modules.borrow().len() - 1))
    }

    fn load_cubin(&self, _: &[u8]) -> Result<ModuleId, Failure> {
        Err(failure(200, "the simulator reads PTX".into()))
    }

    fn function(&self, module: ModuleId, entry: &str) -> Result<FunctionInfo, Failure> {
        let entries = self.modules.borrow()[module.0].entries();
        let info = entries.into_iter().find(|e| e.name == entry);
        let info = info.ok_or_else(|| failure(500, "named symbol not found".into()))?;
        self.functions.borrow_mut().push((module.0, entry.into()));
        Ok(FunctionInfo {
            id: FunctionId(self.functions.borrow().len() - 1),
            static_shared: info.shared_bytes as u32,
            registers: 0,
            local_bytes: 0,
            max_threads: 1024,
            params: Some(info.params.iter().map(|(_, size)| *size).collect()),
        })
    }

    fn allow_shared(&self, _: FunctionId, _: u32) -> Result<(), Failure> {
        Ok(())
    }

    fn alloc(&self, bytes: u64) -> Result<Address, Failure> {
        let mut memory = self.memory.borrow_mut();
        let id = memory.alloc("block", &vec![0; bytes as usize]);
        let at = memory.address(id);
        self.blocks.borrow_mut().insert(at, id);
        Ok(Address(at))
    }

    fn free(&self, _: Address) -> Result<(), Failure> {
        Ok(())
    }

    fn write(&self, to: Address, bytes: &[u8]) -> Result<(), Failure> {
        self.change(to, |m| m[..bytes.len()].copy_from_slice(bytes));
        Ok(())
    }

    fn read(&self, from: Address, bytes: &mut [u8]) -> Result<(), Failure> {
        let (id, offset) = self.find(from);
        bytes.copy_from_slice(&self.memory.borrow().bytes(id)[offset..][..bytes.len()]);
        Ok(())
    }

    fn copy(&self, to: Address, from: Address, bytes: u64) -> Result<(), Failure> {
        let mut source = vec![0; bytes as usize];
        self.read(from, &mut source)?;
        self.write(to, &source)
    }

    fn fill(&self, at: Address, byte: u8, bytes: u64) -> Result<(), Failure> {
        self.change(at, |m| m[..bytes as usize].fill(byte));
        Ok(())
    }

    fn encode_map(&self, _: &TensorMap, _: Address) -> Result<MapBits, Failure> {
        unimplemented!("no test of this file has a map")
    }

    unsafe fn launch(&self, launch: &RawLaunch) -> Result<(), Failure> {
        let (module, entry) = self.functions.borrow()[launch.function.0].clone();
        let value = |v: &Value| match v {
            Value::Address(at) => SimArg::U64(at.0),
            Value::I32(x) => SimArg::I32(*x),
            Value::I64(x) => SimArg::I64(*x),
            Value::F32(x) => SimArg::F32(*x),
            Value::Map(_) => unimplemented!("no test of this file has a map"),
        };
        let args: Vec<SimArg> = launch.values.iter().map(value).collect();
        let modules = self.modules.borrow();
        let mut memory = self.memory.borrow_mut();
        let (grid, block, shared) = (launch.grid, launch.block, launch.shared_bytes);
        let options = Options::default();
        let report =
            modules[module].launch(&entry, grid, block, shared, &args, &mut memory, &options);
        let report = report.map_err(|e| failure(1, e.to_string()))?;
        match report.findings.first() {
            None => Ok(()),
            Some(finding) => Err(failure(700, format!("{finding:?}"))),
        }
    }

    fn synchronize(&self) -> Result<(), Failure> {
        Ok(())
    }

    fn begin_capture(&self) -> Result<(), Failure> {
        Err(failure(900, "the simulator has no graphs".into()))
    }

    fn end_capture(&self) -> Result<GraphId, Failure> {
        Err(failure(900, "the simulator has no graphs".into()))
    }

    fn replay(&self, _: GraphId) -> Result<(), Failure> {
        Err(failure(900, "the simulator has no graphs".into()))
    }

    fn drop_graph(&self, _: GraphId) -> Result<(), Failure> {
        Ok(())
    }

    fn event(&self) -> Result<EventId, Failure> {
        Err(failure(801, "the simulator has no clock".into()))
    }

    fn record(&self, _: EventId) -> Result<(), Failure> {
        Ok(())
    }

    fn elapsed_us(&self, _: EventId, _: EventId) -> Result<f64, Failure> {
        Ok(0.0)
    }

    fn drop_event(&self, _: EventId) -> Result<(), Failure> {
        Ok(())
    }
}

/// `to[i] = scale * from[i] + to[i]` for `i < n`, one element a thread.
const PTX: &str = "
.version 7.8
.target sm_80
.address_size 64
.visible .entry scaled(.param .u64 from, .param .u64 to, .param .f32 scale, .param .u32 n) {
    .reg .pred %p<2>;
    .reg .f32 %f<5>;
    .reg .b32 %r<6>;
    .reg .b64 %rd<6>;
    ld.param.u64 %rd1, [from];
    ld.param.u64 %rd2, [to];
    ld.param.f32 %f1, [scale];
    ld.param.u32 %r1, [n];
    mov.u32 %r2, %ctaid.x;
    mov.u32 %r3, %ntid.x;
    mov.u32 %r4, %tid.x;
    mad.lo.s32 %r5, %r2, %r3, %r4;
    setp.ge.u32 %p1, %r5, %r1;
    @%p1 bra DONE;
    mul.wide.u32 %rd3, %r5, 4;
    add.s64 %rd4, %rd1, %rd3;
    add.s64 %rd5, %rd2, %rd3;
    ld.global.f32 %f2, [%rd4];
    ld.global.f32 %f3, [%rd5];
    fma.rn.f32 %f4, %f1, %f2, %f3;
    st.global.f32 [%rd5], %f4;
DONE:
    ret;
}";

fn scaled(from: usize, to: usize, scale: f32, n: i32) -> Launch {
    Launch {
        module: 0,
        entry: "scaled".into(),
        grid: [n as u32 / 32 + 1, 1, 1],
        block: [32, 1, 1],
        shared_bytes: 0,
        args: vec![
            Arg::Buffer(from),
            Arg::Buffer(to),
            Arg::F32(scale),
            Arg::I32(n),
        ],
    }
}

/// `w = 3 x; o = w - x`.
fn plan(n: i64) -> Plan {
    let zeroed = |name: &str, role| BufferSpec {
        zeroed: true,
        ..BufferSpec::new(name, DType::F32, &[n], role)
    };
    let n = n as i32;
    Plan {
        buffers: vec![
            BufferSpec::new("x", DType::F32, &[n.into()], Role::In),
            zeroed("w", Role::Work),
            zeroed("o", Role::Out),
        ],
        modules: vec![ModuleImage {
            target: "sm_80".into(),
            ptx: PTX.into(),
            cubin: None,
        }],
        launches: vec![
            scaled(0, 1, 3.0, n),
            scaled(1, 2, 1.0, n),
            scaled(0, 2, -1.0, n),
        ],
    }
}

fn input(n: usize) -> BTreeMap<usize, Vec<u8>> {
    [(0, (0..n).flat_map(|i| (i as f32).to_le_bytes()).collect())].into()
}

#[test]
fn three_launches_compute_what_they_say() {
    let session = Session::new(Simulated::new());
    for n in [1, 32, 100] {
        let mut prepared = session.load(&plan(n as i64)).unwrap();
        prepared.upload(&input(n)).unwrap();
        prepared.poison().unwrap();
        prepared.run_each().unwrap();
        prepared.check_memory(&input(n)).unwrap();
        let wanted: Vec<u8> = (0..n)
            .flat_map(|i| (2.0 * i as f32).to_le_bytes())
            .collect();
        assert_eq!(prepared.download().unwrap()[&2], wanted);
    }
}

#[test]
fn a_kernel_that_writes_one_element_too_many_is_caught() {
    let session = Session::new(Simulated::new());
    let mut wrong = plan(31);
    wrong.launches[2].args[3] = Arg::I32(32);
    let mut prepared = session.load(&wrong).unwrap();
    prepared.upload(&input(31)).unwrap();
    prepared.run().unwrap();
    let error = prepared.check_memory(&input(31)).unwrap_err();
    assert!(
        matches!(&error, CudaError::WrotePastEnd { buffer, .. } if buffer == "o"),
        "{error}"
    );
}

/// The short reader of parameters that plans use agrees with the simulator's whole parser.
#[test]
fn parameters_are_read_as_the_simulator_reads_them() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../mixc-sim/tests/cuda");
    let mut kernels = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_none_or(|e| e != "ptx") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        for entry in Module::parse(&text).unwrap().entries() {
            let sizes: Vec<usize> = entry.params.iter().map(|(_, size)| *size).collect();
            let found = mixc_launch::entry_params(&text, &entry.name);
            assert_eq!(found, Some(sizes), "{}: {}", path.display(), entry.name);
            kernels += 1;
        }
    }
    assert!(kernels > 5, "only {kernels} kernels were found");
}
