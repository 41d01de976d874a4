//! Raw bytes on a socket, for requests and answers beyond an HTTP client.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// How long an answer may take.
const ANSWER_WAIT: Duration = Duration::from_secs(15);

/// A connection that sends bytes unchanged. It blocks its thread, which is fine in a multi-thread runtime.
pub struct RawConnection(TcpStream);

/// All bytes received.
#[derive(Debug, Default)]
pub struct RawAnswer {
    pub text: String,
    /// Whether the server closed the connection, in order or with a reset.
    pub closed: bool,
}

impl RawConnection {
    pub fn open(address: SocketAddr) -> Self {
        Self(TcpStream::connect(address).expect("the service listens"))
    }

    /// Sends bytes. `false` if the server has closed the connection.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.0.write_all(bytes.as_ref()).is_ok()
    }

    /// Reads until the server closes the connection, for at most [`ANSWER_WAIT`].
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

    /// Ends the connection with a reset, like a client that dies.
    pub fn reset(self) {
        socket2::SockRef::from(&self.0).set_linger(Some(Duration::ZERO)).expect("the linger option can be set");
    }
}

/// Sends a request on a new connection and reads the answer. `head` is the request line and any header lines, separated
/// by `\r\n`.
pub fn raw(address: SocketAddr, head: &str, body: impl AsRef<[u8]>) -> RawAnswer {
    let mut connection = RawConnection::open(address);
    connection.send(format!("{head}\r\nHost: test\r\nConnection: close\r\n\r\n"));
    connection.send(body);
    // Without the shutdown, the server waits a second for the rest of an unread body.
    let _ = connection.0.shutdown(Shutdown::Write);
    connection.read_to_end()
}

impl RawAnswer {
    /// The status. 0 without an answer.
    pub fn status(&self) -> u16 {
        self.text.split(' ').nth(1).map_or(0, |status| status.parse().expect("a status is a number"))
    }

    /// A header's value. The name is compared case-sensitively.
    pub fn header(&self, name: &str) -> Option<&str> {
        let (head, _) = self.text.split_once("\r\n\r\n")?;
        head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    pub fn body(&self) -> &str {
        self.text.split_once("\r\n\r\n").map_or("", |(_, body)| body)
    }
}
