//! TLS: the authorities that are trusted, and the certificate of this program.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};

/// The authorities that the operating system trusts (Debian and its descendants).
const SYSTEM_AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// What a client of a store needs for TLS. Read once, so a renewed certificate needs a restart.
#[derive(Clone)]
pub struct Tls {
    /// Certificates of the trusted authorities, as PEM. Empty if the operating system's are not where they are expected.
    pub authorities: Vec<u8>,
    /// The certificate that the store may ask for, and its key.
    pub identity: Option<OwnCertificate>,
}

/// A certificate and its private key.
#[derive(Clone)]
pub struct OwnCertificate {
    /// The certificate and those of authorities in between, as PEM.
    pub certificate: Vec<u8>,
    /// The private key, as PEM.
    pub key: Vec<u8>,
}

/// Files with certificates that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("{0} cannot be read")]
    Unreadable(PathBuf, #[source] io::Error),
    #[error("the certificate and the private key must be set both or not at all")]
    Incomplete,
    #[error("there are no certificates of authorities, neither in the named file nor in {SYSTEM_AUTHORITIES}")]
    NoAuthorities,
    #[error("the certificates of the authorities are not valid PEM")]
    BadAuthorities,
    #[error("the certificate or the private key is not valid PEM")]
    BadIdentity,
    #[error("the certificate and the private key cannot be used")]
    Unusable(#[source] rustls::Error),
}

impl Tls {
    /// Reads the files. Without `authorities`, those of the operating system are trusted. The certificate and the key
    /// are for stores that ask for one.
    ///
    /// # Errors
    /// Returns a [`TlsError`]. The files are parsed, so a [`Tls`] can be used.
    pub fn read(authorities: Option<&Path>, certificate: Option<&Path>, key: Option<&Path>) -> Result<Self, TlsError> {
        let authorities = match authorities {
            Some(path) => read(path)?,
            None => fs::read(SYSTEM_AUTHORITIES).unwrap_or_default(),
        };
        let tls = Self { authorities, identity: OwnCertificate::read(certificate, key)? };
        tls.client_config()?;
        Ok(tls)
    }

    /// # Errors
    /// Returns a [`TlsError`] if a PEM text is not valid.
    pub fn client_config(&self) -> Result<Arc<ClientConfig>, TlsError> {
        let mut roots = RootCertStore::empty();
        for certificate in certificates(&self.authorities).map_err(|()| TlsError::BadAuthorities)? {
            roots.add(certificate).map_err(|_| TlsError::BadAuthorities)?;
        }
        if roots.is_empty() {
            return Err(TlsError::NoAuthorities);
        }
        let config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Unusable)?
            .with_root_certificates(roots);
        let config = match &self.identity {
            Some(identity) => {
                let (certificates, key) = identity.parse()?;
                config.with_client_auth_cert(certificates, key).map_err(TlsError::Unusable)?
            }
            None => config.with_no_client_auth(),
        };
        Ok(Arc::new(config))
    }
}

impl OwnCertificate {
    /// Reads the files of a certificate and of its key. `None` if neither is set.
    ///
    /// # Errors
    /// Returns a [`TlsError`] if only one is set, or if a file cannot be read.
    pub fn read(certificate: Option<&Path>, key: Option<&Path>) -> Result<Option<Self>, TlsError> {
        match (certificate, key) {
            (Some(certificate), Some(key)) => Ok(Some(Self { certificate: read(certificate)?, key: read(key)? })),
            (None, None) => Ok(None),
            _ => Err(TlsError::Incomplete),
        }
    }

    /// The settings of a server with this certificate. Clients are not asked for theirs.
    ///
    /// # Errors
    /// Returns a [`TlsError`] if a PEM text is not valid, or if the key does not belong to the certificate.
    pub fn server_config(&self) -> Result<ServerConfig, TlsError> {
        let (certificates, key) = self.parse()?;
        ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Unusable)?
            .with_no_client_auth()
            .with_single_cert(certificates, key)
            .map_err(TlsError::Unusable)
    }

    fn parse(&self) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TlsError> {
        let certificates = certificates(&self.certificate).map_err(|()| TlsError::BadIdentity)?;
        let key = PrivateKeyDer::from_pem_slice(&self.key).map_err(|_| TlsError::BadIdentity)?;
        Ok((certificates, key))
    }
}

/// The library that computes. Named, because several are possible.
fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, ()> {
    CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(|_| ())
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|error| TlsError::Unreadable(path.to_owned(), error))
}
