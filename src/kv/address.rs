//! Where Redis is, and how a connection to it begins.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use redis::{ConnectionAddr, IntoConnectionInfo, RedisConnectionInfo};
use tokio::net::{TcpStream, UnixStream};

use super::pipe::Pipe;
use crate::figures::Histogram;

/// Where Redis is, and as whom this program speaks to it.
#[derive(Clone)]
pub struct LinkConfig {
    place: Place,
    settings: RedisConnectionInfo,
    /// How long calls take over every connection that is made by it.
    times: Arc<Histogram>,
}

#[derive(Clone)]
enum Place {
    Tcp(String, u16),
    Unix(PathBuf),
}

impl LinkConfig {
    /// # Errors
    /// A sentence where `url` is not one that the `redis` crate takes, or asks for TLS. It never repeats the URL, which
    /// may hold a password.
    pub fn new(url: &str) -> Result<Self, String> {
        let info = url.into_connection_info().map_err(|error| error.category().to_owned())?;
        let place = match info.addr() {
            ConnectionAddr::Tcp(host, port) => Place::Tcp(host.clone(), *port),
            ConnectionAddr::Unix(path) => Place::Unix(path.clone()),
            _ => return Err("TLS is not supported".to_owned()),
        };
        Ok(Self { place, settings: info.redis_settings().clone(), times: Arc::new(Histogram::of_times()) })
    }

    /// How long calls take, over every connection that this or a clone of it made.
    pub fn times(&self) -> &Arc<Histogram> {
        &self.times
    }

    pub(super) async fn connect(&self) -> io::Result<Pipe> {
        match &self.place {
            Place::Tcp(host, port) => {
                let socket = TcpStream::connect((host.as_str(), *port)).await?;
                socket.set_nodelay(true)?;
                Ok(Pipe::new(socket))
            }
            Place::Unix(path) => Ok(Pipe::new(UnixStream::connect(path).await?)),
        }
    }

    /// What must be said before anything else: who we are, and which of its databases we mean.
    pub(super) fn greeting(&self) -> Vec<redis::Cmd> {
        let mut greeting = Vec::new();
        if let Some(password) = self.settings.password() {
            let mut auth = redis::cmd("AUTH");
            auth.arg(self.settings.username()).arg(password);
            greeting.push(auth);
        }
        if self.settings.db() != 0 {
            let mut select = redis::cmd("SELECT");
            select.arg(self.settings.db());
            greeting.push(select);
        }
        greeting
    }
}
