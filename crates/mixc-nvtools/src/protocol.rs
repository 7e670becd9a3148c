//! What the worker and its client say to each other: frames of JSON, each after its length in bytes
//! (u32, little endian). A request is answered by one response, in order.

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::io::{self, Read, Write};

/// One MLIR module to lower.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// The processor, as LLVM names it: `sm_90a`.
    pub chip: String,
    /// The PTX version without its dot, `83` for 8.3; empty for the default of the chip.
    pub ptx: String,
    /// The text of a `module attributes {gpu.container_module}` with one `gpu.module` in it.
    pub mlir: String,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Response {
    /// The PTX text.
    Ptx(String),
    /// Why the module was refused: one line for each diagnostic, with its place in the text.
    Error(String),
}

/// No frame is longer, in bytes: a guard against reading something else as a length.
const LONGEST: u32 = 1 << 28;

/// Writes one frame and flushes.
pub fn write_frame(to: &mut impl Write, message: &impl Serialize) -> io::Result<()> {
    let text = serde_json::to_vec(message)?;
    let length = u32::try_from(text.len()).ok().filter(|n| *n <= LONGEST);
    let length = length.ok_or_else(|| invalid(format!("a frame of {} bytes", text.len())))?;
    to.write_all(&length.to_le_bytes())?;
    to.write_all(&text)?;
    to.flush()
}

/// Reads one frame; `None` where the stream ends in front of one.
pub fn read_frame<T: DeserializeOwned>(from: &mut impl Read) -> io::Result<Option<T>> {
    let mut length = [0; 4];
    let mut got = 0;
    while got < length.len() {
        match from.read(&mut length[got..]) {
            Ok(0) if got == 0 => return Ok(None),
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(n) => got += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    let length = u32::from_le_bytes(length);
    if length > LONGEST {
        return Err(invalid(format!("a frame of {length} bytes")));
    }
    let mut text = vec![0; length as usize];
    from.read_exact(&mut text)?;
    Ok(Some(serde_json::from_slice(&text)?))
}

fn invalid(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_back_in_order_and_then_the_stream_ends() {
        let sent = [
            Response::Ptx("line\nline \"quoted\" \u{00e9}".into()),
            Response::Error(String::new()),
        ];
        let mut bytes = vec![];
        for message in &sent {
            write_frame(&mut bytes, message).unwrap();
        }
        assert_eq!(
            bytes[..4],
            (bytes[4..].iter().position(|b| *b == b'}').unwrap() as u32 + 1).to_le_bytes()
        );
        let mut from = bytes.as_slice();
        for message in &sent {
            assert_eq!(
                read_frame::<Response>(&mut from).unwrap().as_ref(),
                Some(message)
            );
        }
        assert_eq!(read_frame::<Response>(&mut from).unwrap(), None);
    }

    #[test]
    fn a_cut_or_absurd_frame_is_an_error() {
        let mut bytes = vec![];
        write_frame(&mut bytes, &Response::Ptx("abc".into())).unwrap();
        for end in 1..bytes.len() {
            assert!(read_frame::<Response>(&mut &bytes[..end]).is_err(), "{end}");
        }
        assert!(read_frame::<Response>(&mut b"plain text".as_slice()).is_err());
    }
}
