//! Parses the command line, runs one command, and reports an error in one sentence.

use std::process::ExitCode;

use couponrush::app::{Application, Stop};
use couponrush::cli as commands;
use couponrush::config::{self, Command, NoCommand, ServeArgs};
use tokio::signal::unix::{SignalKind, signal};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Failure = Box<dyn std::error::Error>;

#[tokio::main]
async fn main() -> ExitCode {
    let (cli, warnings) = match config::parse() {
        Ok(parsed) => parsed,
        Err(NoCommand::Usage(error)) => error.exit(),
        Err(NoCommand::Setting(sentence)) => {
            // Exits with 1, as every failed start.
            eprintln!("couponrush: {sentence}");
            return ExitCode::FAILURE;
        }
    };
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("info,actix_server=warn")).init();
    warnings.iter().for_each(|warning| log::warn!("{warning}"));
    run(cli.command).await.unwrap_or_else(|error| {
        eprintln!("couponrush: {}", couponrush::base::error_chain(&*error));
        ExitCode::FAILURE
    })
}

async fn run(command: Command) -> Result<ExitCode, Failure> {
    match command {
        Command::Serve(args) => serve(&args).await?,
        Command::Migrate { mysql } => commands::migrate::run(&mysql).await?,
        Command::Admin(command) => commands::admin::run(command).await?,
        Command::Seed(args) => commands::seed::run(&args).await?,
        Command::Import(args) => commands::import::run(&args).await?,
        Command::Openapi => println!("{}", couponrush::http::to_json(&couponrush::http::document())),
        Command::RaiseFormat(mysql) => commands::raise_format::run(&mysql).await?,
        Command::Poisoned(command) => commands::poisoned::run(command).await?,
        Command::Size(args) => commands::size::run(&args)?,
        Command::Shards(command) => commands::shards::run(command).await?,
        Command::Unread(command) => commands::unread::run(command).await?,
        Command::Adopt(args) => commands::adopt::run(&args).await?,
        Command::NewInstallation { mysql } => commands::new_installation::run(&mysql).await?,
        Command::Audit(args) => return Ok(commands::audit::run(&args).await?),
    }
    Ok(ExitCode::SUCCESS)
}

async fn serve(args: &ServeArgs) -> Result<(), Failure> {
    let stop = Stop::default();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let application = tokio::select! {
        application = Application::build(args) => application?,
        _ = terminate.recv() => return Ok(()),
        _ = interrupt.recv() => return Ok(()),
    };
    let mut running = std::pin::pin!(application.run_until_stopped(stop.clone()));
    loop {
        tokio::select! {
            result = &mut running => return Ok(result?),
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        log::info!("stopping: a signal was received");
        stop.signal();
    }
}
