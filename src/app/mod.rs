//! Builds the program and runs it until a stop. The order of starting and stopping is defined here.
//!
//! [`Application::build`] binds, connects and migrates. [`Application::run_until_stopped`] starts the background tasks
//! and the operators' listener. The users' listener follows when the gate has opened for the first time.
//!
//! A stop has the reverse order. `/readyz` fails while users are still served, for the drain time. The listeners finish
//! open requests, the ledger stores claims, and the other tasks end. Requests and ledger have a deadline each. Unstored
//! claims remain in the outbox. A stop never flushes Redis.

mod assembly;
mod build;
mod parts;
mod serve;
mod servers;
mod shards;
mod start_error;
mod stopping;

pub use assembly::Application;
pub use parts::{
    mysql_tls, open_db, open_db_to_read, open_etcd, passwords, redis_config, redis_pool, redis_pool_of, signers,
};
pub use serve::RunError;
pub use start_error::StartError;
pub use stopping::Stop;
