//! Settings of the `redis` crate for all connections.

use redis::AsyncConnectionConfig;

use super::batcher::BATCHES_IN_FLIGHT_MAX;
use super::calls::CALLS_WAITING_MAX;

/// Requests that the crate queues for the driver. Calls and batches have limits of our own, so a send never waits.
const PIPELINE_BUFFER: usize = CALLS_WAITING_MAX + BATCHES_IN_FLIGHT_MAX;
/// Bytes that the driver gathers before writing to the socket.
const WRITE_BUFFER_BYTES: usize = 64 << 10;

/// Settings of the crate for every connection. Callers have deadlines, so the crate has no timeout. The crate's
/// concurrency limit is off, because the limit makes callers wait. Instead, [`CALLS_WAITING_MAX`] refuses the next call
/// at once, and [`BATCHES_IN_FLIGHT_MAX`] leaves attempts in the batcher's channel.
pub(super) fn crate_settings() -> AsyncConnectionConfig {
    AsyncConnectionConfig::new()
        .set_response_timeout(None)
        .set_connection_timeout(None)
        .set_pipeline_buffer_size(PIPELINE_BUFFER)
        .set_write_backpressure_boundary(WRITE_BUFFER_BYTES)
}
