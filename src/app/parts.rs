//! Parts built alike by the service and by the commands.

use std::num::NonZeroUsize;
use std::sync::Arc;

use url::Url;

use super::start_error::StartError;
use crate::admission::{Admission, AttemptLimits};
use crate::auth::{
    ClaimTokens, FactorKeys, PasswordLimits, Passwords, Secrets, SecretsError, SignedForm, Tickets, UserMarks,
    UserTokens,
};
use crate::base::{OwnCertificate, Tls, now_seconds};
use crate::config::{
    self, AdmissionArgs, CertificateFiles, EtcdArgs, MysqlArgs, Profile, RedisArgs, ServeArgs, TokenArgs,
};
use crate::domain::ShardId;
use crate::etcd::{Etcd, EtcdConfig};
use crate::memory::{
    AdminNames, Blacklist, BlacklistLimits, LimitShare, Limits, MerchantKeys, RevocationLimits, Revocations, Settings,
};
use crate::mysql::{self, Db, DbError, DbLimits, DbPools, MysqlAddressError};
use crate::redis::{LinkConfig, Pool, PoolLimits};

/// What signs tokens, and encrypts second factors.
pub struct Signers {
    pub sessions: UserTokens,
    pub claims: ClaimTokens,
    pub tickets: Tickets,
    pub devices: UserMarks,
    pub links: UserMarks,
    pub factors: FactorKeys,
}

/// The signers with the secrets of the settings.
///
/// # Errors
/// Returns a [`SecretsError`] with a sentence that names the setting.
pub fn signers(args: &TokenArgs) -> Result<Signers, SecretsError> {
    let secrets = Secrets::parse("COUPONRUSH_JWT_SECRET", &args.jwt_secret)?;
    let claim_secrets = match &args.claim_secret {
        Some(text) => Secrets::parse("COUPONRUSH_CLAIM_SECRET", text)?,
        None => secrets.for_claims(),
    };
    let ticket_secret = args.ticket_secret.as_deref().filter(|secret| !secret.is_empty());
    let signed = ticket_secret.map(|secret| Secrets::parse("COUPONRUSH_TICKET_SECRET", secret)).transpose()?;
    Ok(Signers {
        sessions: UserTokens::new(&secrets, args.token_seconds.into()),
        claims: ClaimTokens::new(&claim_secrets),
        tickets: Tickets::new(&claim_secrets, signed.as_ref()),
        devices: UserMarks::of_devices(&secrets),
        links: UserMarks::of_links(&secrets),
        factors: FactorKeys::new(&secrets),
    })
}

/// The revocations of session tokens.
///
/// # Errors
/// Returns a [`DbError`] if they cannot be read.
pub(super) async fn revocations(dbs: &DbPools) -> Result<Revocations, DbError> {
    let limits = RevocationLimits {
        tokens_max: config::REVOKED_TOKENS_MAX,
        generations_max: config::REVOKED_GENERATIONS_MAX,
        token_seconds_max: config::TOKEN_SECONDS_MAX.into(),
    };
    let revocations = Revocations::new(dbs.clone(), limits);
    revocations.load(now_seconds()).await?;
    Ok(revocations)
}

/// The keys of merchants.
///
/// # Errors
/// Returns a [`DbError`] if they cannot be read.
pub(super) async fn merchant_keys(dbs: &DbPools) -> Result<MerchantKeys, DbError> {
    let keys = MerchantKeys::new(dbs.clone(), config::MERCHANT_KEYS_MAX);
    keys.load().await?;
    Ok(keys)
}

/// The names of admins.
///
/// # Errors
/// Returns a [`DbError`] if they cannot be read.
pub(super) async fn admin_names(db: &Db) -> Result<AdminNames, DbError> {
    let admins = AdminNames::new(db.clone());
    admins.load().await?;
    Ok(admins)
}

/// The signer of the signed form. An absent or empty `secret` switches the form off and gives `None`.
///
/// # Errors
/// Returns a [`SecretsError`] with a sentence that names the setting.
pub fn signed_form(secret: Option<&str>) -> Result<Option<SignedForm>, SecretsError> {
    let secret = secret.filter(|secret| !secret.is_empty());
    let secrets = secret.map(|secret| Secrets::parse("COUPONRUSH_SIGN_SECRET", secret)).transpose()?;
    Ok(secrets.map(SignedForm::new))
}

/// A sentence for each setting with a secret that is easy to guess.
///
/// # Errors
/// Returns a [`SecretsError`] with a sentence that names the setting.
pub(super) fn weak_secrets(args: &ServeArgs) -> Result<Vec<String>, SecretsError> {
    let settings = [
        ("COUPONRUSH_JWT_SECRET", Some(args.tokens.jwt_secret.as_str())),
        ("COUPONRUSH_CLAIM_SECRET", args.tokens.claim_secret.as_deref()),
        ("COUPONRUSH_TICKET_SECRET", args.tokens.ticket_secret.as_deref().filter(|secret| !secret.is_empty())),
        ("COUPONRUSH_SIGN_SECRET", args.sign_secret.as_deref().filter(|secret| !secret.is_empty())),
    ];
    let mut weak = Vec::new();
    for (variable, text) in settings {
        let number = text.map(|text| Secrets::parse(variable, text)).transpose()?.and_then(|secrets| secrets.weak());
        weak.extend(number.map(|number| {
            format!("{variable}: secret number {number} is weak, because it has fewer than 8 different bytes")
        }));
    }
    Ok(weak)
}

/// The pool of a shard, not connected yet.
pub fn redis_pool_of(redis: &LinkConfig, shard: ShardId) -> Pool {
    redis_pool(&redis.clone().for_shard(shard.name()))
}

pub fn redis_pool(redis: &LinkConfig) -> Pool {
    let limits = PoolLimits {
        connections_max: config::REDIS_CONNECTIONS_MAX,
        wait: config::REDIS_CONNECTION_WAIT,
        create_wait: config::REDIS_CREATE_WAIT,
        recycle_wait: config::REDIS_RECYCLE_WAIT,
    };
    Pool::new(redis, limits)
}

/// The address of Redis, with its certificates.
///
/// # Errors
/// Returns [`StartError::RedisUrl`] or [`StartError::Certificates`].
pub fn redis_config(args: &RedisArgs) -> Result<LinkConfig, StartError> {
    let tls = certificates(LinkConfig::asks_for_tls(&args.redis_url), args.certificates())?;
    LinkConfig::new(&args.redis_url, tls.as_ref()).map_err(StartError::RedisUrl)
}

/// The connection pool to a MySQL that accepts writes, not connected yet.
///
/// # Errors
/// Returns [`StartError::MysqlUrl`] or [`StartError::Certificates`].
pub fn open_db(args: &MysqlArgs) -> Result<Db, StartError> {
    let (url, tls) = (named_database(&args.mysql_url)?, mysql_tls(args, &[&args.mysql_url])?);
    Db::new(url, tls.as_ref(), DB_LIMITS).map_err(StartError::MysqlUrl)
}

/// Like [`open_db`], for commands that only read. MySQL may be read-only.
///
/// # Errors
/// As [`open_db`].
pub fn open_db_to_read(args: &MysqlArgs) -> Result<Db, StartError> {
    let (url, tls) = (named_database(&args.mysql_url)?, mysql_tls(args, &[&args.mysql_url])?);
    Db::to_read(url, tls.as_ref(), DB_LIMITS).map_err(StartError::MysqlUrl)
}

/// The certificates for MySQL, if one of `urls` asks for TLS.
///
/// # Errors
/// Returns [`StartError::Certificates`].
pub fn mysql_tls(args: &MysqlArgs, urls: &[&str]) -> Result<Option<Tls>, StartError> {
    certificates(urls.iter().any(|url| mysql::asks_for_tls(url)), args.certificates())
}

/// The pools of an instance, not connected yet.
///
/// # Errors
/// As [`open_db`].
pub(super) fn open_pools(args: &MysqlArgs) -> Result<DbPools, StartError> {
    let users = open_db(args)?;
    let control = users.beside(config::DB_CONTROL_CONNECTIONS_MAX).map_err(StartError::MysqlUrl)?;
    Ok(DbPools { users, control })
}

/// The settings of HTTPS, or `None` without a certificate.
///
/// # Errors
/// Returns [`StartError::HttpCertificate`].
pub(super) fn http_tls(args: &ServeArgs) -> Result<Option<rustls::ServerConfig>, StartError> {
    let identity = OwnCertificate::read(args.http_cert.as_deref(), args.http_key.as_deref());
    let config = identity.and_then(|identity| identity.map(|identity| identity.server_config()).transpose());
    config.map_err(StartError::HttpCertificate)
}

/// Reads the certificates for a store whose address asks for TLS. Certificates for an address without TLS are refused,
/// because whoever set them expects TLS.
fn certificates(is_asked: bool, files: CertificateFiles<'_>) -> Result<Option<Tls>, StartError> {
    let CertificateFiles { settings, authorities, certificate, key } = files;
    if is_asked {
        let read = Tls::read(authorities, certificate, key);
        return read.map(Some).map_err(|error| StartError::Certificates(settings, error));
    }
    let is_set = authorities.or(certificate).or(key).is_some();
    if is_set { Err(StartError::CertificatesUnused(settings)) } else { Ok(None) }
}

const DB_LIMITS: DbLimits = DbLimits {
    connections_max: config::DB_CONNECTIONS_MAX,
    connection_wait: config::DB_CONNECTION_WAIT,
    statement_wait: config::DB_STATEMENT_WAIT,
};

/// Rejects URLs that the driver would reject only when connecting. A start would retry such a URL until the deadline.
fn named_database(url: &str) -> Result<&str, StartError> {
    let names_a_database = Url::parse(url).is_ok_and(|url| {
        let names_server = url.host_str().is_some_and(|host| !host.is_empty());
        url.scheme() == "mysql" && names_server && url.path().len() > 1
    });
    if names_a_database { Ok(url) } else { Err(StartError::MysqlUrl(MysqlAddressError::Url)) }
}

/// A password hasher that computes `parallel` hashes at the same time.
///
/// # Errors
/// Returns [`StartError::Passwords`] if the hasher cannot be built.
pub fn passwords(parallel: NonZeroUsize) -> Result<Passwords, StartError> {
    let limits = PasswordLimits {
        queue_max: config::HASH_QUEUE_MAX,
        wait: config::HASH_WAIT,
        verified_max: config::VERIFIED_PASSWORDS_MAX,
        verified_age: config::VERIFIED_PASSWORD_AGE,
    };
    Passwords::new(limits, parallel).map_err(StartError::Passwords)
}

/// The etcd client, or `None` if no endpoints are configured.
///
/// # Errors
/// Returns [`StartError::EtcdEndpoints`] if an endpoint is not `http://host:port` or `https://host:port`, and
/// [`StartError::EtcdUser`] or [`StartError::Certificates`].
pub async fn open_etcd(args: &EtcdArgs) -> Result<Option<Etcd>, StartError> {
    let endpoints = args.etcd_endpoints.split(',').map(str::trim).filter(|endpoint| !endpoint.is_empty());
    let endpoints: Vec<String> = endpoints.map(str::to_owned).collect();
    if endpoints.is_empty() {
        return Ok(None);
    }
    if !endpoints.iter().all(|endpoint| names_a_member(endpoint)) {
        return Err(StartError::EtcdEndpoints);
    }
    let is_https = |endpoint: &String| endpoint.starts_with("https://");
    if endpoints.iter().any(is_https) && !endpoints.iter().all(is_https) {
        return Err(StartError::EtcdEndpoints);
    }
    let tls = certificates(endpoints.iter().all(is_https), args.certificates())?;
    let user = match args.etcd_user.split_once(':') {
        Some((name, password)) => Some((name.to_owned(), password.to_owned())),
        None if args.etcd_user.is_empty() => None,
        None => return Err(StartError::EtcdUser),
    };
    let config = EtcdConfig {
        endpoints,
        user,
        tls,
        prefix: args.etcd_prefix.clone(),
        wait: config::ETCD_WAIT,
        keys_max: config::ETCD_KEYS_MAX,
        value_bytes_max: config::ETCD_VALUE_BYTES_MAX,
    };
    Etcd::new(config).await.map(Some).map_err(|_| StartError::EtcdEndpoints)
}

/// Rejects endpoints that the client would reject only when connecting. The start does not wait for etcd.
fn names_a_member(endpoint: &str) -> bool {
    let address = endpoint.strip_prefix("http://").or_else(|| endpoint.strip_prefix("https://"));
    let address = address.map(|address| address.trim_end_matches('/'));
    let parts = address.and_then(|address| address.rsplit_once(':'));
    parts.is_some_and(|(host, port)| !host.is_empty() && !host.contains('/') && port.parse::<u16>().is_ok())
}

/// Admission with the limits, switches and blocks stored in MySQL.
///
/// # Errors
/// Returns a [`DbError`] if MySQL cannot be read.
pub(super) async fn admission(args: &AdmissionArgs, db: &Db) -> Result<Admission, DbError> {
    let (of_profile, registrations, viewers) = match args.profile {
        Profile::Open => (Limits::default(), config::REGISTRATIONS_PER_MINUTE, 0),
        Profile::Public => {
            (Limits::public(), config::PUBLIC_REGISTRATIONS_PER_MINUTE, config::PUBLIC_VIEWERS_OF_ADDRESS_MAX)
        }
    };
    let defaults = Limits {
        user_per_second: args.user_per_second,
        user_per_minute: args.user_per_minute,
        ip_per_second: args.ip_per_second.unwrap_or(of_profile.ip_per_second),
        ip_per_minute: args.ip_per_minute.unwrap_or(of_profile.ip_per_minute),
        ..of_profile
    };
    let settings = Settings::new(db.clone(), defaults);
    settings.load().await?;
    let limits =
        BlacklistLimits { blocks_max: config::BLOCKS_MAX, offenders_waiting_max: config::OFFENDERS_WAITING_MAX };
    let blacklist = Blacklist::new(db.clone(), limits);
    blacklist.load(now_seconds()).await?;
    let attempts = AttemptLimits {
        failed_logins_of_name: args.failed_logins_per_minute,
        failed_logins_of_address: args.ip_failed_logins_per_minute,
        registrations_of_address: args.registrations_per_minute.unwrap_or(registrations),
        keys_max: config::RATE_KEYS_MAX,
    };
    let share = LimitShare::new(db.clone(), args.rate_share);
    let viewers = args.ip_viewers_max.unwrap_or(viewers);
    Ok(Admission::new(Arc::new(settings), Arc::new(blacklist), Arc::new(share), attempts, viewers))
}
