//! One worker process, and an exchange with it that ends in time whatever the process does.

use crate::protocol::{Request, Response, read_frame, write_frame};
use std::io::{self, Read};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// How an exchange failed. The worker is of no more use after any of these.
pub(crate) enum Failure {
    /// The process ended, or closed its output, before it answered.
    Died { status: ExitStatus, stderr: String },
    /// It did not answer in time and was killed.
    TimedOut,
    /// It answered with something that is no frame of the protocol.
    Garbled(io::Error),
}

/// A running worker, idle between exchanges. Dropping it ends the process.
pub(crate) struct Worker {
    child: Child,
    requests: Sender<Request>,
    responses: Receiver<io::Result<Option<Response>>>,
    stderr: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
}

/// The end of a long stderr holds the reason; more bytes than this of it are not kept.
const STDERR_KEPT: usize = 64 << 10;

impl Worker {
    pub fn start(program: &Path) -> io::Result<Worker> {
        let mut child = Command::new(program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let (Some(mut stdin), Some(mut stdout), Some(errors)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            panic!("bug: a piped stream of a child is there");
        };
        let (requests, queue) = channel::<Request>();
        let (answers, responses) = channel();
        // Both directions run in a thread of their own, so that a full pipe cannot outlast the
        // time limit: killing the process ends the thread.
        std::thread::spawn(move || {
            for request in queue {
                let answer = match write_frame(&mut stdin, &request) {
                    // A process that ended has closed its input: its output tells the same.
                    Err(e) if e.kind() != io::ErrorKind::BrokenPipe => Err(e),
                    _ => read_frame(&mut stdout),
                };
                if answers.send(answer).is_err() {
                    return;
                }
            }
        });
        let stderr = Arc::new(Mutex::new(vec![]));
        let kept = stderr.clone();
        let reader = std::thread::spawn(move || keep_the_end(errors, &kept));
        Ok(Worker {
            child,
            requests,
            responses,
            stderr,
            reader: Some(reader),
        })
    }

    /// Whether the process still runs.
    pub fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    pub fn exchange(&mut self, request: Request, limit: Duration) -> Result<Response, Failure> {
        // Fails only where the thread has ended, and then so does the receiver.
        let _ = self.requests.send(request);
        match self.responses.recv_timeout(limit) {
            Ok(Ok(Some(response))) => Ok(response),
            Err(RecvTimeoutError::Timeout) => Err(Failure::TimedOut),
            Ok(Err(e)) if e.kind() != io::ErrorKind::UnexpectedEof => Err(Failure::Garbled(e)),
            _ => Err(self.died()),
        }
    }

    /// The output is closed: waits for the process and gathers what it said.
    fn died(&mut self) -> Failure {
        // Gives a process that is about to end, by an abort, the time to do so by itself.
        for _ in 0..100 {
            if !self.is_alive() {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let status = match self.child.wait() {
            Ok(status) => status,
            Err(e) => return Failure::Garbled(e),
        };
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
        let kept = self.stderr.lock().unwrap_or_else(|e| e.into_inner());
        let stderr = String::from_utf8_lossy(&kept).trim().to_string();
        Failure::Died { status, stderr }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Neither can be helped here: the process may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn keep_the_end(mut from: impl Read, kept: &Mutex<Vec<u8>>) {
    let mut block = [0; 4096];
    while let Ok(n) = from.read(&mut block) {
        if n == 0 {
            return;
        }
        let mut kept = kept.lock().unwrap_or_else(|e| e.into_inner());
        kept.extend_from_slice(&block[..n]);
        let over = kept.len().saturating_sub(STDERR_KEPT);
        kept.drain(..over);
    }
}
