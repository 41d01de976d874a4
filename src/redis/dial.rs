//! Sockets to servers, with or without TLS.

use std::io;
use std::path::Path;
use std::sync::Arc;

use redis::TlsCertificates;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

use crate::base::{Tls, TlsError};

/// Bytes to and from a server.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// Opens sockets. By TLS, a server must show a certificate for the host by whose name or IP address it was called.
#[derive(Clone, Default)]
pub(super) struct Dialer {
    tls: Option<DialerTls>,
}

#[derive(Clone)]
struct DialerTls {
    connector: TlsConnector,
    /// For connections that the `redis` crate opens.
    certificates: TlsCertificates,
}

impl Dialer {
    /// # Errors
    /// Returns a [`TlsError`] if `tls` cannot be used.
    pub(super) fn with_tls(tls: &Tls) -> Result<Self, TlsError> {
        let client_tls = tls
            .identity
            .clone()
            .map(|identity| redis::ClientTlsConfig { client_cert: identity.certificate, client_key: identity.key });
        let certificates = TlsCertificates { client_tls, root_cert: Some(tls.authorities.clone()) };
        let connector = TlsConnector::from(Arc::clone(&tls.client_config()?));
        Ok(Self { tls: Some(DialerTls { connector, certificates }) })
    }

    /// The certificates, if sockets use TLS.
    pub(super) fn certificates(&self) -> Option<&TlsCertificates> {
        self.tls.as_ref().map(|tls| &tls.certificates)
    }

    /// Connects to a server. Returns the server's IP address and port as well.
    pub(super) async fn tcp(&self, host: &str, port: u16) -> io::Result<(Box<dyn Stream>, String)> {
        let socket = TcpStream::connect((host, port)).await?;
        socket.set_nodelay(true)?;
        let peer = socket.peer_addr()?.to_string();
        let Some(tls) = &self.tls else { return Ok((Box::new(socket), peer)) };
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        Ok((Box::new(tls.connector.connect(name, socket).await?), peer))
    }
}

/// Connects to the server that listens at `path`.
pub(super) async fn unix(path: &Path) -> io::Result<Box<dyn Stream>> {
    Ok(Box::new(UnixStream::connect(path).await?))
}
