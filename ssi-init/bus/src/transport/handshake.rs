// SPDX-License-Identifier: GPL-2.0-or-later
//! Who is at the other end of a connection that no bus lies between: the server's side of SASL's EXTERNAL, D-Bus
//! Specification, "Authentication Protocol".
//!
//! ```text
//!   client: NUL AUTH EXTERNAL [hex of its uid]        manager: OK guid, or DATA
//!           DATA [hex of its uid]                              OK guid
//!           NEGOTIATE_UNIX_FD                                  AGREE_UNIX_FD
//!           BEGIN                                              (messages from here on)
//! ```
//!
//! Clients send all of it at once and messages right behind, so no byte after BEGIN is taken from the socket. What the
//! client says of itself counts for nothing against what the kernel says of it; it may only say the same.
//!
//! zbus has a server's side too. It indexes before a line that begins with its own end and keeps whatever comes without
//! an end, which will not do for a manager.

use std::io;

use rustix::net::RecvFlags;
use tokio::io::{AsyncWriteExt as _, Interest};
use tokio::net::UnixStream;

/// The longest line, and more than the longest that makes sense.
const LONGEST_LINE: usize = 512;
/// How many lines there may be before BEGIN.
const MOST_LINES: usize = 16;

/// Why a client is not let in.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HandshakeError {
    /// The socket.
    #[error("the connection broke: {0}")]
    Socket(#[from] io::Error),
    /// It went away, or never spoke.
    #[error("the client left before it had said who it is")]
    Left,
    /// What it says is no handshake.
    #[error("the client does not speak D-Bus: {0}")]
    Protocol(&'static str),
    /// It is somebody who is not let in.
    #[error("user {0} is not let in; only root is")]
    Refused(u32),
}

/// What is to be said to the client, and whether that was all.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    /// Say this and listen on.
    Say(String),
    /// Messages begin.
    Begin,
}

/// How far the client is.
#[derive(Debug)]
struct Server<'a> {
    guid: &'a str,
    /// Who the kernel says it is.
    uid: u32,
    asked_for_data: bool,
    authenticated: bool,
}

impl Server<'_> {
    fn line(&mut self, line: &str) -> Result<Answer, HandshakeError> {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let answer = match word {
            "AUTH" => match rest.split_once(' ').unwrap_or((rest, "")) {
                ("EXTERNAL", "") => {
                    self.asked_for_data = true;
                    "DATA".to_owned()
                }
                ("EXTERNAL", identity) => self.identity(identity)?,
                _ => "REJECTED EXTERNAL".to_owned(),
            },
            "DATA" if self.asked_for_data => self.identity(rest.trim())?,
            "NEGOTIATE_UNIX_FD" if self.authenticated => "AGREE_UNIX_FD".to_owned(),
            "BEGIN" if self.authenticated => return Ok(Answer::Begin),
            "BEGIN" => return Err(HandshakeError::Protocol("BEGIN comes before AUTH")),
            "CANCEL" | "ERROR" => {
                self.authenticated = false;
                "REJECTED EXTERNAL".to_owned()
            }
            _ => "ERROR unknown or misplaced".to_owned(),
        };
        Ok(Answer::Say(answer))
    }

    /// The client's word for its uid, decimal digits in hex; nothing: whoever the kernel says.
    fn identity(&mut self, hex: &str) -> Result<String, HandshakeError> {
        self.asked_for_data = false;
        let said = digits(hex).ok_or(HandshakeError::Protocol("its user is no number in hexadecimal digits"))?;
        if said.is_some_and(|said| said != self.uid) {
            return Ok("REJECTED EXTERNAL".to_owned());
        }
        self.authenticated = true;
        Ok(format!("OK {}", self.guid))
    }
}

/// `Some(None)` for nothing, `None` for nonsense.
fn digits(hex: &str) -> Option<Option<u32>> {
    if hex.is_empty() {
        return Some(None);
    }
    let pairs = hex.as_bytes().chunks(2);
    let bytes: Option<Vec<u8>> =
        pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect();
    std::str::from_utf8(&bytes?).ok()?.parse().ok().map(Some)
}

/// Lets the client in, or not. Has no limit of time: the caller sets one.
pub(crate) async fn perform(
    stream: &mut UnixStream,
    guid: &str,
    uid: u32,
    allowed: bool,
) -> Result<(), HandshakeError> {
    if !allowed {
        // A client that does not know why it is cut off would try for ever.
        stream.write_all(b"REJECTED EXTERNAL\r\n").await?;
        return Err(HandshakeError::Refused(uid));
    }
    let mut server = Server { guid, uid, asked_for_data: false, authenticated: false };
    let mut first = true;
    for _ in 0..MOST_LINES {
        let line = read_line(stream).await?;
        let line = match line.strip_prefix(b"\0") {
            Some(line) if first => line,
            None if !first => &line[..],
            _ => return Err(HandshakeError::Protocol("a NUL comes first, and only once")),
        };
        first = false;
        let line = std::str::from_utf8(line).map_err(|_| HandshakeError::Protocol("it is not text"))?;
        match server.line(line)? {
            Answer::Say(text) => stream.write_all(format!("{text}\r\n").as_bytes()).await?,
            Answer::Begin => return Ok(()),
        }
    }
    Err(HandshakeError::Protocol("it never comes to an end"))
}

/// Takes one line, without its end, and not one byte more.
async fn read_line(stream: &UnixStream) -> Result<Vec<u8>, HandshakeError> {
    let mut line = Vec::new();
    let mut buffer = [0; LONGEST_LINE];
    loop {
        stream.readable().await?;
        let peeked = stream.try_io(Interest::READABLE, || {
            Ok(rustix::net::recv(stream, &mut buffer[..], RecvFlags::PEEK | RecvFlags::DONTWAIT)?.0)
        });
        let there = match peeked {
            Ok(0) => return Err(HandshakeError::Left),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error.into()),
        };
        let seen = &buffer[..there];
        let end = seen.iter().position(|byte| *byte == b'\n');
        // Without an end all of it belongs to this line.
        let take = end.map_or(there, |end| end + 1);
        line.extend_from_slice(&seen[..take]);
        let (taken, _) =
            rustix::net::recv(stream, &mut buffer[..take], RecvFlags::DONTWAIT).map_err(io::Error::from)?;
        if taken != take {
            return Err(HandshakeError::Protocol("its bytes change while they are read"));
        }
        if end.is_some() {
            line.pop();
            if line.pop() != Some(b'\r') {
                return Err(HandshakeError::Protocol("a line ends without a carriage return"));
            }
            return Ok(line);
        }
        if line.len() > LONGEST_LINE {
            return Err(HandshakeError::Protocol("a line is too long"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GUID: &str = "0123456789abcdef0123456789abcdef";

    async fn talk(text: &[u8], uid: u32, allowed: bool) -> (Result<(), HandshakeError>, String, Vec<u8>) {
        let (mut ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(text).await.unwrap();
        theirs.shutdown().await.unwrap();
        let result = perform(&mut ours, GUID, uid, allowed).await;
        let mut rest = Vec::new();
        tokio::io::AsyncReadExt::read_to_end(&mut ours, &mut rest).await.unwrap();
        drop(ours);
        let mut said = String::new();
        tokio::io::AsyncReadExt::read_to_string(&mut theirs, &mut said).await.unwrap();
        (result, said, rest)
    }

    #[tokio::test]
    async fn all_at_once_and_a_message_right_behind() {
        let (result, said, rest) =
            talk(b"\0AUTH EXTERNAL\r\nDATA\r\nNEGOTIATE_UNIX_FD\r\nBEGIN\r\nl\x01\n\n", 0, true).await;
        result.unwrap();
        assert_eq!(said, format!("DATA\r\nOK {GUID}\r\nAGREE_UNIX_FD\r\n"));
        assert_eq!(rest, b"l\x01\n\n");
    }

    #[tokio::test]
    async fn a_client_may_say_who_it_is_and_only_that() {
        let (result, said, _) = talk(b"\0AUTH EXTERNAL 30\r\nBEGIN\r\n", 0, true).await;
        result.unwrap();
        assert!(said.starts_with("OK "));
        let (result, said, _) = talk(b"\0AUTH EXTERNAL 31303030\r\nBEGIN\r\n", 0, true).await;
        assert!(
            matches!(result, Err(HandshakeError::Protocol(_))) && said == "REJECTED EXTERNAL\r\n",
            "{result:?} {said}"
        );
    }

    #[tokio::test]
    async fn who_is_not_root_hears_no() {
        let (result, said, _) = talk(b"\0AUTH EXTERNAL 31303030\r\nBEGIN\r\n", 1000, false).await;
        assert!(matches!(result, Err(HandshakeError::Refused(1000))) && said == "REJECTED EXTERNAL\r\n");
    }

    #[tokio::test]
    async fn nonsense_ends() {
        let long = vec![b'x'; 5000];
        let many = b"\0".iter().copied().chain(b"AUTH KERBEROS\r\n".repeat(40)).collect::<Vec<u8>>();
        let cases: [&[u8]; 8] = [b"\n", b"\r\n", b"\0\n", b"", b"\0AUTH", &long, &many, b"\0AUTH EXTERNAL zz\r\n"];
        for case in cases {
            assert!(talk(case, 0, true).await.0.is_err(), "{case:?}");
        }
    }
}
