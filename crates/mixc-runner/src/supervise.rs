//! Running jobs in child processes, one after the other: a new one whenever a case ended the last.

use crate::{Event, Request};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

/// Starts and watches the processes.
pub struct Supervisor<'a> {
    /// Makes the command that serves a request.
    pub command: &'a dyn Fn() -> Command,
    /// A process from which nothing was heard for so long is killed.
    pub patience: Duration,
}

/// How one child ended.
enum End {
    /// By itself, perhaps with jobs left.
    Exited(String),
    /// It was silent and was killed.
    Stalled,
    /// It cannot work on this machine.
    Refused(String),
}

impl Supervisor<'_> {
    /// Runs all jobs of the request. `on` gets the events, and `lost` the case and the reason where a case ended
    /// without a row. An error is a reason for which the remaining jobs cannot be run at all.
    pub fn run(
        &self,
        mut request: Request,
        on: &mut dyn FnMut(Event),
        lost: &mut dyn FnMut(usize, String),
    ) -> Result<(), String> {
        while !request.jobs.is_empty() {
            let before = request.jobs.len();
            let mut current: Option<(usize, String)> = None;
            let end = self.one_child(&mut request, &mut current, on)?;
            let reason = match end {
                End::Refused(reason) => return Err(reason),
                End::Exited(how) => how,
                End::Stalled => format!(
                    "nothing was heard for {} s; it was killed",
                    self.patience.as_secs_f64()
                ),
            };
            if let Some((case, stage)) = current {
                request.jobs.retain(|job| job.case != case);
                lost(
                    case,
                    format!("the process that ran it ended while {stage}: {reason}"),
                );
            } else if request.jobs.len() == before {
                return Err(format!(
                    "a process for running kernels ended before it began: {reason}"
                ));
            }
        }
        Ok(())
    }

    fn one_child(
        &self,
        request: &mut Request,
        current: &mut Option<(usize, String)>,
        on: &mut dyn FnMut(Event),
    ) -> Result<End, String> {
        let mut child = (self.command)()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|e| format!("cannot start a process for running kernels: {e}"))?;
        if let (Some(mut stdin), Ok(text)) = (child.stdin.take(), serde_json::to_vec(request)) {
            // A child that does not read has ended, which is noticed below.
            let _ = stdin.write_all(&text);
        }
        let events = listen(&mut child);
        loop {
            let event = match events.recv_timeout(self.patience) {
                Ok(event) => event,
                Err(RecvTimeoutError::Timeout) => {
                    let _ = child.kill();
                    let _ = child.wait();
                    return Ok(End::Stalled);
                }
                Err(RecvTimeoutError::Disconnected) => {
                    let status = child
                        .wait()
                        .map_or_else(|e| e.to_string(), |s| s.to_string());
                    return Ok(End::Exited(status));
                }
            };
            match &event {
                Event::Start { case } => *current = Some((*case, "reading the case".into())),
                Event::Stage { case, stage } => *current = Some((*case, stage.clone())),
                Event::Row { case, row, .. } => {
                    *current = None;
                    request.jobs.retain(|job| job.case != *case);
                    if row.ok {
                        request.right.insert(*case);
                    }
                }
                Event::Refused { reason } => {
                    let _ = child.wait();
                    return Ok(End::Refused(reason.clone()));
                }
            }
            on(event);
        }
    }
}

/// The events of a child as they come; the channel closes with its standard output.
fn listen(child: &mut Child) -> Receiver<Event> {
    let (send, receive) = channel();
    if let Some(out) = child.stdout.take() {
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                match serde_json::from_str(&line) {
                    Ok(event) => {
                        if send.send(event).is_err() {
                            return;
                        }
                    }
                    // What a driver or a debugging aid prints.
                    Err(_) => eprintln!("{line}"),
                }
            }
        });
    }
    receive
}
