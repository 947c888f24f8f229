// SPDX-License-Identifier: GPL-2.0-or-later
//! The recording of this manager: where it goes, and that the next manager goes on with it.
//!
//! The file is made when recording is asked for. Process 1 keeps its descriptor and the log of states says that it is
//! written to; then the manager executes itself anew, and that is the recording's begin. It ends on request, when it is
//! full, or when it cannot be written: never does it end the manager.

use std::fs::{File, OpenOptions};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt as _;

use anyhow::Result;
use serde::{Deserialize, Serialize};
use ssi_init_manager::record::{About, Standing, Tape, own_build};
use ssi_manager::core::commands::{CommandError, errors};
use ssi_manager::core::system::{FdKey, Priority};

use crate::machine::{Inner, now};
use crate::memory::Recorded;
use crate::startup::Settings;

/// Why it ended, when somebody asked for that.
pub(crate) const ON_REQUEST: &str = "it was stopped on request";
/// Less than this is no recording: what the unit files hold is in it.
const LEAST: u64 = 1 << 20;

/// One that goes on, or did.
pub(crate) struct Recording {
    pub(crate) tape: Tape,
    file: String,
    /// It ended, and that was said.
    over: bool,
}

/// How it stands, for clients.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Told {
    pub(crate) file: String,
    #[serde(flatten)]
    pub(crate) standing: Standing,
}

fn key() -> FdKey {
    FdKey("ssi/recording".to_owned())
}

/// Makes the file, so that the next manager records.
///
/// # Errors
/// Why it cannot be made.
pub(crate) fn prepare(inner: &mut Inner, file: &str, limit: u64) -> Result<(), CommandError> {
    if !file.starts_with('/') {
        return Err(CommandError::new(errors::INVALID_ARGUMENTS, format!("'{file}' is no absolute path")));
    }
    if limit < LEAST {
        let text = format!("{limit} bytes are too few for a recording; at least {LEAST}");
        return Err(CommandError::new(errors::INVALID_ARGUMENTS, text));
    }
    // A file of somebody's, or a link to one, is not written to.
    let made = OpenOptions::new()
        .append(true)
        .create_new(true)
        .mode(0o600)
        .custom_flags(nix::libc::O_NOFOLLOW | nix::libc::O_CLOEXEC)
        .open(file)
        .map_err(|error| CommandError::new(errors::FAILED, format!("making the file {file}: {error}")))?;
    inner.keep(key(), OwnedFd::from(made));
    let recorded = Recorded { file: file.to_owned(), limit };
    inner.memory.put_recording(Some(&recorded)).map_err(|error| {
        CommandError::new(errors::FAILED, format!("writing down that {file} is recorded to: {error:#}"))
    })
}

impl Recording {
    /// Goes on with what an earlier manager began, or was asked for.
    pub(crate) fn go_on(
        inner: &mut Inner,
        recorded: Option<Recorded>,
        settings: &Settings,
        starts: u32,
    ) -> Result<Option<Self>> {
        let Some(Recorded { file, limit }) = recorded else { return Ok(None) };
        let out = inner.kept.get(&key()).and_then(|fd| fd.try_clone_to_owned().ok()).map(File::from);
        let Some(out) = out else {
            inner.log(Priority::Warning, None, &format!("the recording {file} ends: its descriptor is gone"));
            inner.memory.put_recording(None)?;
            return Ok(None);
        };
        let bytes = out.metadata().map_or(0, |facts| facts.len());
        let tape = Tape::new(Box::new(out), limit, bytes);
        tape.begin(About {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            build: own_build(),
            at: now(),
            starts,
            host: settings.host.clone(),
            surroundings: settings.surroundings.clone(),
        });
        inner.log(Priority::Notice, None, &format!("what happens is recorded in {file}, up to {} MiB", limit >> 20));
        Ok(Some(Self { tape, file, over: false }))
    }

    /// Once it ended, says so and lets go of it.
    ///
    /// # Errors
    /// When that cannot be written down.
    pub(crate) fn tend(&mut self, inner: &mut Inner) -> Result<()> {
        if self.over {
            return Ok(());
        }
        let Some(why) = self.tape.standing().ended else { return Ok(()) };
        self.over = true;
        let priority = if why == ON_REQUEST { Priority::Notice } else { Priority::Warning };
        inner.log(priority, None, &format!("the recording {} ends: {why}", self.file));
        inner.let_go(&key());
        inner.memory.put_recording(None)
    }

    /// How it stands.
    pub(crate) fn told(&self) -> Told {
        Told { file: self.file.clone(), standing: self.tape.standing() }
    }
}
