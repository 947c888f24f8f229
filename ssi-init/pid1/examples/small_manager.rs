// SPDX-License-Identifier: GPL-2.0-or-later
//! The smallest manager: what the link to process 1 asks of one, and no units. It is also the manager of the tests.
//!
//! It writes what it hears to `/lab/log`, one line an event, and does what it finds in the file `/lab/do`, one line an
//! order; it takes the file away when it has read it. With the argument `churn` it starts processes without end.
//!
//! ```text
//!   keep NAME TEXT   drop NAME    snapshot TEXT   append TEXT    ping N       watchdog TIMEOUT_MS PET_FOR_MS
//!   spawn STATUS     orphan STATUS    nap MS      shutdown HOW STATUS [ARGUMENT]    reexec
//!   exec (itself)    hang         exit STATUS     raw HEX        deaf (stop reading, go on asking)
//!   run COMMAND
//! ```
#![allow(unsafe_code)]

use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::libc;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, memfd_create};
use ssi_pid1::link::{Link, LinkError, Packet};
use ssi_pid1::protocol::{FromPid1, How, Name, ToPid1, VERSION};

/// As many of its processes may be under way at once.
const CHURN: usize = 24;

struct Manager {
    link: Link,
    log: File,
    snapshot: Option<File>,
    over: bool,
    churn: bool,
    under_way: usize,
    number: u32,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Whoever looks from outside tells it by this from the processes that it starts, which are process 1's children too.
    let _ = nix::unistd::setsid();
    let link = Link::inherited()?;
    let log = OpenOptions::new().append(true).create(true).open("/lab/log")?;
    let churn = std::env::args().any(|argument| argument == "churn");
    let mut manager = Manager { link, log, snapshot: None, over: false, churn, under_way: 0, number: 0 };
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let node = std::env::var("SSI_NODE").unwrap_or_default();
    manager.note(&format!("begun {} {} SSI_NODE={node}", std::process::id(), arguments.join(" ")))?;
    manager.say(&ToPid1::Hello { version: VERSION })?;
    let mut packet = Packet::new();
    let mut pinged = Instant::now();
    loop {
        let wait = Timespec { tv_sec: 0, tv_nsec: if manager.churn { 0 } else { 5_000_000 } };
        let mut fds = [PollFd::new(&manager.link, PollFlags::IN)];
        if poll(&mut fds, Some(&wait))? > 0 {
            if !manager.link.receive(&mut packet)? {
                return Ok(());
            }
            manager.heard(&mut packet)?;
            continue;
        }
        if pinged.elapsed() > Duration::from_millis(250) {
            pinged = Instant::now();
            manager.say(&ToPid1::Ping { number: 0 })?;
        }
        if let Ok(orders) = fs::read_to_string("/lab/do") {
            fs::remove_file("/lab/do")?;
            for order in orders.lines() {
                manager.obey(order)?;
            }
        }
        manager.churn &= !fs::exists("/lab/stop")?;
        if manager.churn && manager.over && manager.under_way < CHURN {
            manager.number += 1;
            let status = i32::try_from(manager.number % 200)?;
            spawn(status)?;
            manager.under_way += 1;
        }
    }
}

impl Manager {
    fn say(&self, message: &ToPid1<'_>) -> Result<(), LinkError> {
        self.link.send(&message.encode(), None)
    }

    fn note(&mut self, line: &str) -> std::io::Result<()> {
        self.log.write_all(format!("{line}\n").as_bytes())
    }

    fn heard(&mut self, packet: &mut Packet) -> Result<(), Box<dyn std::error::Error>> {
        let fd = packet.take_fd();
        let text = match FromPid1::decode(packet.bytes())? {
            FromPid1::Hello(hello) => format!("{hello:?}"),
            FromPid1::Kept { name } => {
                format!("kept {} {}", String::from_utf8_lossy(name.as_bytes()), text_of(fd.map(File::from).as_mut())?)
            }
            FromPid1::Snapshot => {
                self.snapshot = fd.map(File::from);
                format!("snapshot {}", text_of(self.snapshot.as_mut())?)
            }
            FromPid1::HandedOver => {
                self.over = true;
                "over".to_owned()
            }
            FromPid1::Exit(exit) => {
                // Written down before it is acknowledged: that is the contract.
                self.note(&format!("exit {} {} {} {}", exit.seq, exit.pid, exit.code, exit.status))?;
                self.under_way = self.under_way.saturating_sub(1);
                return Ok(self.say(&ToPid1::Ack { seq: exit.seq })?);
            }
            FromPid1::Pong(counters) if counters.number == 0 => return Ok(()),
            other => format!("{other:?}"),
        };
        Ok(self.note(&text)?)
    }

    fn obey(&mut self, order: &str) -> Result<(), Box<dyn std::error::Error>> {
        let (verb, rest) = order.split_once(' ').unwrap_or((order, ""));
        let (first, second) = rest.split_once(' ').unwrap_or((rest, ""));
        match verb {
            "keep" => {
                let name = Name::new(first.as_bytes()).ok_or("no name")?;
                self.link.send(&ToPid1::Keep { name }.encode(), Some(memory(second)?.as_fd()))?;
            }
            "drop" => self.say(&ToPid1::Drop { name: Name::new(first.as_bytes()).ok_or("no name")? })?,
            "snapshot" => {
                let file = memory(rest)?;
                self.link.send(&ToPid1::Snapshot.encode(), Some(file.as_fd()))?;
                self.snapshot = Some(file.into());
            }
            "append" => self.snapshot.as_mut().ok_or("no snapshot")?.write_all(rest.as_bytes())?,
            "ping" => self.say(&ToPid1::Ping { number: first.parse()? })?,
            "watchdog" => {
                self.say(&ToPid1::Watchdog { timeout_ms: first.parse()?, pet_for_ms: second.parse()? })?;
            }
            "spawn" => spawn(first.parse()?)?,
            "orphan" => orphan(first.parse()?)?,
            "nap" => std::thread::sleep(Duration::from_millis(first.parse()?)),
            "shutdown" => {
                let how = How::ALL.into_iter().find(|how| how.word() == first).ok_or("no such end")?;
                let (status, argument) = second.split_once(' ').unwrap_or((second, ""));
                let message = ToPid1::Shutdown { how, status: status.parse()? };
                self.link.send(&message.encode(), Some(memory(argument)?.as_fd()))?;
            }
            "run" => {
                let ended = Command::new("/bin/sh").args(["-c", rest]).status()?;
                self.note(&format!("run {rest}: {ended}"))?;
            }
            "reexec" => self.say(&ToPid1::Reexec)?,
            "exec" => {
                rustix::io::fcntl_setfd(&self.link, rustix::io::FdFlags::empty())?;
                return Err(Command::new("/proc/self/exe").args(std::env::args().skip(1)).exec().into());
            }
            "hang" => std::thread::sleep(Duration::from_secs(600)),
            "exit" => std::process::exit(first.parse()?),
            "raw" => {
                let byte = |at: usize| u8::from_str_radix(first.get(at..at + 2).unwrap_or_default(), 16);
                let bytes: Vec<u8> = (0..first.len()).step_by(2).map(byte).collect::<Result<_, _>>()?;
                rustix::net::send(&self.link, &bytes, rustix::net::SendFlags::empty())?;
            }
            "deaf" => {
                rustix::io::ioctl_fionbio(&self.link, true)?;
                let begun = Instant::now();
                while begun.elapsed() < Duration::from_secs(2) {
                    let _ = self.say(&ToPid1::Ping { number: 1 });
                }
                rustix::io::ioctl_fionbio(&self.link, false)?;
            }
            _ => return Err(format!("no such order: {order}").into()),
        }
        Ok(())
    }
}

fn memory(text: &str) -> std::io::Result<OwnedFd> {
    let mut file = File::from(memfd_create("test", MemfdFlags::CLOEXEC)?);
    file.write_all(text.as_bytes())?;
    Ok(file.into())
}

fn text_of(file: Option<&mut File>) -> std::io::Result<String> {
    let mut text = String::new();
    if let Some(file) = file {
        file.rewind()?;
        file.read_to_string(&mut text)?;
    }
    Ok(text)
}

/// Starts a process that is a child of process 1, says that it was born, and ends.
fn spawn(status: i32) -> std::io::Result<()> {
    // SAFETY: as fork(2): this process has one thread, and the child gets a copy of everything. CLONE_PARENT makes it a
    // child of this one's parent.
    match unsafe { libc::syscall(libc::SYS_clone, libc::CLONE_PARENT, 0, 0, 0, 0) } {
        0 => born(status),
        -1 => Err(std::io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Starts a process that loses its parent.
fn orphan(status: i32) -> std::io::Result<()> {
    // SAFETY: this process has one thread.
    match unsafe { nix::unistd::fork() }? {
        nix::unistd::ForkResult::Parent { child } => {
            nix::sys::wait::waitpid(child, None)?;
            Ok(())
        }
        nix::unistd::ForkResult::Child => {
            // SAFETY: still one thread.
            if let Ok(nix::unistd::ForkResult::Child) = unsafe { nix::unistd::fork() } {
                while nix::unistd::getppid().as_raw() != 1 {
                    std::thread::yield_now();
                }
                born(status);
            }
            // SAFETY: ends the process at once.
            unsafe { libc::_exit(0) }
        }
    }
}

fn born(status: i32) -> ! {
    let told = OpenOptions::new()
        .append(true)
        .create(true)
        .open("/lab/born")
        .and_then(|mut file| file.write_all(format!("{} {status}\n", std::process::id()).as_bytes()));
    // SAFETY: ends the process at once.
    unsafe { libc::_exit(if told.is_ok() { status } else { 250 }) }
}
