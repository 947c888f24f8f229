// SPDX-License-Identifier: GPL-2.0-or-later
//! `ssi status`: the cluster on one screen, once or over and over.

use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::UnboundedReceiver;

use crate::cli::{Places, Status};
use crate::daemon::{Daemon, Event, Picture, Standing};
use crate::outcome::{Ending, Exit, Failure};
use crate::output::{Output, Tone};
use crate::{report, screen};

/// How often the screen is drawn anew when nothing is told: loads and uptimes change without a signal.
const PERIOD: Duration = Duration::from_secs(1);

/// Changes come in bursts: how long to wait for the rest of one before drawing.
const BURST: Duration = Duration::from_millis(50);

/// Shows the cluster.
///
/// # Errors
/// When the daemon cannot be asked.
pub async fn run(args: &Status, places: &Places, out: &Output) -> Ending {
    if args.watch {
        return watch(args, places, out).await;
    }
    let picture = Daemon::connect(&places.socket).await?.picture().await?;
    if args.json {
        out.json(&report::Status::from(&picture))?;
    } else {
        out.text(&screen::status(&picture, out.paint))?;
    }
    Ok(exit_of(&picture))
}

/// 0 for a member of a quorate view, else 3.
fn exit_of(picture: &Picture) -> Exit {
    match picture.standing() {
        Standing::Member => Exit::Done,
        Standing::Joining | Standing::NoQuorum | Standing::EngineDown(_) => Exit::NotAMember,
    }
}

/// Shows it until interrupted; a daemon that is away for a while is waited for.
async fn watch(args: &Status, places: &Places, out: &Output) -> Ending {
    let stop_on = |kind| signal(kind).map_err(|e| Failure::failed(format!("cannot listen for signals: {e}")));
    let mut interrupt = stop_on(SignalKind::interrupt())?;
    let mut terminate = stop_on(SignalKind::terminate())?;
    let mut hangup = stop_on(SignalKind::hangup())?;
    let canvas = (out.terminal && !args.json).then(|| Canvas::open(out)).transpose()?;
    let mut link: Option<(Daemon, UnboundedReceiver<Event>)> = None;
    loop {
        let looked = look(&mut link, places).await;
        let last = match &looked {
            Ok(picture) => exit_of(picture),
            Err(failure) => failure.exit(),
        };
        match (&looked, &canvas) {
            (Ok(picture), None) if args.json => out.json_line(&report::Status::from(picture))?,
            (Ok(picture), None) => out.text(&format!("{}\n", screen::status(picture, out.paint)))?,
            (Err(failure), None) => out.remark(&format!("ssi: {failure}")),
            (Ok(picture), Some(canvas)) => canvas.draw(out, &screen::status(picture, out.paint))?,
            (Err(failure), Some(canvas)) => {
                canvas.draw(out, &format!("{}\n", out.paint.put(Tone::Bad, &failure.to_string())))?
            }
        }
        let changed = async {
            match &mut link {
                Some((_, events)) => match events.recv().await {
                    Some(_) => {
                        tokio::time::sleep(BURST).await;
                        while events.try_recv().is_ok() {}
                    }
                    None => std::future::pending().await,
                },
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = interrupt.recv() => return Ok(last),
            _ = terminate.recv() => return Ok(last),
            _ = hangup.recv() => return Ok(last),
            () = changed => {}
            () = tokio::time::sleep(PERIOD) => {}
        }
    }
}

/// One picture; connects first if need be, and forgets the connection when it fails.
async fn look(link: &mut Option<(Daemon, UnboundedReceiver<Event>)>, places: &Places) -> Result<Picture, Failure> {
    let (daemon, events) = match link.take() {
        Some(open) => open,
        None => {
            let daemon = Daemon::connect(&places.socket).await?;
            let events = daemon.events().await?;
            (daemon, events)
        }
    };
    let picture = daemon.picture().await?;
    *link = Some((daemon, events));
    Ok(picture)
}

/// The terminal's second screen, so that what was on the first is there again afterwards.
struct Canvas;

impl Canvas {
    // xterm's private modes: 1049 second screen, 7 wrapping, 25 cursor.
    fn open(out: &Output) -> Result<Self, Failure> {
        out.text("\x1b[?1049h\x1b[?7l\x1b[?25l")?;
        Ok(Canvas)
    }

    /// Draws over what was there, line by line, so that it does not flicker.
    fn draw(&self, out: &Output, text: &str) -> Result<(), Failure> {
        // A terminal that does not know its size says 0.
        let size = rustix::termios::tcgetwinsize(std::io::stdout()).map_or(0, |size| usize::from(size.ws_row));
        let rows = if size == 0 { 24 } else { size.max(2) };
        let lines: Vec<String> = text.lines().take(rows - 1).map(|line| format!("{line}\x1b[K\r\n")).collect();
        out.text(&format!("\x1b[H{}\x1b[J", lines.concat()))
    }
}

impl Drop for Canvas {
    fn drop(&mut self) {
        use std::io::Write;
        let mut out = std::io::stdout().lock();
        let _ = out.write_all(b"\x1b[?25h\x1b[?7h\x1b[?1049l").and_then(|()| out.flush());
    }
}
