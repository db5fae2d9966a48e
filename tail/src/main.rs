//! The command.

use std::io::Write;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::process::ExitCode;

use pillion_tail::complaints::say;
use pillion_tail::follow::Follower;
use pillion_tail::options::{Command, Options};
use pillion_tail::output::{Output, Printer, Stdout};
#[cfg(feature = "shipping")]
use pillion_tail::shipping::Shipper;
use pillion_tail::signals::Signals;
use pillion_tail::status::status;

fn main() -> ExitCode {
    let variable = |name: &str| std::env::var_os(name).map(|value| value.as_bytes().to_vec());
    let arguments = std::env::args_os().skip(1).map(OsStringExt::into_vec);
    match Command::read(arguments, variable) {
        Command::Tell(text) => {
            let _ = std::io::stdout().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Command::Status(directory) => match status(&directory) {
            Ok(text) => {
                let _ = std::io::stdout().write_all(text.as_bytes());
                ExitCode::SUCCESS
            }
            Err(text) => {
                say(&text);
                ExitCode::FAILURE
            }
        },
        Command::Follow(options) => {
            let signals = match Signals::catch() {
                Ok(signals) => signals,
                Err(error) => return fail(&format!("can't catch SIGTERM: {error}")),
            };
            match open(&options) {
                Ok(output) => Follower::new(*options, output).run(&signals),
                Err(text) => return fail(&text),
            }
            ExitCode::SUCCESS
        }
    }
}

/// Return where lines go.
fn open(options: &Options) -> Result<Box<dyn Output>, String> {
    let records = options.records.clone();
    #[cfg(feature = "shipping")]
    if let Some(encoding) = options.destination.encoding() {
        let shipper = Shipper::new(options.destination.target.clone(), encoding, records);
        return match shipper {
            Ok(shipper) => Ok(Box::new(shipper)),
            Err(error) => Err(format!("can't start to send: {error}")),
        };
    }
    match Stdout::open() {
        Ok(stdout) => Ok(Box::new(Printer::new(stdout, options.format, records))),
        Err(error) => Err(format!("there is no standard output: {}", std::io::Error::from(error))),
    }
}

fn fail(text: &str) -> ExitCode {
    say(text);
    ExitCode::FAILURE
}
