// SPDX-License-Identifier: GPL-2.0-or-later
//! What people ask who look for a mistake: `dump`, `record`, `replay`. The first two ask the running manager at its own
//! socket, the last asks nobody.

use std::fs::File;
use std::io::{BufReader, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use clap::Subcommand;
use ssi_init_manager::dump::{Around, Snapshot};
use ssi_init_manager::record::LIMIT;
use ssi_init_manager::replay::{self, Outcome};
use zbus::export::serde::Serialize;
use zbus::zvariant::DynamicType;

use crate::PRIVATE_BUS;
use crate::ask::FAILED;
use crate::recording::Told;

const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const INSPECTION: &str = "ssi.init1.Inspection";
/// How long the manager may take to answer.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a new manager may take to come up.
const BEGINS: Duration = Duration::from_secs(60);
/// How often it is looked whether it has.
const LOOK: Duration = Duration::from_millis(100);

/// What is to be done about a recording.
#[derive(Debug, Subcommand)]
pub(crate) enum RecordAct {
    /// Begin one
    Start {
        /// Where to; there must be no such file yet. Best below /run: the manager writes to it
        file: PathBuf,
        /// Most MiB in it; recording ends then
        #[arg(long, default_value_t = LIMIT >> 20, value_parser = clap::value_parser!(u64).range(1..=1 << 20))]
        limit: u64,
    },
    /// End it
    Stop,
    /// Say how it stands
    Status,
}

/// Asks the manager, and gives the text that it answers; none, where it answers none.
fn ask<B: Serialize + DynamicType>(interface: &str, member: &str, body: &B) -> Result<Option<String>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("making a runtime")?;
    let asking = async {
        let stream = tokio::net::UnixStream::connect(PRIVATE_BUS)
            .await
            .with_context(|| format!("connecting to the manager at {PRIVATE_BUS} (is ssi-init process 1 here?)"))?;
        let bus = zbus::connection::Builder::unix_stream(stream).p2p().build().await.context("greeting the manager")?;
        let answer = bus
            .call_method(None::<&str>, "/org/freedesktop/systemd1", Some(interface), member, body)
            .await
            .with_context(|| format!("asking the manager ({member})"))?;
        let body = answer.body();
        if body.signature().to_string_no_parens().is_empty() {
            return Ok(None);
        }
        Ok(Some(body.deserialize::<String>().context("reading the manager's answer")?))
    };
    runtime.block_on(async { tokio::time::timeout(PATIENCE, asking).await }).context("the manager does not answer")?
}

/// Writes for whoever reads; that nobody does any more is no mistake.
fn print(text: &str) -> Result<()> {
    match writeln!(std::io::stdout().lock(), "{}", text.trim_end_matches('\n')) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error).context("writing the answer"),
        _ => Ok(()),
    }
}

fn status(result: Result<u8>) -> u8 {
    result.unwrap_or_else(|error| {
        eprintln!("ssi-init: {error:#}");
        FAILED
    })
}

/// `ssi-init dump`
pub(crate) fn dump(patterns: &[String], json: bool) -> u8 {
    let asked = if json {
        ask(INSPECTION, "Describe", &())
    } else if patterns.is_empty() {
        ask(MANAGER, "Dump", &())
    } else {
        ask(MANAGER, "DumpUnitsMatchingPatterns", &(patterns,))
    };
    status(asked.and_then(|text| print(&text.unwrap_or_default())).map(|()| 0))
}

/// `ssi-init record`
pub(crate) fn record(act: RecordAct) -> u8 {
    status(match act {
        RecordAct::Start { file, limit } => start(&file, limit << 20),
        RecordAct::Stop => ask(INSPECTION, "StopRecording", &()).and_then(|told| tell(told.as_deref())),
        RecordAct::Status => ask(INSPECTION, "Recording", &()).and_then(|told| tell(told.as_deref())),
    })
}

fn told(text: Option<&str>) -> Result<Option<Told>> {
    serde_json::from_str(text.unwrap_or("null")).context("reading the manager's answer")
}

fn tell(text: Option<&str>) -> Result<u8> {
    match told(text)? {
        None => print("there is no recording")?,
        Some(Told { file, standing }) => {
            let how = standing.ended.unwrap_or_else(|| "it goes on".to_owned());
            print(&format!("{file}: {} bytes of at most {}; {how}", standing.bytes, standing.limit))?;
        }
    }
    Ok(0)
}

fn start(file: &Path, limit: u64) -> Result<u8> {
    let file = std::path::absolute(file).with_context(|| format!("finding {}", file.display()))?;
    let Some(file) = file.to_str() else { bail!("{} is no UTF-8", file.display()) };
    ask(INSPECTION, "Record", &(file, limit))?;
    // The manager begins anew; until it listens again there is none to be asked.
    let began = Instant::now();
    loop {
        let answer = ask(INSPECTION, "Recording", &()).and_then(|text| told(text.as_deref()));
        match answer {
            Ok(Some(told)) if told.file == file => return tell(serde_json::to_string(&told).ok().as_deref()),
            Ok(_) | Err(_) if began.elapsed() < BEGINS => std::thread::sleep(LOOK),
            Ok(_) => bail!("the manager does not record; its log says why"),
            Err(error) => return Err(error).context("the manager was to record, and does not answer"),
        }
    }
}

/// `ssi-init replay`
pub(crate) fn replay_file(file: &Path, until: Option<usize>, json: bool, all: bool) -> u8 {
    status(replay_it(file, until, json, all))
}

fn replay_it(file: &Path, until: Option<usize>, json: bool, all: bool) -> Result<u8> {
    let from = File::open(file).with_context(|| format!("opening {}", file.display()))?;
    let name = || format!("{}", file.display());
    let lines = replay::read(BufReader::new(from)).with_context(name)?;
    let mut written = Ok(());
    let outcome = replay::replay(lines, until.unwrap_or(usize::MAX), |happened| {
        if written.is_ok() && (all || happened.is_something() || happened.entry.starts_with("a manager")) {
            written = if json {
                serde_json::to_string(&happened).context("writing JSON").and_then(|text| print(&text))
            } else {
                print(&happened.to_string())
            };
        }
    })
    .with_context(name)?;
    written?;
    if until.is_some()
        && let Some(core) = &outcome.core
    {
        let around = Around {
            program: format!("ssi-init {}", outcome.about.version),
            build: outcome.about.build.clone(),
            restarts: outcome.about.starts,
            ..Around::default()
        };
        let snapshot = Snapshot::new(core, around, &[]);
        print(&if json { serde_json::to_string(&snapshot).context("writing JSON")? } else { snapshot.to_string() })?;
    }
    conclude(&outcome, json)?;
    Ok(u8::from(outcome.difference.is_some()))
}

fn conclude(outcome: &Outcome, json: bool) -> Result<()> {
    let own = ssi_init_manager::record::own_build();
    if json {
        let text = serde_json::json!({
            "steps": outcome.steps,
            "difference": outcome.difference,
            "ended": outcome.ended,
            "notes": outcome.notes,
            "recorded_build": outcome.about.build,
            "this_build": own,
        });
        return print(&text.to_string());
    }
    for note in &outcome.notes {
        print(&format!("note: {note}"))?;
    }
    let which = if own == outcome.about.build { "this build" } else { "another build than this one" };
    print(&format!("recorded by ssi-init {}, build {}: {which}", outcome.about.version, outcome.about.build))?;
    if let Some(ended) = &outcome.ended {
        print(&format!("the recording ends: {ended}"))?;
    }
    match &outcome.difference {
        Some(difference) => print(&difference.to_string()),
        None => print(&format!("{} steps, all as recorded", outcome.steps)),
    }
}
