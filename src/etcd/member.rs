//! One member of etcd.

use std::time::Duration;

use etcd_client::{Certificate, Client, ConnectOptions, Error, Identity, TlsOptions};
use tokio::sync::OnceCell;

use crate::base::Tls;

/// Period and timeout of the probes on a connection with a call under way. etcd drops clients that probe more often
/// than every 5 s.
const KEEP_ALIVE: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(5));
/// The gRPC codes of members that do not tell their version: permission denied, unimplemented, unauthenticated.
const HIDES_VERSION: [i32; 3] = [7, 12, 16];

/// A client of one member. It connects at its first call, and again after a lost connection.
pub(super) struct Member {
    client: Client,
    user: Option<(String, String)>,
    /// Set once the member has accepted the user. The client asks for a new token when the member wants one.
    is_known: OnceCell<()>,
}

impl Member {
    /// Creates a client without connecting. `wait` is the timeout of connecting. `tls` is used by an endpoint with `https`.
    ///
    /// # Errors
    /// Returns an [`Error`] if the endpoint is malformed or the certificates cannot be used.
    pub(super) async fn new(
        endpoint: &str,
        wait: Duration,
        user: Option<(String, String)>,
        tls: Option<&Tls>,
    ) -> Result<Self, Error> {
        let options = ConnectOptions::new()
            .with_connect_timeout(wait)
            .with_keep_alive(KEEP_ALIVE.0, KEEP_ALIVE.1)
            // etcd counts probes without a call under way against the client.
            .with_keep_alive_while_idle(false)
            // Tokens of etcd end after some minutes without a call.
            .with_auto_token_refresh(true)
            // A member without a leader would report an unchanging etcd.
            .with_require_leader(true);
        let options = match tls {
            Some(tls) if endpoint.starts_with("https://") => {
                let authorities = TlsOptions::new().ca_certificate(Certificate::from_pem(&tls.authorities));
                options.with_tls(match &tls.identity {
                    Some(own) => authorities.identity(Identity::from_pem(&own.certificate, &own.key)),
                    None => authorities,
                })
            }
            _ => options,
        };
        let client = Client::connect([endpoint], Some(options)).await?;
        Ok(Self { client, user, is_known: OnceCell::new() })
    }

    /// The client, after the member has accepted the user.
    ///
    /// # Errors
    /// Returns an [`Error`] if the member cannot be reached or refuses the user.
    pub(super) async fn client(&self) -> Result<&Client, Error> {
        if self.user.is_some() {
            // Clones share name, password and token.
            let accept = async || self.client.clone().update_user(self.user.clone()).await;
            self.is_known.get_or_try_init(accept).await?;
        }
        Ok(&self.client)
    }

    /// # Errors
    /// As [`Member::client`].
    pub(super) async fn version(&self) -> Result<String, Error> {
        version(self.client().await?).await
    }
}

/// The version of a member. Empty if the member has no such call or refuses it, as a proxy or a managed service may.
pub(super) async fn version(client: &Client) -> Result<String, etcd_client::Error> {
    match client.maintenance_client().status().await {
        Ok(status) => Ok(status.version().to_owned()),
        Err(etcd_client::Error::GRpcStatus(status)) if HIDES_VERSION.contains(&i32::from(status.code())) => {
            Ok(String::new())
        }
        Err(error) => Err(error),
    }
}
