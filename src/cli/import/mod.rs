//! `couponrush import`: imports users and coupons from the Go system's database, without Redis.
//!
//! The Go system has a single table for the coupons of salers and of customers. A saler's row is an offered coupon. A
//! customer's row says that the customer holds a unit of the coupon with the same name. The import makes three passes
//! in pages: users, salers' rows, customers' rows. The last and longest step wraps the users' MD5 hashes in argon2id.
//!
//! Memory is bounded by a page and by the salers' coupons, which are kept by name. Every page is a transaction and
//! skips existing rows. A user is found by the record of imported users, a coupon by saler and name, a claim by
//! customer and coupon. A killed run can therefore be repeated. Repeating a complete run changes nothing.

mod customers;
mod identity;
mod import_error;
mod offers;
mod passwords;
mod report;
mod salers;
mod users;

use std::fs::File;
use std::io::{BufWriter, Write};

pub use self::report::{Gap, ImportCounts, ImportReport, LeftOut, RefusedRow};
use crate::app::{mysql_tls, passwords};
use crate::cli::progress::ProgressLine;
use crate::config::{self, ImportArgs};
use crate::mysql::import::ImportSource;
use crate::mysql::import::source::{self, SourceTable};
use crate::mysql::migrate::migrate;
use crate::mysql::{Db, DbLimits, import as store};
pub use import_error::ImportError;
use report::Recorder;

/// State shared by all passes of an import.
struct Import<'a> {
    db: &'a Db,
    from: &'a Db,
    source: ImportSource,
    now_ms: u64,
    progress: ProgressLine,
    recorder: Recorder<'a>,
}

/// Opens both databases, migrates the database of this service, imports, and prints the report.
///
/// # Errors
/// Returns an [`ImportError`].
pub async fn run(args: &ImportArgs) -> Result<(), ImportError> {
    let limits = DbLimits {
        connections_max: 2,
        connection_wait: config::IMPORT_CONNECTION_WAIT,
        statement_wait: config::IMPORT_STATEMENT_WAIT,
    };
    // Both servers are checked against the same authorities.
    let tls = mysql_tls(&args.mysql, &[&args.mysql.mysql_url, &args.from])?;
    let db = Db::new(&args.mysql.mysql_url, tls.as_ref(), limits).map_err(ImportError::TargetUrl)?;
    let from = Db::to_read(&args.from, tls.as_ref(), limits).map_err(ImportError::SourceUrl)?;
    if source::is_go_system(&db).await.map_err(ImportError::Target)? {
        return Err(ImportError::SameDatabase);
    }
    migrate(&db).await?;
    let mut lines: Box<dyn Write + Send> = match &args.report {
        Some(path) => Box::new(BufWriter::new(File::create(path).map_err(ImportError::Report)?)),
        None => Box::new(std::io::sink()),
    };
    let passwords = passwords(config::cores())?;
    let wrap = async |md5: &str| passwords.wrap_md5(md5).await;
    let report = import(&db, &from, wrap, crate::base::now_ms(), ProgressLine::on_stderr(), &mut lines).await?;
    // A closed pipe, for example by `head`, is no error.
    let _ = write!(std::io::stdout(), "{report}");
    Ok(())
}

/// Imports users and coupons from the database `from`.
///
/// - `wrap` turns an MD5 of 32 lower-case hex digits into a stored password hash. One call runs per core.
/// - `now_ms` becomes the time of the claims, because the Go system stores no time.
/// - `lines` receives every refused row and every gap.
///
/// While an instance of the service is alive, only passwords are wrapped, if an earlier run has imported all rows.
///
/// # Errors
/// Returns an [`ImportError`]. Rows imported before the failure stay.
pub async fn import<W, E>(
    db: &Db,
    from: &Db,
    wrap: W,
    now_ms: u64,
    progress: ProgressLine,
    lines: &mut (dyn Write + Send),
) -> Result<ImportReport, ImportError>
where
    W: AsyncFn(&str) -> Result<String, E>,
    E: std::error::Error + Send + Sync + 'static,
{
    if !source::is_go_system(from).await.map_err(ImportError::Source)? {
        return Err(ImportError::NotTheGoSystem);
    }
    let name = source::name(from).await.map_err(ImportError::Source)?;
    let source = store::open_source(db, &name).await.map_err(ImportError::Target)?;
    let mut import = Import { db, from, source, now_ms, progress, recorder: Recorder::new(lines) };
    match store::find_alive(db).await.map_err(ImportError::Target)? {
        Some(instance) if source.rows_taken => import.recorder.report.rows_skipped = Some(instance),
        Some(instance) => return Err(ImportError::ServiceAlive { instance }),
        None => import.take_rows().await?,
    }
    import.wrap_passwords(wrap).await?;
    import.recorder.finish()
}

impl Import<'_> {
    async fn take_rows(&mut self) -> Result<(), ImportError> {
        let users = source::count(self.from, SourceTable::Users).await.map_err(ImportError::Source)?;
        let coupons = source::count(self.from, SourceTable::Coupons).await.map_err(ImportError::Source)?;
        self.take_users(users).await?;
        let offers = self.take_offers(coupons).await?;
        self.take_holdings(&offers, coupons).await?;
        self.settle_offers(&offers).await?;
        store::note_rows_taken(self.db, self.source).await.map_err(ImportError::Target)?;
        self.progress.say(
            "All rows are imported. The service may be started. Users can log in once their passwords are wrapped.",
        );
        Ok(())
    }
}
