//! A proxy that loses answers: the service handles the request, and the browser gets no answer.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Size of the buffers, in bytes.
const PIECE: usize = 16 * 1024;
/// First bytes of the requests with answers to lose.
pub const CLAIM: &str = "PATCH ";
pub const REDEEM: &str = "POST /sec/redeem ";

/// A proxy in front of a service.
pub struct Losing {
    pub address: SocketAddr,
    left: Arc<AtomicUsize>,
}

impl Losing {
    /// Starts a proxy in front of `service` that loses `answers` answers to requests that begin with `request`.
    pub async fn start(service: SocketAddr, request: &'static str, answers: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let left = Arc::new(AtomicUsize::new(answers));
        let shared = Arc::clone(&left);
        tokio::spawn(async move {
            while let Ok((browser, _)) = listener.accept().await {
                let service = TcpStream::connect(service).await.expect("the service listens");
                tokio::spawn(pass_on(browser, service, request, Arc::clone(&shared)));
            }
        });
        Self { address, left }
    }

    /// The number of answers still to lose.
    pub fn left(&self) -> usize {
        self.left.load(Ordering::Relaxed)
    }
}

/// Copies bytes in both directions until one side closes or an answer is lost, then closes the connections.
async fn pass_on(mut browser: TcpStream, mut service: TcpStream, request: &str, left: Arc<AtomicUsize>) {
    let (mut asked, mut answered) = (vec![0; PIECE], vec![0; PIECE]);
    let mut may_be_lost = false;
    loop {
        let passed = tokio::select! {
            length = browser.read(&mut asked) => match length {
                Ok(length) if length > 0 => {
                    may_be_lost = asked.starts_with(request.as_bytes());
                    service.write_all(&asked[..length]).await
                }
                _ => return,
            },
            length = service.read(&mut answered) => match length {
                Ok(length) if length > 0 => {
                    let lost = |left: usize| left.checked_sub(1);
                    if may_be_lost && left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, lost).is_ok() {
                        return;
                    }
                    browser.write_all(&answered[..length]).await
                }
                _ => return,
            },
        };
        if passed.is_err() {
            return;
        }
    }
}
