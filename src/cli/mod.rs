//! What the commands do. [`main`] is the whole program; each command ends with an exit code that scripts rely on.
//!
//! Data goes to stdout, everything else to stderr. Commands about the state ask the running process over HTTP; commands
//! about topics open the log themselves.

mod actors;
mod args;
mod check;
mod client;
mod columns;
pub mod config_cmd;
mod connect;
mod daemon;
mod failure;
mod gaps;
mod generate;
mod get;
mod kinds;
mod output;
mod pod_columns;
mod presence;
mod run;
mod tail;
mod topics;
mod verify;
mod watch;
mod yaml;

use crate::http::Version;
use args::{Cli, Command, Config, Global, Output, Topics};
use clap::Parser as _;
use failure::Failure;
use output::{Out, printable};
use serde_json::json;
use std::io::Write as _;
use std::process::ExitCode;

/// Parses the command line, does what it says, and gives the exit code.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help goes to stdout and is no error; a reader that went away is not one either.
            drop(error.print());
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(failure::USAGE));
        }
    };
    let mut out = Out::stdout();
    let done = dispatch(cli, &mut out).and_then(|code| {
        out.flush()?;
        Ok(code)
    });
    ExitCode::from(done.unwrap_or_else(|failure| {
        for line in failure.lines() {
            tell(&line);
        }
        failure.code
    }))
}

/// A line for people, beside the data. There is nobody left to tell when stderr is closed.
fn tell(line: &str) {
    drop(writeln!(std::io::stderr(), "{}", printable(line)));
}

fn dispatch(cli: Cli, out: &mut Out) -> Result<u8, Failure> {
    let Cli { global, command } = cli;
    match command {
        Command::Run(run) => run::run(&global, run, out),
        Command::Config(command) => config(&global, command, out),
        Command::Generate(command) => generate::generate(&global, command, out),
        Command::Version { output } => version(output, out),
        other => runtime()?.block_on(ask(&global, other, out)),
    }
}

async fn ask(global: &Global, command: Command, out: &mut Out) -> Result<u8, Failure> {
    match command {
        Command::Check { output } => check::check(global, output, out).await,
        Command::Topics(command) => topics::topics(global, command, out).await,
        Command::SetupKafka => topics::topics(global, Topics::Apply, out).await,
        Command::Get(get) => get::get(&connect::server(global)?, get, out).await,
        Command::Watch(watch) => watch::watch(&connect::server(global)?, watch, out).await,
        Command::Tail(tail) => tail::tail(global, tail, out).await,
        Command::Gaps(command) => gaps::gaps(&connect::server(global)?, command, out).await,
        Command::Verify(command) => verify::verify(global, command, out).await,
        Command::Actors(command) => actors::actors(&connect::server(global)?, command, out).await,
        Command::Stop { timeout, force } => daemon::stop(global, timeout, force, out).await,
        Command::Status { output } => daemon::status(global, output, out).await,
        Command::Run(_) | Command::Config(_) | Command::Generate(_) | Command::Version { .. } => Ok(0),
    }
}

/// Commands wait for one thing at a time.
fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Failure::error(format!("the runtime cannot be started: {error}")))
}

fn config(global: &Global, command: Config, out: &mut Out) -> Result<u8, Failure> {
    match command {
        Config::Default => out.text(config_cmd::default_text())?,
        Config::Validate => {
            let loaded = connect::settings(global, Vec::new())?;
            out.text(&config_cmd::validate_text(Ok(loaded))?)?;
        }
        Config::Show { origin, output } => {
            let loaded = connect::settings(global, Vec::new())?;
            match output {
                Output::Json => out.pretty(&config_cmd::show_json(&loaded))?,
                Output::Table => out.text(&config_cmd::show_text(&loaded, origin))?,
            }
        }
    }
    Ok(0)
}

fn version(output: Output, out: &mut Out) -> Result<u8, Failure> {
    let version = Version::of_this_build();
    match output {
        Output::Json => out.pretty(&json!(version))?,
        Output::Table => out.line(&format!("{} {}", version.name, version.version))?,
    }
    Ok(0)
}
