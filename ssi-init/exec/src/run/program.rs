// SPDX-License-Identifier: GPL-2.0-or-later
//! Finding the program and turning the process into it.

use super::sys;
use super::trouble::failure;
use crate::environment::Variables;
use crate::expand::expand_arguments;
use crate::plan::Command;
use crate::report::Failure;
use crate::step::Step;
use rustix::fs::{Access, FileType};
use rustix::io::Errno;
use std::ffi::CString;

/// Where plain names are searched: systemd's own order for a Debian root.
pub(super) const SEARCH_PATH: [&str; 6] =
    ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// The program's path: as it is when it has a slash, else the first executable file of that name.
pub(super) fn locate(command: &Command) -> Result<String, Errno> {
    if command.program.contains('/') {
        return check(&command.program).map(|()| command.program.clone());
    }
    let own: Vec<&str> = command.search_path.iter().map(String::as_str).collect();
    let places: &[&str] = if own.is_empty() { &SEARCH_PATH } else { &own };
    let mut last = Errno::NOENT;
    for place in places {
        let path = format!("{}/{}", place.trim_end_matches('/'), command.program);
        match check(&path) {
            Ok(()) => return Ok(path),
            Err(Errno::NOENT) => {}
            // Tells more than "not found", should nothing better come.
            Err(errno) => last = errno,
        }
    }
    Err(last)
}

fn check(path: &str) -> Result<(), Errno> {
    let stat = rustix::fs::stat(path)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => rustix::fs::access(path, Access::EXEC_OK),
        FileType::Directory => Err(Errno::ISDIR),
        _ => Err(Errno::ACCESS),
    }
}

/// Everything execve(2) wants, ready made.
pub(super) struct Image {
    program: CString,
    arguments: Vec<CString>,
    environment: Vec<CString>,
}

impl Image {
    /// With the variables on the command line replaced.
    pub(super) fn new(path: &str, command: &Command, environment: &Variables) -> Result<Image, Failure> {
        let text = |text: String| {
            CString::new(text).map_err(|error| {
                let shown = String::from_utf8_lossy(&error.into_vec()).into_owned();
                failure(Step::Exec, Some(Errno::INVAL), format!("NUL byte in {shown:?}"))
            })
        };
        let mut arguments = if command.expand {
            expand_arguments(&command.arguments, |name| environment.get(name))
        } else {
            command.arguments.clone()
        };
        if arguments.is_empty() {
            arguments.push(path.to_owned());
        }
        Ok(Image {
            program: text(path.to_owned())?,
            arguments: arguments.into_iter().map(text).collect::<Result<_, _>>()?,
            environment: environment
                .iter()
                .map(|(name, value)| text(format!("{name}={value}")))
                .collect::<Result<_, _>>()?,
        })
    }

    /// Comes back only with the kernel's refusal.
    pub(super) fn execute(&self) -> Errno {
        sys::execve(&self.program, &self.arguments, &self.environment)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(program: &str, search: &[&str]) -> Command {
        Command { search_path: search.iter().map(|p| p.to_string()).collect(), ..Command::new(program, &[]) }
    }

    #[test]
    fn plain_names_are_searched_and_paths_are_not() {
        assert_eq!(locate(&command("env", &[])).as_deref(), Ok("/usr/bin/env"));
        assert_eq!(locate(&command("env", &["/etc", "/bin/"])).as_deref(), Ok("/bin/env"));
        assert_eq!(locate(&command("env", &["/etc"])), Err(Errno::NOENT));
        assert_eq!(locate(&command("passwd", &["/etc"])), Err(Errno::ACCESS));
        assert_eq!(locate(&command("/etc", &[])), Err(Errno::ISDIR));
        assert_eq!(locate(&command("/nowhere", &[])), Err(Errno::NOENT));
    }
}
