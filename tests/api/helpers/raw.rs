//! Bytes on a socket, for what an HTTP client would not send and does not show.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// How long an answer may take.
const ANSWER_WAIT: Duration = Duration::from_secs(15);

/// A connection that sends bytes as they stand. It blocks its thread, which a test of a multi-thread runtime may.
pub struct RawConnection(TcpStream);

/// Everything that came back.
#[derive(Debug, Default)]
pub struct RawAnswer {
    pub text: String,
    /// The server closed the connection, in whatever way.
    pub closed: bool,
}

impl RawConnection {
    pub fn open(address: SocketAddr) -> Self {
        Self(TcpStream::connect(address).expect("the service listens"))
    }

    /// Sends what the server is willing to take; `false` where it has closed the connection.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.0.write_all(bytes.as_ref()).is_ok()
    }

    /// Reads until the server closes the connection, at most as long as an answer may take.
    pub fn read_to_end(&mut self) -> RawAnswer {
        self.read_for(ANSWER_WAIT)
    }

    /// Reads for `wait`, or until the server closes the connection.
    pub fn read_for(&mut self, wait: Duration) -> RawAnswer {
        let deadline = Instant::now() + wait;
        let (mut bytes, mut buffer) = (Vec::new(), [0; 4_096]);
        let closed = loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break false;
            }
            self.0.set_read_timeout(Some(left)).expect("the wait is not zero");
            match self.0.read(&mut buffer) {
                Ok(0) => break true,
                Ok(length) => bytes.extend_from_slice(&buffer[..length]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(_) => break true,
            }
        };
        RawAnswer { text: String::from_utf8_lossy(&bytes).into_owned(), closed }
    }

    /// Ends the connection as a client that dies does: with a reset.
    pub fn reset(self) {
        socket2::SockRef::from(&self.0).set_linger(Some(Duration::ZERO)).expect("a socket can be told so");
    }
}

/// One request on a connection of its own: `head` is the request line and any header lines, `\r\n` between them.
pub fn raw(address: SocketAddr, head: &str, body: impl AsRef<[u8]>) -> RawAnswer {
    let mut connection = RawConnection::open(address);
    connection.send(format!("{head}\r\nHost: test\r\nConnection: close\r\n\r\n"));
    connection.send(body);
    connection.read_to_end()
}

impl RawAnswer {
    /// The status; 0 where nothing came.
    pub fn status(&self) -> u16 {
        self.text.split(' ').nth(1).map_or(0, |status| status.parse().expect("a status is a number"))
    }

    /// A header's value; its name is compared letter by letter.
    pub fn header(&self, name: &str) -> Option<&str> {
        let (head, _) = self.text.split_once("\r\n\r\n")?;
        head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    pub fn body(&self) -> &str {
        self.text.split_once("\r\n\r\n").map_or("", |(_, body)| body)
    }
}
