// SPDX-License-Identifier: GPL-2.0-or-later
//! A manager whose only unit is a crowd of short processes, which it counts; for the tests of what outlives it.
//!
//! It can be killed at any moment, and whatever it says after its next start is checked against what it said before:
//! what is wrong goes to the file `broken` in the lab directory (`/lab`, or the argument `lab=…`). Each process that it
//! starts writes a line to `born`; each exit is counted once, in the log, in the same batch as the fact that it was
//! decided. So in the end the count is the number of lines.
//!
//! Files that ask for something: `stop` (no more processes), `exec` (execute yourself anew; taken away).
#![allow(unsafe_code)]

use std::error::Error;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::os::unix::fs::FileExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use nix::libc;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, memfd_create};
use ssi_keep::exits::{Exits, Heard};
use ssi_keep::link::{Event, How, Link, Name};
use ssi_keep::log::Log;

/// As many processes may be under way at once.
const CROWD: u64 = 12;
/// So many values of this size are written in turn: dead bytes come quickly, and with them compactions.
const BALLAST: u64 = 16;
const BALLAST_SIZE: usize = 12_000;
/// So many descriptors are kept.
const KEPT: usize = 20;

/// What is counted, in the log's order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    batch: u64,
    exits: u64,
    statuses: u64,
}

impl Counts {
    fn bytes(self) -> Vec<u8> {
        [self.batch, self.exits, self.statuses].map(u64::to_le_bytes).concat()
    }

    fn of(bytes: &[u8]) -> Option<Self> {
        let mut numbers = bytes.chunks_exact(8).map(|chunk| chunk.try_into().map(u64::from_le_bytes).ok());
        Some(Self { batch: numbers.next()??, exits: numbers.next()??, statuses: numbers.next()?? })
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let lab = std::env::args().find_map(|argument| argument.strip_prefix("lab=").map(PathBuf::from));
    let lab = lab.unwrap_or_else(|| "/lab".into());
    let result = run(&lab);
    if let Err(error) = &result {
        note(&lab, "broken", &format!("{error}"))?;
    }
    result
}

fn run(lab: &Path) -> Result<(), Box<dyn Error>> {
    let mut link = Link::find()?;
    let handover = link.hello(Duration::from_secs(20))?;
    check_kept(&mut link, &handover)?;
    let mut log = match handover.snapshot {
        Some(file) => {
            let (log, loaded) = Log::open(file.into())?;
            if let Some(dropped) = loaded.dropped {
                note(lab, "dropped", &dropped.to_string())?;
            }
            log
        }
        None => Log::create()?,
    };
    let mut counts = log.get("counts")?.as_deref().and_then(Counts::of).unwrap_or_default();
    check_log(lab, &log, counts)?;
    // What was found is what the next one must find at least.
    tell(lab, counts)?;
    let mut exits = Exits::load(&log, handover.greeting.booted_us)?;
    note(lab, "begun", &format!("{} starts {} {counts:?}", std::process::id(), handover.greeting.starts))?;

    let mut under_way = 0;
    let mut next_status = counts.batch;
    let mut ends = false;
    loop {
        let stop = lab.join("stop").exists();
        if lab.join("exec").exists() {
            fs::remove_file(lab.join("exec"))?;
            link.before_exec(Duration::from_secs(5))?;
            return Err(Command::new(std::env::current_exe()?).args(std::env::args().skip(1)).exec().into());
        }
        while !stop && under_way < CROWD {
            next_status += 1;
            spawn(lab, (next_status % 100) as i32, link.units_are_siblings())?;
            under_way += 1;
        }
        wait(&link, if stop { 50 } else { 10 })?;
        let before = counts;
        while let Some(event) = link.receive()? {
            match event {
                Event::Exit(exit) => {
                    if exits.heard(&exit) == Heard::New {
                        counts.exits += 1;
                        counts.statuses += exit.status as u64;
                    }
                    exits.decided(&mut log, exit.seq)?;
                    under_way = under_way.saturating_sub(1);
                }
                Event::SnapshotHeld => log.held(),
                Event::Signal(signal) if signal.number == libc::SIGTERM => ends = !link.units_are_siblings(),
                Event::Pong(_) | Event::Signal(_) => note(lab, "heard", &format!("{event:?}"))?,
                other => return Err(format!("{other:?}").into()),
            }
        }
        if counts != before {
            counts.batch += 1;
            log.put("counts", &counts.bytes())?;
            log.put(&format!("ballast/{}", counts.batch % BALLAST), &ballast(counts.batch))?;
            if counts.batch.is_multiple_of(5) {
                log.put("fifth", b"x")?;
            } else {
                log.remove("fifth")?;
            }
        }
        let committed = log.commit()?;
        if counts != before {
            tell(lab, counts)?;
        }
        for seq in exits.committed(&committed) {
            link.ack(seq)?;
        }
        if log.wants_compaction() {
            log.compact()?;
            note(lab, "compacted", &counts.batch.to_string())?;
        }
        if let Some(file) = log.to_hand_over() {
            link.snapshot(file)?;
        }
        link.tick(Instant::now())?;
        if stop {
            fs::write(lab.join("count.new"), format!("{} {}\n", counts.exits, counts.statuses))?;
            fs::rename(lab.join("count.new"), lab.join("count"))?;
        }
        if ends {
            let ended_by = link.shutdown(How::Exit, 3, None)?;
            note(lab, "heard", &format!("{ended_by:?}"))?;
            if let ssi_keep::link::EndedBy::Itself(status) = ended_by {
                std::process::exit(status.into());
            }
        }
    }
}

fn wait(link: &Link, at_most: u64) -> Result<(), Box<dyn Error>> {
    let now = Instant::now();
    let until = link.next_deadline().map_or(Duration::MAX, |at| at.saturating_duration_since(now));
    let span = until.min(Duration::from_millis(at_most));
    let mut flags = PollFlags::IN;
    flags.set(PollFlags::OUT, link.interest().write);
    let time = Timespec { tv_sec: 0, tv_nsec: span.subsec_nanos().into() };
    poll(&mut [PollFd::new(link, flags)], Some(&time))?;
    Ok(())
}

fn ballast(batch: u64) -> Vec<u8> {
    batch.to_le_bytes().repeat(BALLAST_SIZE / 8)
}

/// The state is one that was committed, and it is the last told or the one after.
fn check_log(lab: &Path, log: &Log, counts: Counts) -> Result<(), Box<dyn Error>> {
    let told = fs::read(lab.join("told")).ok().and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_le_bytes);
    if !(told..=told + 1).contains(&counts.batch) {
        return Err(format!("the log has batch {}, the last that was told is {told}", counts.batch).into());
    }
    for place in 0..BALLAST {
        let last = (counts.batch.saturating_sub(BALLAST - 1)..=counts.batch).find(|n| n % BALLAST == place);
        let wanted = last.filter(|n| *n > 0).map(ballast);
        if log.get(&format!("ballast/{place}"))? != wanted {
            return Err(format!("ballast {place} is not that of batch {}", counts.batch).into());
        }
    }
    if log.get("fifth")?.is_some() != (counts.batch > 0 && counts.batch.is_multiple_of(5)) {
        return Err(format!("what is there at each fifth batch, at batch {}", counts.batch).into());
    }
    Ok(())
}

/// The first manager has descriptors kept; the others get them, until one did all of them, as many as it got to.
fn check_kept(link: &mut Link, handover: &ssi_keep::link::Handover) -> Result<(), Box<dyn Error>> {
    for (name, fd) in &handover.kept {
        let mut text = vec![0; name.len()];
        std::fs::File::from(fd.try_clone()?).read_exact_at(&mut text, 0)?;
        if text != *name {
            return Err(format!("{} holds something else", String::from_utf8_lossy(name)).into());
        }
    }
    if !handover.lost.is_empty() || (handover.snapshot.is_some() && handover.kept.len() != KEPT) {
        return Err(format!("{} descriptors were kept", handover.kept.len()).into());
    }
    for number in handover.kept.len()..KEPT {
        let name = format!("socket {number}");
        let file = std::fs::File::from(memfd_create("kept", MemfdFlags::CLOEXEC)?);
        file.write_all_at(name.as_bytes(), 0)?;
        link.keep(Name::new(name.as_bytes()).ok_or("no name")?, file.as_fd())?;
    }
    Ok(())
}

fn tell(lab: &Path, counts: Counts) -> std::io::Result<()> {
    // In place: it may be killed in the midst of it, and 8 bytes within a page are not torn by that.
    let told = OpenOptions::new().write(true).create(true).truncate(false).open(lab.join("told"))?;
    told.write_all_at(&counts.batch.to_le_bytes(), 0)
}

fn note(lab: &Path, file: &str, line: &str) -> std::io::Result<()> {
    OpenOptions::new().append(true).create(true).open(lab.join(file))?.write_all(format!("{line}\n").as_bytes())
}

/// Starts a process that says that it was born, and ends.
fn spawn(lab: &Path, status: i32, sibling: bool) -> std::io::Result<()> {
    let flags = if sibling { libc::CLONE_PARENT } else { libc::SIGCHLD };
    // SAFETY: as fork(2): this process has one thread, and the child gets a copy of everything.
    match unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) } {
        0 => {
            let told = note(lab, "born", &status.to_string());
            // SAFETY: ends the process at once.
            unsafe { libc::_exit(if told.is_ok() { status } else { 250 }) }
        }
        -1 => Err(std::io::Error::last_os_error()),
        _ => Ok(()),
    }
}
