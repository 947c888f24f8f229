// SPDX-License-Identifier: GPL-2.0-or-later
//! Standard input, output and error: from the settings of a unit to the executor's words. Pure.

use ssi_exec::plan::{FileMode, Input, LogStream, Output, Slot, Streams, TerminalAcquire, Tty};
use ssi_unit::config::ExecConfig;
use ssi_unit::config::exec::{InputSource, LogLevel, OutputTarget};

use crate::request::LaunchError;

/// Whether a stream is to be the socket, so that sockets are not passed on as numbered descriptors.
pub(super) fn use_socket(exec: &ExecConfig) -> bool {
    exec.standard_input == InputSource::Socket
        || exec.standard_output == OutputTarget::Socket
        || exec.standard_error == OutputTarget::Socket
}

/// The streams. `socket` is the one they may be; `named` finds a descriptor that was passed; `terminal`: standard
/// input may be the terminal.
pub(super) fn streams(
    exec: &ExecConfig,
    unit: &str,
    terminal: bool,
    socket: Option<Slot>,
    named: &dyn Fn(&str) -> Option<Slot>,
) -> Result<Streams, LaunchError> {
    let find = |name: &String| {
        named(name).ok_or_else(|| LaunchError::NoNamedDescriptor { unit: unit.to_owned(), name: name.clone() })
    };
    let input = match &exec.standard_input {
        InputSource::Tty | InputSource::TtyForce | InputSource::TtyFail if !terminal => Input::Null,
        InputSource::Null => Input::Null,
        InputSource::Tty => Input::Tty(TerminalAcquire::Wait),
        InputSource::TtyForce => Input::Tty(TerminalAcquire::Force),
        InputSource::TtyFail => Input::Tty(TerminalAcquire::Fail),
        InputSource::Data => Input::Bytes(exec.standard_input_data.clone()),
        InputSource::File(path) => Input::File(path.clone()),
        InputSource::Socket => Input::Socket,
        InputSource::Fd(name) => Input::Fd(find(name)?),
    };
    let output = |target: &OutputTarget| -> Result<Output, LaunchError> {
        let file = |path: &String, mode| Output::File { path: path.clone(), mode };
        Ok(match target {
            OutputTarget::Inherit => Output::Inherit,
            OutputTarget::Null => Output::Null,
            OutputTarget::Tty => Output::Tty,
            OutputTarget::Journal => Output::Journal { kmsg: false, console: false },
            OutputTarget::JournalAndConsole => Output::Journal { kmsg: false, console: true },
            OutputTarget::Kmsg => Output::Journal { kmsg: true, console: false },
            OutputTarget::KmsgAndConsole => Output::Journal { kmsg: true, console: true },
            OutputTarget::File(path) => file(path, FileMode::Write),
            OutputTarget::Append(path) => file(path, FileMode::Append),
            OutputTarget::Truncate(path) => file(path, FileMode::Truncate),
            OutputTarget::Socket => Output::Socket,
            OutputTarget::Fd(name) => Output::Fd(find(name)?),
        })
    };
    let mut standard_output = output(&exec.standard_output)?;
    // Its input is not the terminal, yet what it says still goes there.
    if standard_output == Output::Inherit && input == Input::Null && exec.standard_input.is_tty() {
        standard_output = Output::Tty;
    }
    Ok(Streams {
        input,
        output: standard_output,
        error: output(&exec.standard_error)?,
        socket,
        tty: tty(exec),
        log: log(exec),
    })
}

fn tty(exec: &ExecConfig) -> Tty {
    let cleans = exec.tty_reset || exec.tty_vhangup || exec.tty_vt_disallocate;
    let size = |lines: Option<u32>| lines.map(|lines| u16::try_from(lines).unwrap_or(u16::MAX));
    Tty {
        path: exec.tty_path.clone().or_else(|| cleans.then(|| "/dev/console".to_owned())),
        reset: exec.tty_reset,
        vhangup: exec.tty_vhangup,
        disallocate: exec.tty_vt_disallocate,
        rows: size(exec.tty_rows),
        columns: size(exec.tty_columns),
    }
}

fn log(exec: &ExecConfig) -> LogStream {
    LogStream {
        identifier: exec.syslog_identifier.clone(),
        priority: (u32::from(exec.syslog_facility) << 3) | level(exec.syslog_level),
        level_prefix: exec.syslog_level_prefix,
        namespace: exec.log_namespace.clone(),
    }
}

/// The number of a level, syslog(3).
pub(crate) fn level(level: LogLevel) -> u32 {
    match level {
        LogLevel::Emergency => 0,
        LogLevel::Alert => 1,
        LogLevel::Critical => 2,
        LogLevel::Error => 3,
        LogLevel::Warning => 4,
        LogLevel::Notice => 5,
        LogLevel::Info => 6,
        LogLevel::Debug => 7,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ssi_unit::config::ManagerDefaults;

    fn of(terminal: bool, change: impl FnOnce(&mut ExecConfig)) -> Result<Streams, LaunchError> {
        let mut exec = ExecConfig::new(&ManagerDefaults::default());
        change(&mut exec);
        streams(&exec, "a.service", terminal, None, &|name| (name == "web").then_some(Slot(7)))
    }

    #[test]
    fn the_terminal_is_the_main_processes_input_and_everybodys_output() {
        let getty = |exec: &mut ExecConfig| {
            exec.standard_input = InputSource::Tty;
            exec.standard_output = OutputTarget::Inherit;
        };
        let main = of(true, getty).unwrap();
        assert_eq!((main.input, main.output), (Input::Tty(TerminalAcquire::Wait), Output::Inherit));
        let other = of(false, getty).unwrap();
        assert_eq!((other.input, other.output), (Input::Null, Output::Tty));
    }

    #[test]
    fn named_descriptors_are_found_or_told_of() {
        let named = |name: &str| of(true, |exec| exec.standard_input = InputSource::Fd(name.into()));
        assert_eq!(named("web").unwrap().input, Input::Fd(Slot(7)));
        assert!(matches!(named("ftp"), Err(LaunchError::NoNamedDescriptor { name, .. }) if name == "ftp"));
    }

    #[test]
    fn lines_are_daemon_info_unless_told() {
        assert_eq!(of(true, |_| {}).unwrap().log, LogStream::default());
        let warned = of(true, |exec| exec.syslog_level = LogLevel::Warning).unwrap();
        assert_eq!(warned.log.priority, 28);
    }
}
