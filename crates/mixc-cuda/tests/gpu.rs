//! The real driver and a real card. Where there is none, every test here says so and passes.

use mixc_cuda::{Cuda, CudaError, Session, TimingOptions};
use mixc_launch::{Arg, BufferSpec, DType, Launch, ModuleImage, Plan, Role};
use std::collections::BTreeMap;

fn session() -> Option<Session<Cuda>> {
    match mixc_cuda::open(0) {
        Ok(session) => Some(session),
        Err(error) => {
            eprintln!("skipped: {error}");
            None
        }
    }
}

/// `to[i] = scale * from[i]`, one element a thread.
const PTX: &str = "
.version 7.0
.target sm_80
.address_size 64
.visible .entry scaled(.param .u64 from, .param .u64 to, .param .f32 scale, .param .u32 n) {
    .reg .pred %p<2>;
    .reg .f32 %f<4>;
    .reg .b32 %r<6>;
    .reg .b64 %rd<8>;
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
    mul.f32 %f3, %f1, %f2;
    st.global.f32 [%rd5], %f3;
DONE:
    ret;
}";

fn plan(n: i32) -> Plan {
    let buffer = |name: &str, role| BufferSpec::new(name, DType::F32, &[n.into()], role);
    let scaled = |from, to, scale| Launch {
        module: 0,
        entry: "scaled".into(),
        grid: [n as u32 / 128 + 1, 1, 1],
        block: [128, 1, 1],
        shared_bytes: 0,
        args: vec![
            Arg::Buffer(from),
            Arg::Buffer(to),
            Arg::F32(scale),
            Arg::I32(n),
        ],
    };
    Plan {
        buffers: vec![
            buffer("x", Role::In),
            buffer("w", Role::Work),
            buffer("o", Role::Out),
        ],
        modules: vec![ModuleImage {
            target: "sm_80".into(),
            ptx: PTX.into(),
            cubin: None,
        }],
        launches: vec![scaled(0, 1, 3.0), scaled(1, 2, 0.5)],
    }
}

fn input(n: i32) -> BTreeMap<usize, Vec<u8>> {
    [(0, (0..n).flat_map(|i| (i as f32).to_le_bytes()).collect())].into()
}

#[test]
fn two_launches_run_alone_in_a_row_and_as_a_graph() {
    let Some(session) = session() else { return };
    for n in [1, 1000, 1 << 20] {
        let mut prepared = session.load(&plan(n)).unwrap();
        prepared.upload(&input(n)).unwrap();
        let wanted: Vec<u8> = (0..n)
            .flat_map(|i| (1.5 * i as f32).to_le_bytes())
            .collect();
        let graph = prepared.capture().unwrap();
        let ways: [&dyn Fn() -> Result<(), CudaError>; 3] =
            [&|| prepared.run(), &|| prepared.run_each(), &|| {
                graph.replay().and_then(|()| graph.wait())
            }];
        for way in ways {
            prepared.poison().unwrap();
            way().unwrap();
            assert_eq!(prepared.download().unwrap()[&2], wanted);
        }
        prepared.check_memory(&input(n)).unwrap();
    }
}

#[test]
fn a_run_takes_time_and_a_longer_one_more() {
    let Some(session) = session() else { return };
    let time = |n: i32| {
        let mut prepared = session.load(&plan(n)).unwrap();
        prepared.upload(&input(n)).unwrap();
        prepared
            .time(&TimingOptions::default())
            .unwrap()
            .timing
            .median_us
    };
    let (short, long) = (time(1 << 16), time(1 << 28));
    assert!(short > 0.0 && long > 10.0 * short, "{short} us, {long} us");
}

#[test]
fn refusals_of_the_driver_are_told_apart() {
    let Some(session) = session() else { return };
    let refused = |change: fn(&mut Plan)| {
        let mut plan = plan(8);
        change(&mut plan);
        session.load(&plan).err().expect("an error")
    };
    let bad = refused(|p| p.modules[0].ptx = PTX.replace("mul.f32", "mul.nonsense"));
    assert!(
        matches!(&bad, CudaError::InvalidCode { log, .. } if !log.is_empty()),
        "{bad}"
    );
    let new = refused(|p| p.modules[0].ptx = PTX.replace(".version 7.0", ".version 99.0"));
    assert!(
        matches!(&new, CudaError::PtxTooNew { version, .. } if version == "99.0"),
        "{new}"
    );
    let other = refused(|p| p.modules[0].target = "sm_999".into());
    assert!(
        matches!(other, CudaError::UnsupportedCard { .. }),
        "{other}"
    );
    let huge = refused(|p| p.buffers[1].shape = vec![1 << 45]);
    assert!(matches!(huge, CudaError::OutOfMemory { .. }), "{huge}");
}
