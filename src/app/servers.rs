//! The listeners for users and for operators.

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::middleware::from_fn;
use actix_web::{App, HttpServer, web};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use super::start_error::StartError;
use crate::claim::{ClosedReason, KnownCoupons, Links, ShardLink, Shards};
use crate::http::{Shared, SharedReads, Worker};
use crate::{config, http};

/// How long a start waits for the other shards while some can be claimed from.
const OTHERS_WAIT: Duration = Duration::from_secs(5);

/// Binds a listening socket. No connection is accepted yet.
pub(super) fn bind(setting: &'static str, address: SocketAddr) -> Result<TcpListener, StartError> {
    let bound = || {
        let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(config::CONNECTIONS_WAITING_MAX)?;
        Ok(TcpListener::from(socket))
    };
    bound().map_err(|error| StartError::Bind(setting, address, error))
}

/// Waits until all gates have opened, or until a gate is closed because Redis belongs to another installation, or until
/// `stop`. If some gates are open, the others are waited for up to [`OTHERS_WAIT`]. Logs the delay every 5 s.
pub(super) async fn until_open(shards: &Shards, stop: &CancellationToken) {
    let (began, mut said) = (Instant::now(), Instant::now());
    let is_decided = || {
        let shards = shards.all();
        let mut gates = shards.iter().map(|shard| shard.claiming.gate.live());
        let is_foreign = gates.clone().any(|gate| gate.err() == Some(ClosedReason::Foreign));
        let is_enough = began.elapsed() > OTHERS_WAIT && gates.clone().any(|gate| gate.is_ok());
        is_foreign || is_enough || gates.all(|gate| gate.is_ok())
    };
    while !is_decided() && !stop.is_cancelled() {
        tokio::time::sleep(Duration::from_millis(10)).await;
        if said.elapsed() > Duration::from_secs(5) {
            log::info!("not serving users yet: comparing Redis with MySQL");
            said = Instant::now();
        }
    }
}

/// Settings of the users' server.
#[derive(Debug, Clone, Copy)]
pub(super) struct UsersServer {
    /// Threads.
    pub(super) workers: usize,
    /// Whether it has the routes of operators, too.
    pub(super) for_operators: bool,
}

/// Serves users until `drained` completes, by HTTPS if `tls` is given. The workers keep their connections to Redis until `over`.
pub(super) fn serve(
    listener: TcpListener,
    tls: Option<rustls::ServerConfig>,
    shared: Shared,
    settings: UsersServer,
    drained: impl Future<Output = ()> + Send + 'static,
    over: CancellationToken,
) -> io::Result<actix_web::dev::Server> {
    let server = HttpServer::new(move || {
        // Runs once per worker thread. The thread drives its connections to Redis until the last request is answered.
        let links = Links::new(Arc::clone(&shared.selling.shards), over.clone());
        let all = links.all();
        let (known, reads) = (KnownCoupons::default(), SharedReads::default());
        let worker = web::Data::new(Worker { links, known, reads, reading_units: Mutex::default() });
        let kept = worker.clone();
        actix_web::rt::spawn(async move { kept.links.keep_up().await });
        let shared = shared.clone();
        App::new()
            .data_factory(move || connected(all.clone()))
            .configure(|config| shared.register(config))
            .app_data(worker)
            .configure(|config| http::routes(config, settings.for_operators))
            .wrap(from_fn(http::finish))
    });
    let server = server
        .workers(settings.workers)
        .max_connections(config::CONNECTIONS_MAX)
        .keep_alive(config::KEEP_ALIVE)
        .client_request_timeout(config::BODY_WAIT)
        .shutdown_timeout(config::STOP_REQUESTS_WAIT.as_secs())
        .tls_handshake_timeout(config::TLS_HANDSHAKE_WAIT)
        .shutdown_signal(drained);
    let server = match tls {
        Some(tls) => server.listen_rustls_0_23(listener, tls)?,
        None => server.listen(listener)?,
    };
    Ok(server.run())
}

/// Waits until the first requests can use the worker's links to Redis, up to [`config::WORKER_CONNECT_WAIT`].
async fn connected(links: Vec<Rc<ShardLink>>) -> Result<(), Infallible> {
    let deadline = Instant::now() + config::WORKER_CONNECT_WAIT;
    while links.iter().any(|link| link.connection().is_err()) && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

/// Serves operators until `stop`.
pub(super) fn serve_ops(
    listener: TcpListener,
    shared: Shared,
    stop: CancellationToken,
) -> io::Result<actix_web::dev::Server> {
    let server = HttpServer::new(move || {
        App::new().configure(|config| shared.register(config)).configure(http::ops_routes).wrap(from_fn(http::finish))
    });
    Ok(server
        .workers(1)
        .client_request_timeout(config::BODY_WAIT)
        .shutdown_timeout(1)
        .shutdown_signal(stop.cancelled_owned())
        .listen(listener)?
        .run())
}
