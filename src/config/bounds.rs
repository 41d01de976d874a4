//! Fixed limits of queues, batches, caches, waits and bodies. A limit that only one file needs may stand in that file.

use std::num::NonZeroUsize;
use std::time::Duration;

/// Largest ledger transaction, in claims. A coupon's row is updated once a transaction, so large batches are cheaper.
pub const BATCH_CLAIMS_MAX: usize = 4_000;
/// Longest wait of the ledger for a batch to fill. Below this bound the wait is as long as the last transaction took.
pub const BATCH_LINGER_MAX: Duration = Duration::from_millis(20);
/// Registrations from an address per minute: as many as two cores can hash, and as many as people need behind one address.
pub const REGISTRATIONS_PER_MINUTE: u32 = 6_000;
pub const PUBLIC_REGISTRATIONS_PER_MINUTE: u32 = 30;
/// Open event streams of an address in the public profile: a household or a small office, each with a few tabs.
pub const PUBLIC_VIEWERS_OF_ADDRESS_MAX: u32 = 20;
/// Open users' connections per worker, and connections in the accept queue of the listener.
pub const CONNECTIONS_MAX: usize = 100_000;
pub const CONNECTIONS_WAITING_MAX: i32 = 4_096;
/// HTTP keep-alive timeout. Longer than a person pauses between two clicks.
pub const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// Timeout of a ledger transaction, and the first and the longest pause before a retry.
pub const STORE_WAIT: Duration = Duration::from_secs(10);
pub const STORE_PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));
/// Sweep of the outbox: period, minimum age of a swept entry, and batches in a row.
pub const SWEEP_EVERY: Duration = Duration::from_secs(1);
pub const SWEEP_AGE: Duration = Duration::from_secs(2);
pub const SWEEP_BATCHES_MAX: usize = 20;
/// Concurrent exports of claims.
pub const EXPORTS_MAX: usize = 4;
/// Bytes that a reader of an export must take in each period, about 17 kbit/s.
pub const EXPORT_BYTES_MIN: u64 = 64 * 1024;
pub const EXPORT_PERIOD: Duration = Duration::from_secs(30);
/// Revoked tokens in memory, and users whose earlier tokens are revoked, about 150 bytes each.
pub const REVOKED_TOKENS_MAX: usize = 1_000_000;
pub const REVOKED_GENERATIONS_MAX: usize = 1_000_000;
/// Keys of all merchants in memory, about 300 bytes each.
pub const MERCHANT_KEYS_MAX: usize = 100_000;
/// Timeout of a claim in Redis. After a timeout the outcome of the claim is unknown.
pub const CLAIM_WAIT: Duration = Duration::from_millis(150);
/// The highest `COUPONRUSH_ARCHIVE_AFTER` in seconds: ten years.
pub(super) const ARCHIVE_AFTER_MAX: u32 = 315_360_000;
/// Timeout of every other call to Redis.
pub const KV_WAIT: Duration = Duration::from_secs(1);
/// Size of the connection pool to Redis, which serves all work except claims, lists and recovery.
pub const REDIS_CONNECTIONS_MAX: usize = 8;
/// Timeouts of that pool: for a free connection, for a new connection, and for the proof that a used one still works.
pub const REDIS_CONNECTION_WAIT: Duration = Duration::from_secs(1);
pub const REDIS_CREATE_WAIT: Duration = Duration::from_secs(1);
pub const REDIS_RECYCLE_WAIT: Duration = Duration::from_millis(250);
/// Longest wait of a worker for its first connection to Redis. Then the worker accepts users without a connection.
pub const WORKER_CONNECT_WAIT: Duration = Duration::from_secs(2);
/// Sizes of the connection pools to MySQL, for users and for the control plane (recovery, beats, settings, admins). The
/// ledger and streaming reads use separate connections.
pub const DB_CONNECTIONS_MAX: usize = 16;
pub const DB_CONTROL_CONNECTIONS_MAX: usize = 4;
/// Timeouts of a request: for a connection of the pool, and for a statement.
pub const DB_CONNECTION_WAIT: Duration = Duration::from_secs(2);
pub const DB_STATEMENT_WAIT: Duration = Duration::from_secs(10);
/// Logins and registrations in the queue for a password hash, and the timeout in that queue.
pub const HASH_QUEUE_MAX: usize = 4_000;
/// Password hashes of admins that are computed at the same time, on top of those of users.
pub const ADMIN_HASHES_MAX: NonZeroUsize = NonZeroUsize::MIN;
pub const HASH_WAIT: Duration = Duration::from_secs(30);
/// Verified passwords in the cache, which need no hash, and the lifetime of an entry since its hash was computed.
pub const VERIFIED_PASSWORDS_MAX: u64 = 100_000;
pub const VERIFIED_PASSWORD_AGE: Duration = Duration::from_secs(600);
/// Longest configurable lifetime of a session token, in seconds: one year.
pub const TOKEN_SECONDS_MAX: u32 = 31_536_000;
/// Users in the cache by name, and as many in the cache by id.
pub const KNOWN_USERS_MAX: u64 = 200_000;
/// Lifetime of a cached list of sales and of a cached product, and the number of cached products.
pub const SALES_LIST_AGE: Duration = Duration::from_secs(1);
pub const SALES_PRODUCT_AGE: Duration = Duration::from_millis(200);
pub const SALES_PRODUCTS_MAX: u64 = 10_000;
/// Products with a stream of live units at the same time.
pub const EVENT_PRODUCTS_MAX: usize = 1_000;
/// Keys in each table of rates (users, addresses, names, offences) within a minute, about 50 bytes of memory each.
pub const RATE_KEYS_MAX: usize = 900_000;
/// Active blocks of users and addresses in memory, about 60 bytes each.
pub const BLOCKS_MAX: usize = 100_000;
/// Blocked offenders that are not stored in MySQL yet.
pub const OFFENDERS_WAITING_MAX: usize = 1_000;
/// Size in bytes and lifetime of the cache that answers lists while the switch `list` is off.
pub const LISTS_CACHED_BYTES_MAX: u64 = 32 * 1024 * 1024;
pub const LISTS_CACHED_AGE: Duration = Duration::from_secs(1);
/// Size limit of a file with a secret (`COUPONRUSH_JWT_SECRET_FILE`).
pub const SECRET_FILE_BYTES_MAX: u64 = 16 * 1024;
/// Size limit and timeout of a request body.
pub const BODY_BYTES_MAX: usize = 4 * 1024;
pub const BODY_WAIT: Duration = Duration::from_secs(5);
/// Timeout of the begin of a connection by HTTPS.
pub const TLS_HANDSHAKE_WAIT: Duration = Duration::from_secs(5);
/// Rows that an import reads at once and stores in one transaction.
pub const IMPORT_BATCH_ROWS: u32 = 1_000;
/// Password hashes that an import stores in one transaction. A killed import computes at most this many again.
pub const IMPORT_BATCH_HASHES: u32 = 200;
/// Refused rows and gaps that an import shows on the terminal. The report file has all.
pub const IMPORT_SHOWN_MAX: usize = 20;
/// Timeouts of an import: for a connection, and for a statement.
pub const IMPORT_CONNECTION_WAIT: Duration = Duration::from_secs(10);
pub const IMPORT_STATEMENT_WAIT: Duration = Duration::from_secs(60);
/// Timeout of connecting to etcd and of each call.
pub const ETCD_WAIT: Duration = Duration::from_secs(2);
/// How long the start waits for the version of etcd. An etcd that is away does not stop a start.
pub const ETCD_START_WAIT: Duration = Duration::from_secs(1);
/// Keys below etcd's prefix, and bytes of a value. With more keys etcd is not followed. A longer value is rejected.
pub const ETCD_KEYS_MAX: usize = 16_384;
pub const ETCD_VALUE_BYTES_MAX: usize = 8 * 1024;
/// Activities that are written to etcd. The distance to [`ETCD_KEYS_MAX`] leaves room for several seconds of new keys.
pub const ETCD_ACTIVITIES_MAX: usize = 10_000;
/// Timeouts of a stop: for open requests, then for the ledger.
pub const STOP_REQUESTS_WAIT: Duration = Duration::from_secs(10);
pub const STOP_LEDGER_WAIT: Duration = Duration::from_secs(20);
