//! A network that can be cut, streams and all: the browser's own emulation lets a stream live on that was there before.

use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Passes connections on to a service until it is cut.
pub struct Cable {
    pub address: SocketAddr,
    is_cut: watch::Sender<bool>,
}

impl Cable {
    /// In front of `service`.
    pub async fn start(service: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let is_cut = watch::Sender::new(false);
        let cut = is_cut.subscribe();
        tokio::spawn(async move {
            while let Ok((browser, _)) = listener.accept().await {
                tokio::spawn(pass_on(browser, service, cut.clone()));
            }
        });
        Self { address, is_cut }
    }

    /// Ends every connection, and each new one at once, until [`Cable::mend`].
    pub fn cut(&self) {
        self.is_cut.send_replace(true);
    }

    pub fn mend(&self) {
        self.is_cut.send_replace(false);
    }
}

async fn pass_on(mut browser: TcpStream, service: SocketAddr, mut cut: watch::Receiver<bool>) {
    let passing = async {
        let mut service = TcpStream::connect(service).await?;
        tokio::io::copy_bidirectional(&mut browser, &mut service).await
    };
    tokio::select! {
        biased;
        _ = cut.wait_for(|cut| *cut) => {}
        _ = passing => {}
    }
}
