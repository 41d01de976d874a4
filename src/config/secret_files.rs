//! Secrets from files: `COUPONRUSH_JWT_SECRET_FILE` names the file with the value of `COUPONRUSH_JWT_SECRET`.
//!
//! A setting is a secret if the help hides the value of the setting. The content of a file becomes the default value of the
//! setting. clap therefore checks files and variables alike, and a flag overrides both.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command};

use super::bounds::SECRET_FILE_BYTES_MAX;

/// Lets every secret of the command in `arguments` come from a file. Returns the command line, and one sentence for the first
/// file that cannot be used. The help of every command names the variables.
pub(super) fn read_files(command: Command, arguments: impl Iterator<Item = OsString>) -> (Command, Option<String>) {
    let mut refused = None;
    let mut arguments = arguments.peekable();
    let command = of_named_command(describe(command), &mut arguments, &mut refused);
    (command, refused)
}

/// Adds the variable of the file to the help of each secret.
fn describe(command: Command) -> Command {
    let command = command.mut_args(|argument| match file_variable(&argument) {
        Some(variable) => {
            let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
            argument.help(format!("{help}. {variable} may name a file with the value"))
        }
        None => argument,
    });
    command.mut_subcommands(describe)
}

/// Reads only the files of the named command. The user of another command may have no right to read the files.
fn of_named_command(
    command: Command,
    arguments: &mut impl Iterator<Item = OsString>,
    refused: &mut Option<String>,
) -> Command {
    let name = arguments.find_map(|argument| Some(command.find_subcommand(argument)?.get_name().to_owned()));
    match name {
        Some(name) => command.mut_subcommand(name, |command| of_named_command(command, arguments, refused)),
        None => command.mut_args(|argument| from_file(argument, refused)),
    }
}

/// A sentence for each secret on the command line. Every user of the machine can read command lines.
pub(super) fn shown_secrets(command: &Command, matches: &ArgMatches) -> Vec<String> {
    if let Some((name, matches)) = matches.subcommand() {
        return command.find_subcommand(name).map_or_else(Vec::new, |command| shown_secrets(command, matches));
    }
    let sentence = |argument: &Arg| {
        let (variable, flag) = (file_variable(argument)?, argument.get_long()?);
        let is_shown = matches.value_source(argument.get_id().as_str()) == Some(ValueSource::CommandLine);
        is_shown.then(|| {
            format!("--{flag} shows a secret in the list of processes, and a later release refuses it; use {variable}")
        })
    };
    command.get_arguments().filter_map(sentence).collect()
}

fn from_file(argument: Arg, refused: &mut Option<String>) -> Arg {
    let Some((variable, path)) = file_variable(&argument).and_then(|name| Some((name.clone(), env::var_os(name)?)))
    else {
        return argument;
    };
    let setting = argument.get_env().filter(|setting| env::var_os(setting).is_some());
    let value = match setting {
        Some(setting) => Err(format!("{} and {variable} are both set; set only one", setting.display())),
        None => read(Path::new(&path)).map_err(|error| format!("{variable}: {} {error}", Path::new(&path).display())),
    };
    let value = value.unwrap_or_else(|sentence| {
        refused.get_or_insert(sentence);
        String::new()
    });
    argument.required(false).hide_default_value(true).default_value(value)
}

/// The variable with the path of the file, for a setting that is a secret.
fn file_variable(argument: &Arg) -> Option<String> {
    let setting = argument.get_env().and_then(OsStr::to_str).filter(|_| argument.is_hide_env_values_set())?;
    Some(format!("{setting}_FILE"))
}

#[derive(Debug, thiserror::Error)]
enum FileError {
    #[error("cannot be read ({0})")]
    Unreadable(#[from] io::Error),
    #[error("is larger than {SECRET_FILE_BYTES_MAX} bytes")]
    TooLarge,
    #[error("is not UTF-8")]
    NotText,
}

/// The content of a file without one trailing newline.
fn read(path: &Path) -> Result<String, FileError> {
    let mut bytes = Vec::new();
    File::open(path)?.take(SECRET_FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).expect("a length fits") > SECRET_FILE_BYTES_MAX {
        return Err(FileError::TooLarge);
    }
    let mut text = String::from_utf8(bytes).map_err(|_| FileError::NotText)?;
    if text.ends_with('\n') {
        text.pop();
    }
    Ok(text)
}
