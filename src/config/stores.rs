//! Addresses, credentials and certificates of the stores.

use std::path::{Path, PathBuf};

use clap::Args;

#[derive(Debug, Args, Clone)]
pub struct MysqlArgs {
    /// URL of MySQL or MariaDB, `mysql://user:password@host:port/database`. With `?require_ssl=true` behind the database,
    /// connections use TLS.
    #[arg(long, env = "COUPONRUSH_MYSQL_URL", hide_env_values = true, value_name = "URL")]
    pub mysql_url: String,
    /// PEM file with the authorities that MySQL's certificate is checked against. Default: those of the operating system.
    #[arg(long, env = "COUPONRUSH_MYSQL_CA", value_name = "FILE")]
    pub mysql_ca: Option<PathBuf>,
    /// PEM file with the certificate that this program shows to MySQL. Default: none.
    #[arg(long, env = "COUPONRUSH_MYSQL_CERT", value_name = "FILE")]
    pub mysql_cert: Option<PathBuf>,
    /// PEM file with the private key of COUPONRUSH_MYSQL_CERT: an RSA key in PKCS#1 form (`BEGIN RSA PRIVATE KEY`).
    #[arg(long, env = "COUPONRUSH_MYSQL_KEY", value_name = "FILE")]
    pub mysql_key: Option<PathBuf>,
}

#[derive(Debug, Args, Clone)]
pub struct RedisArgs {
    /// URL of Redis, `redis://:password@host:port/db` (password and db are optional) or `redis+unix:///path`. Of a Redis
    /// Cluster, `redis-cluster://user:password@host:port,host:port`. Of sentinels,
    /// `redis-sentinel://user:password@host:port,host:port/name`. With `rediss` in place of `redis`, connections use TLS.
    #[arg(long, env = "COUPONRUSH_REDIS_URL", hide_env_values = true, value_name = "URL")]
    pub redis_url: String,
    /// Prefix of every Redis key.
    #[arg(long, env = "COUPONRUSH_REDIS_PREFIX", default_value = "cr:", value_name = "TEXT")]
    pub redis_prefix: String,
    /// PEM file with the authorities that Redis' certificate is checked against. Default: those of the operating system.
    #[arg(long, env = "COUPONRUSH_REDIS_CA", value_name = "FILE")]
    pub redis_ca: Option<PathBuf>,
    /// PEM file with the certificate that this program shows to Redis. Default: none.
    #[arg(long, env = "COUPONRUSH_REDIS_CERT", value_name = "FILE")]
    pub redis_cert: Option<PathBuf>,
    /// PEM file with the private key of COUPONRUSH_REDIS_CERT.
    #[arg(long, env = "COUPONRUSH_REDIS_KEY", value_name = "FILE")]
    pub redis_key: Option<PathBuf>,
}

#[derive(Debug, Args, Clone)]
pub struct EtcdArgs {
    /// URL of etcd, `http://host:port`, or `https://host:port` for TLS. Several members are separated by commas. Empty means
    /// no etcd, and activities are read from MySQL alone.
    #[arg(long, env = "COUPONRUSH_ETCD_ENDPOINTS", default_value = "", value_name = "URLS")]
    pub etcd_endpoints: String,
    /// Prefix of every etcd key. Must not be empty.
    #[arg(long, env = "COUPONRUSH_ETCD_PREFIX", default_value = "/couponrush/", value_name = "TEXT",
          value_parser = not_empty)]
    pub etcd_prefix: String,
    /// Name and password of etcd's user, `name:password`. Empty means none.
    #[arg(long, env = "COUPONRUSH_ETCD_USER", default_value = "", hide_env_values = true, value_name = "USER")]
    pub etcd_user: String,
    /// PEM file with the authorities that etcd's certificate is checked against. Default: those of the operating system.
    #[arg(long, env = "COUPONRUSH_ETCD_CA", value_name = "FILE")]
    pub etcd_ca: Option<PathBuf>,
    /// PEM file with the certificate that this program shows to etcd. Default: none.
    #[arg(long, env = "COUPONRUSH_ETCD_CERT", value_name = "FILE")]
    pub etcd_cert: Option<PathBuf>,
    /// PEM file with the private key of COUPONRUSH_ETCD_CERT.
    #[arg(long, env = "COUPONRUSH_ETCD_KEY", value_name = "FILE")]
    pub etcd_key: Option<PathBuf>,
}

/// The files with the certificates for one store.
#[derive(Debug, Clone, Copy)]
pub struct CertificateFiles<'a> {
    /// `COUPONRUSH_REDIS` of `COUPONRUSH_REDIS_CA`, to name the settings.
    pub settings: &'static str,
    pub authorities: Option<&'a Path>,
    pub certificate: Option<&'a Path>,
    pub key: Option<&'a Path>,
}

impl MysqlArgs {
    pub fn certificates(&self) -> CertificateFiles<'_> {
        files("COUPONRUSH_MYSQL", &self.mysql_ca, &self.mysql_cert, &self.mysql_key)
    }
}

impl RedisArgs {
    pub fn certificates(&self) -> CertificateFiles<'_> {
        files("COUPONRUSH_REDIS", &self.redis_ca, &self.redis_cert, &self.redis_key)
    }
}

impl EtcdArgs {
    pub fn certificates(&self) -> CertificateFiles<'_> {
        files("COUPONRUSH_ETCD", &self.etcd_ca, &self.etcd_cert, &self.etcd_key)
    }
}

fn files<'a>(
    settings: &'static str,
    authorities: &'a Option<PathBuf>,
    certificate: &'a Option<PathBuf>,
    key: &'a Option<PathBuf>,
) -> CertificateFiles<'a> {
    let (authorities, certificate, key) = (authorities.as_deref(), certificate.as_deref(), key.as_deref());
    CertificateFiles { settings, authorities, certificate, key }
}

fn not_empty(text: &str) -> Result<String, &'static str> {
    if text.is_empty() { Err("must not be empty") } else { Ok(text.to_owned()) }
}
