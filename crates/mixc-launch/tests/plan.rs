//! The rules of plans, each broken alone.

use mixc_launch::{
    Arg, BufferSpec, DType, Launch, MapElem, MapError, ModuleImage, Plan, PlanError, Role, Swizzle,
    TensorMap,
};
use proptest::prelude::*;

const PTX: &str = ".version 8.3\n.target sm_90a\n.visible .entry rows(
    .param .align 64 .b8 map[128],
    .param .u64 o,
    .param .u32 n,
    .param .f32 scale
) { ret; }";

fn plan() -> Plan {
    let map = TensorMap::dense(0, MapElem::Bf16, &[64, 100], &[128], &[64, 64]);
    Plan {
        buffers: vec![
            BufferSpec::new("x", DType::Bf16, &[100, 64], Role::In),
            BufferSpec::new("o", DType::F32, &[100], Role::Out),
        ],
        modules: vec![ModuleImage {
            target: "sm_90a".into(),
            ptx: PTX.into(),
            cubin: None,
        }],
        launches: vec![Launch {
            module: 0,
            entry: "rows".into(),
            grid: [2, 1, 1],
            block: [128, 1, 1],
            shared_bytes: 100 * 1024,
            args: vec![
                Arg::TensorMap(map),
                Arg::Buffer(1),
                Arg::I32(100),
                Arg::F32(0.5),
            ],
        }],
    }
}

/// The error of the plan after one change.
fn broken(change: impl FnOnce(&mut Plan)) -> PlanError {
    let mut plan = plan();
    change(&mut plan);
    plan.validate().unwrap_err()
}

/// The error of the tensor map after one change.
fn broken_map(change: impl FnOnce(&mut TensorMap)) -> MapError {
    match broken(|plan| match &mut plan.launches[0].args[0] {
        Arg::TensorMap(map) => change(map),
        other => panic!("{other:?}"),
    }) {
        PlanError::Map { source, name, .. } => {
            assert_eq!(name, "x");
            source
        }
        other => panic!("{other}"),
    }
}

#[test]
fn a_sound_plan_is_accepted_and_survives_json() {
    let plan = plan();
    plan.validate().unwrap();
    let text = serde_json::to_string(&plan).unwrap();
    assert_eq!(serde_json::from_str::<Plan>(&text).unwrap(), plan);
}

#[test]
fn buffers() {
    use PlanError::*;
    assert!(matches!(
        broken(|p| p.buffers[1].name = "x".into()),
        DuplicateBuffer { .. }
    ));
    assert!(matches!(
        broken(|p| p.buffers[1].shape = vec![-1]),
        Shape { .. }
    ));
    assert!(matches!(
        broken(|p| p.buffers[1].shape = vec![1 << 40, 1 << 40]),
        Shape { .. }
    ));
    assert!(matches!(
        broken(|p| p.buffers[1].shape = vec![i64::MAX / 2]),
        Shape { .. }
    ));
    assert!(matches!(
        broken(|p| p.buffers[1].strides = Some(vec![1, 1])),
        Strides { .. }
    ));
    assert!(matches!(
        broken(|p| p.buffers[1].strides = Some(vec![-4])),
        Strides { .. }
    ));
    assert!(matches!(
        broken(|p| p.buffers[1].strides = Some(vec![0])),
        Strides { .. }
    ));
    assert!(matches!(
        broken(|p| p.buffers[0].zeroed = true),
        ZeroedInput { .. }
    ));
}

#[test]
fn strides_of_written_buffers_must_not_overlap() {
    let with = |shape: &[i64], strides: &[i64]| {
        let mut spec = BufferSpec::new("w", DType::F32, shape, Role::Work);
        spec.strides = Some(strides.to_vec());
        Plan {
            buffers: vec![spec],
            ..Plan::default()
        }
        .validate()
        .is_ok()
    };
    assert!(with(&[4, 8], &[8, 1]) && with(&[4, 8], &[1, 4]) && with(&[4, 8], &[100, 3]));
    assert!(with(&[1, 8], &[0, 1]) && with(&[0, 8], &[0, 0]));
    assert!(!with(&[4, 8], &[7, 1]) && !with(&[4, 8], &[0, 1]));
}

#[test]
fn sizes_of_strided_and_empty_buffers() {
    let mut spec = BufferSpec::new("x", DType::F16, &[3, 5], Role::In);
    assert_eq!((spec.elements(), spec.size_bytes()), (Some(15), Some(30)));
    spec.strides = Some(vec![10, 2]);
    assert_eq!(spec.size_bytes(), Some((2 * 10 + 4 * 2 + 1) * 2));
    spec.shape = vec![0, 5];
    assert_eq!((spec.elements(), spec.size_bytes()), (Some(0), Some(0)));
    let scalar = BufferSpec::new("s", DType::F64, &[], Role::In);
    assert_eq!(scalar.size_bytes(), Some(8));
}

#[test]
fn launches() {
    use PlanError::*;
    let launch = |change: fn(&mut Launch)| broken(|p| change(&mut p.launches[0]));
    assert!(matches!(
        launch(|l| l.module = 1),
        Module {
            module: 1,
            count: 1,
            ..
        }
    ));
    assert!(matches!(launch(|l| l.entry.clear()), NoEntry { launch: 0 }));
    assert!(matches!(launch(|l| l.grid[1] = 65536), Grid { .. }));
    assert!(matches!(launch(|l| l.grid[0] = 1 << 31), Grid { .. }));
    assert!(matches!(launch(|l| l.block = [0, 1, 1]), Block { .. }));
    assert!(matches!(launch(|l| l.block = [512, 2, 2]), Block { .. }));
    assert!(matches!(launch(|l| l.block = [1, 1, 128]), Block { .. }));
    assert!(matches!(launch(|l| l.block = [u32::MAX; 3]), Block { .. }));
    assert!(matches!(
        launch(|l| l.shared_bytes = 228 * 1024),
        Shared { limit: 232448, .. }
    ));
    assert!(matches!(
        broken(|p| {
            p.modules[0].ptx.clear();
            p.modules[0].cubin = Some(vec![1]);
            p.launches[0].args = vec![Arg::I64(0); 4096];
        }),
        ArgBytes { bytes: 32768, .. }
    ));
    assert!(matches!(
        launch(|l| l.args[1] = Arg::Buffer(2)),
        Buffer {
            arg: 1,
            buffer: 2,
            ..
        }
    ));
    let past = Arg::BufferAt {
        buffer: 1,
        byte_offset: 401,
    };
    assert!(matches!(
        broken(|p| p.launches[0].args[1] = past),
        Offset {
            offset: 401,
            size: 400,
            ..
        }
    ));
    let end = Arg::BufferAt {
        buffer: 1,
        byte_offset: 400,
    };
    let mut at_end = plan();
    at_end.launches[0].args[1] = end;
    at_end.validate().unwrap();
}

#[test]
fn arguments_are_those_that_the_ptx_declares() {
    use PlanError::{NoKernel, Params};
    assert!(matches!(
        broken(|p| p.launches[0].entry = "row".into()),
        NoKernel { module: 0, .. }
    ));
    assert!(matches!(
        broken(|p| drop(p.launches[0].args.pop())),
        Params { .. }
    ));
    assert!(matches!(
        broken(|p| p.launches[0].args.push(Arg::I32(0))),
        Params { .. }
    ));
    let wide = broken(|p| p.launches[0].args[2] = Arg::I64(100));
    match &wide {
        Params {
            found, expected, ..
        } => assert_eq!((found[2], expected[2]), (8, 4)),
        other => panic!("{other}"),
    }
    // Machine code alone cannot be asked here.
    let mut plan = plan();
    plan.modules[0].ptx.clear();
    plan.modules[0].cubin = Some(vec![1]);
    plan.launches[0].args.pop();
    plan.validate().unwrap();
}

#[test]
fn modules() {
    use PlanError::*;
    assert!(matches!(
        broken(|p| p.modules[0].target = "gfx90a".into()),
        Target { module: 0, .. }
    ));
    assert!(matches!(
        broken(|p| p.modules[0].ptx = " ".into()),
        EmptyModule { module: 0 }
    ));
    assert!(matches!(
        broken(|p| p.modules[0].target = "sm_80".into()),
        NoMaps { arg: 0, .. }
    ));
    // 100 KiB fit an A100 but not the consumer cards of its generation.
    let shared = broken(|p| {
        p.modules[0].target = "sm_86".into();
        p.modules[0].ptx = ".entry rows { ret; }".into();
        p.launches[0].args.clear();
    });
    assert!(matches!(shared, Shared { limit: 101376, .. }));
}

#[test]
fn tensor_maps() {
    use MapError::{Box, Count, ElemStride, Offset, Outside, Rank, Row, Size, Stride};
    assert!(matches!(broken_map(|m| m.dims.clear()), Rank { rank: 0 }));
    assert!(matches!(
        broken_map(|m| m.dims = vec![1; 6]),
        Rank { rank: 6 }
    ));
    assert!(matches!(
        broken_map(|m| m.strides_bytes.push(16)),
        Count {
            what: "strides",
            ..
        }
    ));
    assert!(matches!(
        broken_map(|m| m.elem_strides.push(1)),
        Count {
            what: "element strides",
            ..
        }
    ));
    assert!(matches!(
        broken_map(|m| m.byte_offset = 8),
        Offset { bytes: 8 }
    ));
    assert!(matches!(
        broken_map(|m| m.dims[1] = (1 << 32) + 1),
        Size { dim: 1, .. }
    ));
    assert!(matches!(
        broken_map(|m| m.strides_bytes[0] = 120),
        Stride { dim: 1, bytes: 120 }
    ));
    assert!(matches!(
        broken_map(|m| m.strides_bytes[0] = 1 << 40),
        Stride { dim: 1, .. }
    ));
    assert!(matches!(
        broken_map(|m| m.box_[1] = 257),
        Box { dim: 1, size: 257 }
    ));
    assert!(matches!(
        broken_map(|m| m.box_[1] = 0),
        Box { dim: 1, size: 0 }
    ));
    assert!(matches!(
        broken_map(|m| m.elem_strides[0] = 9),
        ElemStride { dim: 0, step: 9 }
    ));
    assert!(matches!(broken_map(|m| m.box_[0] = 4), Row { bytes: 8 }));
    assert!(matches!(
        broken_map(|m| m.swizzle = Swizzle::B64),
        MapError::Swizzle {
            bytes: 128,
            span: 64
        }
    ));
    assert!(matches!(
        broken_map(|m| m.dims[1] = 101),
        Outside {
            end: 12928,
            size: 12800
        }
    ));
    assert!(matches!(broken_map(|m| m.byte_offset = 16), Outside { .. }));
}

#[test]
fn empty_tensors_are_allowed_everywhere() {
    let mut plan = plan();
    plan.buffers[0].shape = vec![0, 64];
    plan.launches[0].grid = [0, 1, 1];
    let Arg::TensorMap(map) = &mut plan.launches[0].args[0] else {
        panic!("the first argument is a map");
    };
    map.dims[1] = 0;
    plan.validate().unwrap();
    assert!(plan.launches[0].is_empty());
}

#[test]
fn every_f32_argument_survives_json() {
    for x in [
        0.1f32,
        -0.0,
        f32::MIN_POSITIVE / 8.0,
        f32::MAX,
        f32::INFINITY,
        f32::NEG_INFINITY,
    ] {
        let text = serde_json::to_string(&Arg::F32(x)).unwrap();
        assert_eq!(
            serde_json::from_str::<Arg>(&text).unwrap(),
            Arg::F32(x),
            "{text}"
        );
    }
    let nan = serde_json::to_string(&Arg::F32(f32::NAN)).unwrap();
    assert!(matches!(serde_json::from_str(&nan).unwrap(), Arg::F32(x) if x.is_nan()));
}

/// Sizes at which arithmetic goes wrong.
fn extreme() -> impl Strategy<Value = i64> {
    prop_oneof![
        -2i64..20,
        Just(i64::MAX),
        Just(i64::MIN),
        Just(1 << 32),
        Just(1 << 62)
    ]
}

proptest! {
    /// No numbers, however senseless, make validation panic; and what it accepts has a size.
    #[test]
    fn validation_is_total(
        shape in prop::collection::vec(extreme(), 0..4),
        strides in prop::option::of(prop::collection::vec(extreme(), 0..4)),
        dims in prop::collection::vec(extreme(), 0..6),
        map_strides in prop::collection::vec(extreme(), 0..5),
        offset in extreme(),
        grid in any::<[u32; 3]>(),
        block in any::<[u32; 3]>(),
    ) {
        let mut plan = plan();
        plan.buffers[0].shape = shape;
        plan.buffers[0].strides = strides;
        plan.launches[0].grid = grid;
        plan.launches[0].block = block;
        if let Arg::TensorMap(map) = &mut plan.launches[0].args[0] {
            map.dims = dims.iter().map(|&d| d as u64).collect();
            map.strides_bytes = map_strides.iter().map(|&s| s as u64).collect();
            map.box_ = vec![8; dims.len()];
            map.elem_strides = vec![1; dims.len()];
            map.byte_offset = offset as u64;
        }
        if plan.validate().is_ok() {
            let buffer = &plan.buffers[0];
            let bytes = buffer.elements().unwrap() * 2;
            prop_assert!(bytes <= buffer.size_bytes().unwrap());
        }
        let buffers_only = Plan { launches: vec![], ..plan };
        if buffers_only.validate().is_ok() {
            let buffer = &buffers_only.buffers[0];
            prop_assert!(buffer.elements().unwrap() * 2 <= buffer.size_bytes().unwrap());
        }
    }
}
