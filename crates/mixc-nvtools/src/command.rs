//! Runs a tool to its end, or to a time limit.

use std::io::{self, Read};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;
use wait_timeout::ChildExt;

pub(crate) struct Output {
    pub status: ExitStatus,
    /// Both streams, decoded; the errors of NVIDIA's tools go to either.
    pub stdout: String,
    pub stderr: String,
}

/// `Ok(None)` where the limit passed and the process was killed.
pub(crate) fn run_within(command: &mut Command, limit: Duration) -> io::Result<Option<Output>> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let streams = (child.stdout.take(), child.stderr.take());
    let stdout = std::thread::spawn(move || read_all(streams.0));
    let stderr = std::thread::spawn(move || read_all(streams.1));
    let Some(status) = child.wait_timeout(limit)? else {
        child.kill()?;
        child.wait()?;
        return Ok(None);
    };
    let text = |bytes: std::thread::Result<io::Result<Vec<u8>>>| {
        let bytes = bytes.unwrap_or_else(|_| Err(io::Error::other("a reader panicked")))?;
        io::Result::Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    Ok(Some(Output {
        status,
        stdout: text(stdout.join())?,
        stderr: text(stderr.join())?,
    }))
}

fn read_all(stream: Option<impl Read>) -> io::Result<Vec<u8>> {
    let mut bytes = vec![];
    if let Some(mut stream) = stream {
        stream.read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}
