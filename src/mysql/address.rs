//! The address of MySQL, and the making of connections.

use diesel::{ConnectionError, ConnectionResult};
use diesel_async::AsyncMysqlConnection;
use mysql_async::{ClientIdentity, Conn, Opts, OptsBuilder, SslOpts};

use crate::base::Tls;

/// The form of a private key that the driver reads.
const RSA_KEY: &[u8] = b"-----BEGIN RSA PRIVATE KEY-----";

/// Address and credentials of a MySQL server. Clones share what was made of the certificates.
#[derive(Clone)]
pub(super) struct MysqlAddress {
    opts: Opts,
}

/// An address that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MysqlAddressError {
    /// The URL is no `mysql://user:password@host:port/database`, or has a parameter that the driver does not know.
    #[error("the URL is not that of a MySQL database")]
    Url,
    #[error(
        "verify_ca=false would let every server pass for MySQL; use verify_identity=false if only its name differs"
    )]
    Unverified,
    #[error("TLS needs certificates")]
    NoCertificates,
    #[error("the private key must be an RSA key in PKCS#1 form, as `openssl rsa -traditional` writes it")]
    Key,
    #[error("the pool of connections cannot be made")]
    Pool(#[source] diesel_async::pooled_connection::deadpool::BuildError),
}

impl MysqlAddress {
    /// Parses the URL. `tls` is used if the URL asks for TLS.
    ///
    /// # Errors
    /// Returns a [`MysqlAddressError`].
    pub(super) fn new(url: &str, tls: Option<&Tls>) -> Result<Self, MysqlAddressError> {
        let opts = Opts::from_url(url).map_err(|_| MysqlAddressError::Url)?;
        let ssl_opts = match (opts.ssl_opts().cloned(), tls) {
            (None, _) => None,
            (Some(asked), _) if asked.accept_invalid_certs() => return Err(MysqlAddressError::Unverified),
            (Some(_), None) => return Err(MysqlAddressError::NoCertificates),
            (Some(asked), Some(tls)) => Some(with_certificates(asked, tls)?),
        };
        // What diesel needs, and its own cache of statements.
        let builder = OptsBuilder::from_opts(opts).ssl_opts(ssl_opts).stmt_cache_size(0).client_found_rows(true);
        Ok(Self { opts: builder.into() })
    }

    pub(super) async fn connect(&self) -> ConnectionResult<AsyncMysqlConnection> {
        let connected = Conn::new(self.opts.clone()).await;
        let connection = connected.map_err(|error| ConnectionError::BadConnection(error.to_string()))?;
        AsyncMysqlConnection::try_from(connection).await
    }
}

/// Whether the URL asks for TLS (`?require_ssl=true`).
pub fn asks_for_tls(url: &str) -> bool {
    Opts::from_url(url).is_ok_and(|opts| opts.ssl_opts().is_some())
}

/// The authorities in `tls` are the only ones that are trusted.
fn with_certificates(asked: SslOpts, tls: &Tls) -> Result<SslOpts, MysqlAddressError> {
    let asked = asked.with_disable_built_in_roots(true).with_root_certs(vec![tls.authorities.clone().into()]);
    let Some(identity) = &tls.identity else { return Ok(asked) };
    if !identity.key.windows(RSA_KEY.len()).any(|window| window == RSA_KEY) {
        return Err(MysqlAddressError::Key);
    }
    let identity = ClientIdentity::new(identity.certificate.clone().into(), identity.key.clone().into());
    Ok(asked.with_client_identity(Some(identity)))
}
