//! What is measured, on a driver whose clock is known.

mod common;

use common::{Call, Fake, inputs, plan, working};
use mixc_cuda::{Measured, Session, TimingOptions};

/// Times the two kernels of a plan on `n` elements.
fn time(fake: Fake, n: i64, options: &TimingOptions) -> (Measured, Session<Fake>) {
    let session = Session::new(fake);
    let mut plan = plan(n);
    // So that a run takes exactly what its kernels take.
    plan.buffers[2].zeroed = false;
    let mut prepared = session.load(&plan).unwrap();
    prepared.upload(&inputs(&vec![1.0; n as usize])).unwrap();
    session.driver().take_calls();
    let measured = prepared.time(options).unwrap();
    drop(prepared);
    (measured, session)
}

fn options() -> TimingOptions {
    TimingOptions {
        samples: 20,
        warmup_us: 500.0,
        ..TimingOptions::default()
    }
}

fn near(a: f64, b: f64) -> bool {
    (a - b).abs() < 1e-6 * b
}

#[test]
fn a_run_takes_what_its_kernels_take() {
    let (measured, _) = time(working(), 1 << 16, &options());
    let t = measured.timing;
    assert!(
        near(t.median_us, 20.0) && near(t.p90_us, 20.0) && t.mad_us < 1e-9,
        "{t:?}"
    );
    assert_eq!(t.samples, 20);
}

#[test]
fn copies_exceed_twice_the_cache_and_runs_rotate_over_them() {
    // 512 KiB of inputs and outputs, 1 MiB of cache.
    let (measured, session) = time(working().takes(12.5), 1 << 16, &options());
    assert_eq!((measured.copies, measured.flushed), (6, false));
    assert!(measured.copies as u64 * (512 << 10) > 2 << 20);
    // 100 us for a sample are 4 runs of 25 us.
    assert_eq!(measured.timing.runs_per_sample, 4);
    let mut inputs = std::collections::BTreeSet::new();
    let mut works = std::collections::BTreeSet::new();
    for call in session.driver().take_calls() {
        if let Call::Launch { entry, values } = call
            && entry == "double"
        {
            inputs.insert(format!("{:?}", values[0]));
            works.insert(format!("{:?}", values[1]));
        }
    }
    assert_eq!(
        (inputs.len(), works.len()),
        (6, 1),
        "inputs rotate, work buffers do not"
    );
}

#[test]
fn long_runs_are_samples_of_their_own_on_alternating_copies() {
    let fake = working().takes(400.0);
    let (measured, session) = time(fake, 1 << 20, &options());
    // 8 MiB exceed the cache of 1 MiB at once, and still two copies alternate.
    assert_eq!((measured.copies, measured.timing.runs_per_sample), (2, 1));
    assert!(near(measured.timing.median_us, 800.0));
    let calls = session.driver().take_calls();
    let replays: Vec<_> = calls
        .iter()
        .filter(|c| matches!(c, Call::Replay(_)))
        .collect();
    let last = &replays[replays.len() - 20..];
    assert!(last.windows(2).all(|w| w[0] != w[1]), "{last:?}");
}

#[test]
fn tiny_problems_flush_the_cache_outside_of_the_measured_time() {
    let (measured, session) = time(working(), 16, &options());
    assert_eq!((measured.copies, measured.flushed), (64, true));
    // The flush of 2 MiB takes 2 ms on this clock and is in no sample.
    assert!(near(measured.timing.median_us, 20.0), "{measured:?}");
    let flushes = session.driver().take_calls();
    let flushes = flushes
        .iter()
        .filter(|c| matches!(c, Call::Fill { bytes, byte: 0, .. } if *bytes == 2 << 20));
    assert_eq!(flushes.count(), 20);
}

#[test]
fn a_warm_measurement_uses_one_copy() {
    let warm = TimingOptions {
        cold: false,
        ..options()
    };
    let (measured, _) = time(working(), 16, &warm);
    assert_eq!(
        (
            measured.copies,
            measured.flushed,
            measured.timing.runs_per_sample
        ),
        (1, false, 1)
    );
}

#[test]
fn little_memory_means_fewer_copies_and_a_flush() {
    let fake = working().on(|card| card.l2_bytes = 8 << 20);
    // Three buffers of 4 MiB, and 40 MiB: 32 for flushing and 8, of which a copy must not take all.
    fake.free.set((3 * 4 + 40) << 20);
    let (measured, _) = time(fake, 1 << 20, &options());
    assert_eq!((measured.copies, measured.flushed), (1, true));
    assert!(near(measured.timing.median_us, 20.0), "{measured:?}");
}

#[test]
fn a_time_limit_means_fewer_samples_but_never_fewer_than_five() {
    let fake = || working().takes(1000.0);
    let limited = |max_us| TimingOptions {
        max_us,
        ..options()
    };
    assert_eq!(
        time(fake(), 1 << 16, &limited(16_500.0)).0.timing.samples,
        8
    );
    assert_eq!(time(fake(), 1 << 16, &limited(1.0)).0.timing.samples, 5);
}

#[test]
fn copies_hold_the_same_inputs() {
    let fake = working().kernel("double", |fake, launch| {
        let mixc_cuda::Value::Address(x) = launch.values[0] else {
            panic!("an address is expected");
        };
        assert_eq!(fake.with(x, |m| common::floats(&m[..64])), vec![1.0; 16]);
    });
    time(fake, 16, &options());
}
