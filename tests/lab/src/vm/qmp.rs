// SPDX-License-Identifier: GPL-2.0-or-later
//! QEMU's monitor, as much of it as the lab uses (docs/interop/qmp-spec.rst in QEMU's sources):
//! a JSON value a line each way, with events in between that nobody here waits for.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

/// How long QEMU may take to answer, with all processors busy emulating.
const PATIENCE: Duration = Duration::from_secs(30);

/// A monitor.
pub(crate) struct Monitor {
    reader: BufReader<UnixStream>,
}

/// What a line from QEMU is.
#[derive(Debug, PartialEq)]
enum Line {
    Answer(Value),
    Refusal(String),
    Other,
}

fn understand(line: &str) -> Result<Line> {
    let value: Value = serde_json::from_str(line).with_context(|| format!("understanding QEMU's '{}'", line.trim()))?;
    if let Some(answer) = value.get("return") {
        return Ok(Line::Answer(answer.clone()));
    }
    if let Some(error) = value.get("error") {
        let text = error.get("desc").and_then(Value::as_str).unwrap_or("no reason given");
        return Ok(Line::Refusal(text.to_owned()));
    }
    Ok(Line::Other)
}

/// Connects to a socket that QEMU is about to make.
pub(crate) fn connect(socket: &Path, patience: Duration, mut gone: impl FnMut() -> bool) -> Result<UnixStream> {
    let deadline = Instant::now() + patience;
    loop {
        match UnixStream::connect(socket) {
            Ok(stream) => return Ok(stream),
            Err(_) if gone() => bail!("QEMU ended before it made {}", socket.display()),
            Err(error) if Instant::now() > deadline => {
                return Err(error).with_context(|| format!("reaching QEMU at {}", socket.display()));
            }
            Err(_) => std::thread::sleep(Duration::from_millis(10)),
        }
    }
}

impl Monitor {
    /// Takes a fresh connection through the greeting.
    pub(crate) fn new(stream: UnixStream) -> Result<Self> {
        stream.set_read_timeout(Some(PATIENCE)).context("limiting the wait for QEMU")?;
        let mut monitor = Self { reader: BufReader::new(stream) };
        monitor.line().context("reading QEMU's greeting")?;
        monitor.run("qmp_capabilities", json!({}))?;
        Ok(monitor)
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        if self.reader.read_line(&mut line).context("reading from QEMU")? == 0 {
            bail!("QEMU closed its monitor");
        }
        Ok(line)
    }

    /// Runs a command.
    pub(crate) fn run(&mut self, command: &str, arguments: Value) -> Result<Value> {
        let text = json!({ "execute": command, "arguments": arguments }).to_string();
        writeln!(self.reader.get_mut(), "{text}").with_context(|| format!("telling QEMU to {command}"))?;
        loop {
            match understand(&self.line()?)? {
                Line::Answer(value) => return Ok(value),
                Line::Refusal(why) => bail!("QEMU refuses {command}: {why}"),
                Line::Other => {}
            }
        }
    }

    /// Stops the guest's processors, or lets them go on.
    pub(crate) fn stop(&mut self, stopped: bool) -> Result<()> {
        self.run(if stopped { "stop" } else { "cont" }, json!({})).map(drop)
    }

    /// Takes a card's carrier away or gives it back.
    pub(crate) fn set_link(&mut self, card: &str, up: bool) -> Result<()> {
        self.run("set_link", json!({ "name": card, "up": up })).map(drop)
    }

    /// Saves a stopped guest's state to a file.
    pub(crate) fn save(&mut self, file: &Path) -> Result<()> {
        self.unlimited()?;
        self.run("migrate", json!({ "uri": format!("exec:cat > '{}'", file.display()) }))?;
        self.wait_migrated()
    }

    /// Restores a guest that was started to wait for its state.
    pub(crate) fn restore(&mut self, file: &Path) -> Result<()> {
        self.unlimited()?;
        self.run("migrate-incoming", json!({ "uri": format!("exec:cat '{}'", file.display()) }))?;
        self.wait_migrated()
    }

    /// QEMU spares the network, which there is none of here.
    fn unlimited(&mut self) -> Result<()> {
        self.run("migrate-set-parameters", json!({ "max-bandwidth": 1u64 << 40 })).map(drop)
    }

    fn wait_migrated(&mut self) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(120);
        loop {
            let state = self.run("query-migrate", json!({}))?;
            match state.get("status").and_then(Value::as_str) {
                Some("completed") => return Ok(()),
                Some("failed") => {
                    let why = state.get("error-desc").and_then(Value::as_str).unwrap_or("no reason given");
                    bail!("QEMU could not move the guest's state: {why}");
                }
                _ if Instant::now() > deadline => bail!("QEMU moved the guest's state for two minutes without end"),
                _ => std::thread::sleep(Duration::from_millis(10)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_refusals_and_events_are_told_apart() -> Result<()> {
        assert_eq!(understand(r#"{"return": {"a": 1}}"#)?, Line::Answer(json!({"a": 1})));
        assert_eq!(understand(r#"{"error": {"class": "X", "desc": "no"}}"#)?, Line::Refusal("no".to_owned()));
        assert_eq!(understand(r#"{"event": "STOP", "timestamp": {}}"#)?, Line::Other);
        assert!(understand("garbage").is_err());
        Ok(())
    }
}
