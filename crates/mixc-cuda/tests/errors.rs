//! What the driver's answers mean.

mod common;

use common::{Fake, failure, inputs, plan, working};
use mixc_cuda::{Address, CudaError, Failure, RawLaunch, Session, Value};
use mixc_launch::PlanError;

fn load_error(fake: Fake, change: impl FnOnce(&mut mixc_launch::Plan)) -> CudaError {
    let mut plan = plan(3);
    change(&mut plan);
    Session::new(fake).load(&plan).err().expect("an error")
}

#[test]
fn cards_run_code_for_them_only() {
    let error = load_error(Fake::new((7, 5)), |_| ());
    assert!(
        matches!(error, CudaError::UnsupportedCard { cc: (7, 5), .. })
            && error.is_lack_of_machine()
    );
    let error = load_error(Fake::new((10, 0)), |p| {
        p.modules[0].target = "sm_90a".into()
    });
    assert!(
        error
            .to_string()
            .contains("sm_90a does not run on a stand-in"),
        "{error}"
    );
}

#[test]
fn a_driver_that_does_not_know_the_ptx_version_is_told_apart_from_bad_ptx() {
    let refused = |failure: Failure| {
        let fake = working();
        fake.fail_next("load", failure);
        load_error(fake, |_| ())
    };
    let old = refused(failure(222, "unsupported version"));
    assert!(matches!(&old, CudaError::PtxTooNew { version, cuda: (12, 8) } if version == "8.3"));
    assert!(old.is_lack_of_machine());
    let log = |log: &str| Failure {
        log: log.into(),
        ..failure(218, "invalid PTX")
    };
    assert!(matches!(
        refused(log("line 1; fatal : Unsupported .version 8.3")),
        CudaError::PtxTooNew { .. }
    ));
    let bad = refused(log("line 7; error: unknown symbol"));
    assert!(matches!(bad, CudaError::InvalidCode { .. }) && !bad.is_lack_of_machine());
    assert!(
        bad.to_string().contains("line 7; error: unknown symbol"),
        "{bad}"
    );
    assert!(matches!(
        refused(failure(221, "no compiler")),
        CudaError::NoJit { .. }
    ));
    let nul = load_error(working(), |p| p.modules[0].ptx.push('\0'));
    assert!(matches!(nul, CudaError::InvalidCode { .. }));
}

#[test]
fn machine_code_is_preferred_where_it_fits_and_ptx_is_the_fallback() {
    use common::Call::{LoadCubin, LoadPtx};
    let loads = |cc, cuda, cubin_failure: Option<Failure>| {
        let mut fake = working().on(|card| (card.cc, card.cuda) = (cc, cuda));
        fake.info.params = Some(vec![8, 8, 4]);
        if let Some(failure) = cubin_failure {
            fake.fail_next("cubin", failure);
        }
        let mut plan = plan(3);
        plan.modules[0].cubin = Some(vec![1]);
        let session = Session::new(fake);
        session.load(&plan).unwrap();
        let calls = session.driver().take_calls();
        calls
            .into_iter()
            .filter(|c| matches!(c, LoadCubin | LoadPtx(_)))
            .collect::<Vec<_>>()
    };
    assert_eq!(loads((8, 6), (12, 4), None), [LoadCubin]);
    // An older driver cannot tell what the kernels take; PTX can be read.
    assert!(matches!(loads((8, 6), (12, 3), None)[..], [LoadPtx(_)]));
    // sm_80 machine code does not run on a later generation.
    assert!(matches!(loads((9, 0), (12, 8), None)[..], [LoadPtx(_)]));
    assert!(matches!(
        loads((8, 0), (12, 8), Some(failure(200, "not for this driver")))[..],
        [LoadCubin, LoadPtx(_)]
    ));
    let only_cubin = load_error(working(), |p| {
        p.modules[0].cubin = Some(vec![1]);
        p.modules[0].ptx.clear();
    });
    assert!(matches!(only_cubin, CudaError::UnsupportedCard { .. }));
}

#[test]
fn arguments_of_machine_code_are_compared_with_what_the_driver_says() {
    let with = |params: Option<Vec<usize>>| {
        let mut fake = working().on(|card| card.cc = (8, 0));
        fake.info.params = params;
        let mut plan = plan(3);
        plan.modules[0].cubin = Some(vec![1]);
        plan.modules[0].ptx.clear();
        Session::new(fake).load(&plan).err()
    };
    assert_eq!(with(Some(vec![8, 8, 4])), None);
    assert!(matches!(
        with(Some(vec![8, 8, 4, 4])),
        Some(CudaError::Params { .. })
    ));
    assert!(matches!(
        with(None),
        Some(CudaError::Params { expected: None, .. })
    ));
}

#[test]
fn kernels_that_are_missing_or_too_large() {
    let fake = working();
    fake.fail_next("function", failure(500, "not found"));
    assert!(
        matches!(load_error(fake, |_| ()), CudaError::NoKernel { entry, .. } if entry == "double")
    );
    let shared = load_error(working(), |p| {
        p.modules[0].target = "sm_90".into();
        p.launches[1].shared_bytes = 200 * 1024;
    });
    assert!(
        matches!(
            shared,
            CudaError::Shared {
                needed: 205824,
                limit: 204800,
                ..
            }
        ),
        "{shared}"
    );
    let threads = load_error(working(), |p| p.launches[0].block = [1024, 1, 1]);
    assert!(matches!(
        threads,
        CudaError::Threads {
            threads: 1024,
            limit: 512,
            registers: 32,
            ..
        }
    ));
}

#[test]
fn out_of_memory_says_how_much() {
    let fake = working();
    fake.free.set(1500);
    let error = load_error(fake, |_| ());
    match &error {
        CudaError::OutOfMemory {
            what,
            needed,
            free,
            total,
        } => {
            assert_eq!(
                (what.as_str(), *needed, *total),
                ("buffer 'o'", 12 + 512, 1 << 30)
            );
            assert_eq!(*free, 1500 - 2 * (12 + 512));
        }
        other => panic!("{other}"),
    }
    assert!(error.is_lack_of_machine());
}

#[test]
fn invalid_plans_do_not_reach_the_driver() {
    let session = Session::new(working());
    let mut bad = plan(3);
    bad.launches[0].args.pop();
    assert!(matches!(
        session.load(&bad),
        Err(CudaError::Plan(PlanError::Params { .. }))
    ));
    assert!(session.driver().take_calls().is_empty());
}

#[test]
fn failing_launches_name_their_kernel() {
    let session = Session::new(working());
    let prepared = session.load(&plan(3)).unwrap();
    session
        .driver()
        .fail_next("launch", failure(701, "too many resources"));
    let error = prepared.run().unwrap_err();
    assert!(matches!(&error, CudaError::Launch { launch: 0, entry, .. } if entry == "double"));
    assert!(
        !error.is_sticky() && error.to_string().contains("registers"),
        "{error}"
    );
    session
        .driver()
        .fail_next("synchronize", failure(700, "an illegal memory access"));
    let error = prepared.run().unwrap_err();
    assert!(matches!(&error, CudaError::Run { entries, .. } if entries == &["double", "add"]));
    assert!(error.is_sticky());
    // The first wait is for the zeros, the second for the first kernel.
    let sticky = working().kernel("double", |fake, _| {
        fake.fail_next("synchronize", failure(716, "misaligned"))
    });
    let session = Session::new(sticky);
    let error = session.load(&plan(3)).unwrap().run_each().unwrap_err();
    assert!(
        matches!(&error, CudaError::Kernel { launch: 0, entry, .. } if entry == "double"),
        "{error}"
    );
    assert!(error.is_sticky() && !error.is_lack_of_machine());
}

#[test]
fn a_failed_capture_leaves_the_stream_usable() {
    let session = Session::new(working());
    let mut prepared = session.load(&plan(3)).unwrap();
    prepared.upload(&inputs(&[1.0; 3])).unwrap();
    session
        .driver()
        .fail_next("launch", failure(1, "invalid value"));
    assert!(matches!(prepared.capture(), Err(CudaError::Launch { .. })));
    assert_eq!(session.driver().live_graphs(), 0);
    prepared.run().unwrap();
}

#[test]
fn writes_outside_of_buffers_are_found() {
    let write_at = |place: fn(&RawLaunch) -> (Value, u64)| {
        let fake = working().kernel("add", move |fake, launch| {
            let (Value::Address(at), offset) = place(launch) else {
                panic!("an address is expected");
            };
            fake.with(Address(at.0), |m| m[offset as usize] ^= 1);
        });
        let session = Session::new(fake);
        let mut prepared = session.load(&plan(3)).unwrap();
        prepared.upload(&inputs(&[1.0; 3])).unwrap();
        prepared.run().unwrap();
        prepared.check_memory(&inputs(&[1.0; 3]))
    };
    assert_eq!(write_at(|l| (l.values[1], 11)), Ok(()));
    let past = write_at(|l| (l.values[1], 12 + 5)).unwrap_err();
    assert!(
        matches!(&past, CudaError::WrotePastEnd { buffer, offset: 5 } if buffer == "o"),
        "{past}"
    );
}

#[test]
fn changed_inputs_are_found() {
    let fake = working().kernel("double", |fake, launch| {
        let Value::Address(x) = launch.values[0] else {
            panic!("an address is expected");
        };
        fake.with(x, |m| m[6] ^= 1);
    });
    let session = Session::new(fake);
    let mut prepared = session.load(&plan(3)).unwrap();
    prepared.upload(&inputs(&[1.0; 3])).unwrap();
    prepared.run().unwrap();
    let error = prepared.check_memory(&inputs(&[1.0; 3])).unwrap_err();
    assert!(
        matches!(&error, CudaError::ChangedInput { buffer, offset: 6 } if buffer == "x"),
        "{error}"
    );
}
