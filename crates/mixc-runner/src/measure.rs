//! One case on a card: is it right, and how long does it take.

use crate::MeasureOptions;
use mixc_cuda::{CudaError, Driver, Prepared, Session, TimingOptions};
use mixc_launch::{BufferSpec, Case, Input, OutputCheck, Row, Status};
use std::collections::BTreeMap;

/// A row, and whether the context was broken while making it.
pub struct Measured {
    pub row: Row,
    pub broken: bool,
}

/// The inputs of the last case. Variants of one kernel come after each other and read the same values, which take
/// longer to make than the kernels run.
#[derive(Default)]
pub struct LastInputs {
    recipe: Vec<(Input, BufferSpec)>,
    bytes: BTreeMap<usize, Vec<u8>>,
}

impl LastInputs {
    fn of(&mut self, case: &Case) -> &BTreeMap<usize, Vec<u8>> {
        let with_place = |input: &Input| (input.clone(), case.plan.buffers[input.buffer].clone());
        let recipe: Vec<_> = case.inputs.iter().map(with_place).collect();
        if self.recipe != recipe {
            (self.recipe, self.bytes) = (recipe, case.input_bytes());
        }
        &self.bytes
    }
}

/// What is to be done with a case.
#[derive(Clone, Copy)]
pub struct Task<'a> {
    pub options: &'a MeasureOptions,
    pub timed: bool,
    /// Whether the case that verifies this one was right.
    pub prior: bool,
}

/// Verifies a case and then, if it is to be timed, measures it. `stage` is told what begins.
pub fn measure<D: Driver>(
    session: &Session<D>,
    case: &Case,
    inputs: &mut LastInputs,
    task: Task<'_>,
    stage: &mut dyn FnMut(&str),
) -> Measured {
    let mut row = Row::failed(&case.label, Status::Failed, "");
    row.error = None;
    stage("making inputs");
    let inputs = inputs.of(case);
    let ended = run(session, case, inputs, task, stage, &mut row);
    let mut broken = false;
    row.status = match ended {
        Ok(status) => status,
        Err(error) => {
            broken = error.is_sticky();
            row.error = Some(error.to_string());
            match &error {
                CudaError::WrotePastEnd { .. } | CudaError::ChangedInput { .. } => Status::Wrong,
                e if e.is_lack_of_machine() => Status::Unsupported,
                _ => Status::Failed,
            }
        }
    };
    row.ok = row.status == Status::Ok;
    Measured { row, broken }
}

fn run<D: Driver>(
    session: &Session<D>,
    case: &Case,
    inputs: &BTreeMap<usize, Vec<u8>>,
    task: Task<'_>,
    stage: &mut dyn FnMut(&str),
    row: &mut Row,
) -> Result<Status, CudaError> {
    stage("loading");
    let Task {
        options,
        timed,
        prior,
    } = task;
    let mut prepared = session.load(&case.plan)?;
    prepared.upload(inputs)?;
    stage("running");
    prepared.poison()?;
    prepared.run_each()?;
    if options.verify {
        stage("verifying");
        let status = verify(&prepared, case, inputs, prior, row)?;
        if status != Status::Ok {
            return Ok(status);
        }
    }
    if timed && !prepared.is_empty() {
        stage("measuring");
        time(&mut prepared, case, options, row)?;
    }
    if !options.verify {
        return Ok(Status::Unverified);
    }
    if timed {
        // Launches back to back can show a race that single ones did not.
        stage("verifying again");
        let status = verify(&prepared, case, inputs, prior, row)?;
        if status != Status::Ok {
            row.timing = None;
            (row.tflops, row.gbps) = (None, None);
            row.error = row.error.take().map(|e| format!("after many runs: {e}"));
            return Ok(status);
        }
    }
    Ok(Status::Ok)
}

fn verify<D: Driver>(
    prepared: &Prepared<D>,
    case: &Case,
    inputs: &BTreeMap<usize, Vec<u8>>,
    prior: bool,
    row: &mut Row,
) -> Result<Status, CudaError> {
    prepared.check_memory(inputs)?;
    let checks = case.check(&prepared.download()?);
    let worst = |error: fn(&OutputCheck) -> f64| {
        checks
            .iter()
            .map(error)
            .reduce(f64::max)
            .filter(|e| e.is_finite())
    };
    row.rel_err = worst(|c| c.rel_err);
    row.max_abs_err = worst(|c| c.max_abs_err);
    let wrong: Vec<String> = checks.iter().filter(|c| !c.ok).map(describe).collect();
    if !wrong.is_empty() {
        row.error = Some(wrong.join("; "));
        return Ok(Status::Wrong);
    }
    if case.verified_by.is_some() && !prior {
        row.error = Some("the case that verifies this one was not right".into());
        return Ok(Status::Unverified);
    }
    if !case.is_verifiable() {
        row.error = Some(
            "the bundle has nothing to compare its results with; --no-verify measures it anyway"
                .into(),
        );
        return Ok(Status::Unverified);
    }
    Ok(Status::Ok)
}

fn describe(check: &OutputCheck) -> String {
    let place = check
        .worst
        .map_or(String::new(), |at| format!(", worst at element {at}"));
    format!(
        "'{}' is wrong: relative error {:.3e}, largest difference {:.3e}{place}",
        check.name, check.rel_err, check.max_abs_err
    )
}

fn time<D: Driver>(
    prepared: &mut Prepared<D>,
    case: &Case,
    options: &MeasureOptions,
    row: &mut Row,
) -> Result<(), CudaError> {
    let measured = prepared.time(&TimingOptions {
        samples: options.samples,
        max_us: options.max_seconds * 1e6,
        ..TimingOptions::default()
    })?;
    row.tflops = measured.timing.rate(case.counts.flops, 12);
    row.gbps = measured.timing.rate(case.counts.bytes, 9);
    row.timing = Some(measured.timing);
    Ok(())
}
