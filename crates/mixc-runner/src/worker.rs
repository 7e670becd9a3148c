//! Working through jobs on one card.

use crate::measure::{LastInputs, Task, measure};
use crate::{Event, Request};
use mixc_cuda::{Driver, Session};
use mixc_launch::{BundleReader, Row, Status};
use std::io::{Read, Write};

/// How the work ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// All jobs are done.
    Done,
    /// A case broke the context; jobs behind it are not done.
    Broken,
}

/// Runs the jobs of a request in order.
pub fn work<D: Driver>(
    session: &Session<D>,
    bundle: &mut BundleReader,
    request: &Request,
    emit: &mut dyn FnMut(Event),
) -> Ended {
    let labels: Vec<_> = bundle.labels().cloned().collect();
    let mut right = request.right.clone();
    let mut inputs = LastInputs::default();
    for job in &request.jobs {
        let case = job.case;
        emit(Event::Start { case });
        let loaded = match bundle.case(case) {
            Ok(loaded) => loaded,
            Err(error) => {
                let label = labels.get(case).cloned().unwrap_or_default();
                let row = Box::new(Row::failed(&label, Status::Failed, error.to_string()));
                emit(Event::Row {
                    case,
                    row,
                    bad_input: true,
                });
                continue;
            }
        };
        let prior = loaded.verified_by.is_none_or(|by| right.contains(&by));
        let mut stage = |stage: &str| {
            emit(Event::Stage {
                case,
                stage: stage.to_owned(),
            })
        };
        let measured = measure(
            session,
            &loaded,
            &mut inputs,
            Task {
                options: &request.options,
                timed: job.timed,
                prior,
            },
            &mut stage,
        );
        if measured.row.ok {
            right.insert(case);
        }
        emit(Event::Row {
            case,
            row: Box::new(measured.row),
            bad_input: false,
        });
        if measured.broken {
            return Ended::Broken;
        }
    }
    Ended::Done
}

/// The child process: a request on standard input, events on standard output.
pub fn serve() -> std::io::Result<()> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    let request: Request = serde_json::from_str(&text)?;
    let mut out = std::io::stdout().lock();
    let mut lost = None;
    let mut emit = |event: Event| {
        let line = serde_json::to_string(&event).map_err(std::io::Error::from);
        let sent = line.and_then(|line| writeln!(out, "{line}").and_then(|()| out.flush()));
        // Nobody listens any more: the rest of the work is for nobody.
        if let Err(error) = sent {
            lost = Some(error);
        }
    };
    match BundleReader::open(&request.bundle) {
        Err(error) => emit(Event::Refused {
            reason: error.to_string(),
        }),
        Ok(mut bundle) => match mixc_cuda::open(request.device) {
            Err(error) => emit(Event::Refused {
                reason: error.to_string(),
            }),
            Ok(session) => {
                work(&session, &mut bundle, &request, &mut emit);
            }
        },
    }
    lost.map_or(Ok(()), Err)
}
