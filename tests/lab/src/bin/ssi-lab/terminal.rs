// SPDX-License-Identifier: GPL-2.0-or-later
//! A person's terminal, joined to a node's shell or console.

use std::fs::File;
use std::io::{IsTerminal, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use ssi_lab::{Exit, Lab, Node};

/// What leaves a console: Ctrl-].
const LEAVE: u8 = 0x1d;

/// A terminal in raw mode until this value goes away.
struct Raw(Option<Termios>);

impl Raw {
    fn new() -> Result<Self> {
        let stdin = std::io::stdin();
        if !stdin.is_terminal() {
            return Ok(Self(None));
        }
        let former = tcgetattr(&stdin).context("reading the terminal's mode")?;
        let mut raw = former.clone();
        raw.make_raw();
        tcsetattr(&stdin, OptionalActions::Now, &raw).context("setting the terminal's mode")?;
        Ok(Self(Some(former)))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        if let Some(former) = &self.0 {
            let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, former);
        }
    }
}

/// Runs a shell on a node until it ends.
pub(crate) fn shell(node: &Node) -> Result<Exit> {
    let size = || tcgetwinsize(std::io::stdout()).map_or((24, 80), |size| (size.ws_row, size.ws_col));
    let session = node.open_shell(size())?;
    let mut keys = session.keys()?;
    let mut watcher = session.keys()?;
    let _raw = Raw::new()?;
    std::thread::spawn(move || {
        let mut bytes = [0; 4096];
        loop {
            match std::io::stdin().read(&mut bytes) {
                Ok(n) if n > 0 && keys.press(bytes.get(..n).unwrap_or_default()).is_ok() => {}
                _ => return,
            }
        }
    });
    std::thread::spawn(move || {
        let mut known = size();
        loop {
            std::thread::sleep(Duration::from_millis(300));
            if size() != known {
                known = size();
                if watcher.resize(known).is_err() {
                    return;
                }
            }
        }
    });
    Ok(session.show(|bytes| {
        let mut out = std::io::stdout();
        // A terminal that is gone ends the process by itself.
        let _ = out.write_all(bytes).and_then(|()| out.flush());
    })?)
}

/// Shows a node's console so far, and joins a guest's serial line.
pub(crate) fn console(lab: &Lab, node: &Node) -> Result<()> {
    let directory = lab.directory().join(node.name());
    let log = directory.join("console.log");
    let mut so_far = File::open(&log).with_context(|| format!("opening {}", log.display()))?;
    std::io::copy(&mut so_far, &mut std::io::stdout()).context("showing the console's log")?;
    let socket = directory.join("serial.sock");
    if !socket.exists() || !std::io::stdin().is_terminal() {
        return Ok(());
    }
    let Ok(line) = UnixStream::connect(&socket) else { bail!("{} is off, or another is at its console", node.name()) };
    eprintln!("\n[Ctrl-] leaves]");
    let mut output = line.try_clone().context("joining the console")?;
    let _raw = Raw::new()?;
    std::thread::spawn(move || std::io::copy(&mut output, &mut std::io::stdout()));
    let mut line = line;
    for byte in std::io::stdin().lock().bytes() {
        let byte = byte.context("reading the terminal")?;
        if byte == LEAVE || line.write_all(&[byte]).is_err() {
            break;
        }
    }
    Ok(())
}
