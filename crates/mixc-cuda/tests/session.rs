//! What a session asks of a driver, and in which order.

mod common;

use common::{Call, Fake, bytes, floats, inputs, plan, working};
use mixc_cuda::{CudaError, Session, Value};
use mixc_launch::{Arg, BufferSpec, DType, MapElem, Role, TensorMap};

fn launches(calls: &[Call]) -> Vec<String> {
    let entry = |call: &Call| match call {
        Call::Launch { entry, .. } => Some(entry.clone()),
        _ => None,
    };
    calls.iter().filter_map(entry).collect()
}

#[test]
fn a_plan_runs_in_order_and_gives_its_outputs() {
    let session = Session::new(working());
    let mut prepared = session.load(&plan(3)).unwrap();
    prepared.upload(&inputs(&[1.0, 2.5, -3.0])).unwrap();
    for _ in 0..2 {
        prepared.poison().unwrap();
        session.driver().take_calls();
        prepared.run().unwrap();
        // The output starts as zeros in every run.
        let calls = session.driver().take_calls();
        assert!(
            matches!(
                calls[0],
                Call::Fill {
                    byte: 0,
                    bytes: 12,
                    ..
                }
            ),
            "{calls:?}"
        );
        assert_eq!(launches(&calls), ["double", "add"]);
        assert_eq!(calls.last(), Some(&Call::Synchronize));
        let outputs = prepared.download().unwrap();
        assert_eq!(outputs.keys().copied().collect::<Vec<_>>(), [2]);
        assert_eq!(floats(&outputs[&2]), [2.0, 5.0, -6.0]);
    }
    prepared.check_memory(&inputs(&[1.0, 2.5, -3.0])).unwrap();
}

#[test]
fn waiting_for_each_launch_gives_the_same() {
    let session = Session::new(working());
    let mut prepared = session.load(&plan(2)).unwrap();
    prepared.upload(&inputs(&[1.0, 2.0])).unwrap();
    prepared.run_each().unwrap();
    assert_eq!(floats(&prepared.download().unwrap()[&2]), [2.0, 4.0]);
}

#[test]
fn arguments_are_addresses_of_the_buffers() {
    let session = Session::new(working());
    let mut offset = plan(4);
    offset.launches[1].args[0] = Arg::BufferAt {
        buffer: 1,
        byte_offset: 8,
    };
    offset.launches[1].args[2] = Arg::I32(2);
    let mut prepared = session.load(&offset).unwrap();
    prepared.upload(&inputs(&[1.0, 2.0, 3.0, 4.0])).unwrap();
    prepared.run().unwrap();
    assert_eq!(
        floats(&prepared.download().unwrap()[&2]),
        [6.0, 8.0, 0.0, 0.0]
    );
    let calls = session.driver().take_calls();
    let addresses: Vec<_> = calls
        .iter()
        .filter_map(|c| match c {
            Call::Launch { values, .. } => Some((values[0], values[1])),
            _ => None,
        })
        .collect();
    let (Value::Address(w), Value::Address(w_at_8)) = (addresses[0].1, addresses[1].0) else {
        panic!("{addresses:?}");
    };
    assert_eq!((w_at_8.0 - w.0, w.0 % 256), (8, 0));
}

#[test]
fn modules_and_kernels_are_loaded_once() {
    let session = Session::new(working());
    let first = session.load(&plan(3)).unwrap();
    session.driver().take_calls();
    let _second = session.load(&plan(5)).unwrap();
    let calls = session.driver().take_calls();
    assert!(
        !calls
            .iter()
            .any(|c| matches!(c, Call::LoadPtx(_) | Call::Function(_))),
        "{calls:?}"
    );
    drop(first);
    let mut other = plan(3);
    other.modules[0].ptx.push_str("\n// changed");
    let _third = session.load(&other).unwrap();
    assert!(
        session
            .driver()
            .take_calls()
            .iter()
            .any(|c| matches!(c, Call::LoadPtx(_)))
    );
}

#[test]
fn launches_without_blocks_are_skipped_and_empty_buffers_allowed() {
    let session = Session::new(working());
    let mut half = plan(3);
    half.launches[0].grid = [1, 0, 1];
    let mut prepared = session.load(&half).unwrap();
    prepared.upload(&inputs(&[1.0; 3])).unwrap();
    session.driver().take_calls();
    prepared.run().unwrap();
    assert_eq!(launches(&session.driver().take_calls()), ["add"]);
    let mut empty = plan(0);
    empty.launches.iter_mut().for_each(|l| l.grid = [0; 3]);
    let mut prepared = session.load(&empty).unwrap();
    prepared.upload(&inputs(&[])).unwrap();
    prepared.run().unwrap();
    assert!(prepared.is_empty());
    assert!(prepared.download().unwrap()[&2].is_empty());
    assert!(matches!(
        prepared.time(&Default::default()),
        Err(CudaError::NothingToTime)
    ));
}

#[test]
fn more_than_48_kib_of_shared_memory_are_asked_for_once() {
    let session = Session::new(working());
    let with = |bytes: u32| {
        let mut plan = plan(3);
        plan.launches[0].shared_bytes = bytes;
        plan
    };
    let asked = |session: &Session<Fake>, bytes| {
        session.load(&with(bytes)).unwrap();
        let allowed = |c: Call| match c {
            Call::AllowShared(bytes) => Some(bytes),
            _ => None,
        };
        session
            .driver()
            .take_calls()
            .into_iter()
            .filter_map(allowed)
            .collect::<Vec<_>>()
    };
    // The stand-in's kernels have 1 KiB of fixed size.
    assert!(asked(&session, 47 * 1024).is_empty());
    assert_eq!(asked(&session, 48 * 1024), [48 * 1024]);
    assert_eq!(asked(&session, 100_000), [100_000]);
    assert!(asked(&session, 60_000).is_empty());
}

#[test]
fn a_captured_run_is_replayed_without_launches() {
    let session = Session::new(working());
    let mut prepared = session.load(&plan(2)).unwrap();
    prepared.upload(&inputs(&[1.0, 2.0])).unwrap();
    prepared.poison().unwrap();
    session.driver().take_calls();
    let graph = prepared.capture().unwrap();
    let calls = session.driver().take_calls();
    assert_eq!(
        (calls.first(), calls.last()),
        (Some(&Call::BeginCapture), Some(&Call::EndCapture))
    );
    assert_eq!(launches(&calls), ["double", "add"]);
    assert!(
        floats(&prepared.download().unwrap()[&2])[0].is_nan(),
        "capturing runs nothing"
    );
    for _ in 0..2 {
        graph.replay().unwrap();
        graph.wait().unwrap();
        assert_eq!(floats(&prepared.download().unwrap()[&2]), [2.0, 4.0]);
    }
    assert!(launches(&session.driver().take_calls()).is_empty());
    drop(graph);
    assert_eq!(session.driver().live_graphs(), 0);
}

#[test]
fn everything_is_given_back() {
    let session = Session::new(working());
    let before = session.driver().live_allocations();
    let mut prepared = session.load(&plan(100)).unwrap();
    prepared.upload(&inputs(&[1.0; 100])).unwrap();
    prepared.time(&Default::default()).unwrap();
    assert!(session.driver().live_allocations() > before);
    drop(prepared);
    let driver = session.driver();
    assert_eq!(
        (
            driver.live_allocations(),
            driver.live_graphs(),
            driver.live_events()
        ),
        (before, 0, 0)
    );
}

#[test]
fn a_map_of_an_empty_tensor_reads_zeros() {
    let mut mapped = plan(2);
    mapped.modules[0].target = "sm_90a".into();
    mapped.modules[0].ptx =
        ".entry double(.param .align 64 .b8 m[128], .param .u64 to, .param .u32 n) { ret; }
        .entry add(.param .u64 x, .param .u64 y, .param .u32 n) { ret; }"
            .into();
    mapped
        .buffers
        .push(BufferSpec::new("k", DType::F32, &[0, 8], Role::In));
    let map = TensorMap::dense(3, MapElem::F32, &[8, 0], &[32], &[8, 16]);
    mapped.launches[0].args[0] = Arg::TensorMap(map);
    let session = Session::new(working());
    session.load(&mapped).unwrap();
    let calls = session.driver().take_calls();
    let map = calls.iter().find_map(|c| match c {
        Call::Map { dims, at } => Some((dims.clone(), *at)),
        _ => None,
    });
    let (dims, at) = map.unwrap();
    assert_eq!(dims, [1, 1]);
    assert!(
        calls.contains(&Call::Fill {
            at,
            byte: 0,
            bytes: 16
        }),
        "{calls:?}"
    );
}

#[test]
fn uploads_must_fit() {
    let session = Session::new(working());
    let mut prepared = session.load(&plan(3)).unwrap();
    let short = prepared.upload(&inputs(&[1.0])).unwrap_err();
    assert!(matches!(
        short,
        CudaError::InputSize {
            found: 4,
            expected: 12,
            ..
        }
    ));
    let output = prepared
        .upload(&[(2, bytes(&[0.0; 3]))].into())
        .unwrap_err();
    assert!(matches!(output, CudaError::NotAnInput { buffer: 2 }));
    assert!(matches!(
        prepared.upload(&[(9, vec![])].into()),
        Err(CudaError::NotAnInput { buffer: 9 })
    ));
}
