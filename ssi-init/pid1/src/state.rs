// SPDX-License-Identifier: GPL-2.0-or-later
//! What process 1 takes with it when it is executed anew: descriptors by their numbers, and this text in a memory file.
//!
//! ```text
//!   ssi-init 1                              the format's version; a program that does not know it does not start
//!   starts 3
//!   seq 812                                 the number of the next exit
//!   told 811 4242 1                         an exit that is not acknowledged: number, process, was it sent
//!   manager 1207 3 1 0 52011                process, link, greeted, handover to be begun anew, born (ms)
//!   kept 14 sshd.socket/0
//!   …
//! ```
//!
//! Text, so that another version can leave out what it does not know, and a person can read it. It is written without
//! asking for memory (it is written after a fault too), and read by the new program, which may.

use std::collections::BTreeSet;
use std::fmt::{self, Write as _};
use std::io::Read as _;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd, RawFd};
use std::time::Duration;

use nix::errno::Errno;
use ssi_pid1::protocol::{Name, Signal};

use crate::sys::Moment;
use crate::sys::process::{across_exec, adopt};

/// The version that this program writes and reads.
pub(crate) const FORMAT: u32 = 1;

/// The manager, as it is carried over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CarriedManager {
    pub(crate) pid: i32,
    pub(crate) greeted: bool,
    /// The handover was not through.
    pub(crate) again: bool,
    pub(crate) born: Moment,
}

/// Numbers that are carried over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Numbers {
    pub(crate) starts: u32,
    pub(crate) seq: u64,
    /// Number, process, was it sent.
    pub(crate) told: Option<(u64, i32, bool)>,
    pub(crate) booted_us: u64,
    pub(crate) node: u32,
    pub(crate) flags: u32,
    pub(crate) shell: Option<i32>,
    /// Faults of process 1 itself, and when the last was.
    pub(crate) faults: u32,
    pub(crate) last_fault: Moment,
    pub(crate) manager: Option<CarriedManager>,
}

/// A watchdog that is carried over: device, time-out, until when.
pub(crate) type CarriedWatchdog<F> = (F, Duration, Option<Moment>);

/// What was read.
#[derive(Debug, Default)]
pub(crate) struct Carried {
    pub(crate) numbers: Numbers,
    pub(crate) link: Option<OwnedFd>,
    pub(crate) kept: Vec<(Vec<u8>, OwnedFd)>,
    pub(crate) snapshot: Option<OwnedFd>,
    pub(crate) watchdog: Option<CarriedWatchdog<OwnedFd>>,
    pub(crate) signals: Vec<Signal>,
}

/// Writes the text, and lets each descriptor that it names stay open across exec.
pub(crate) struct Writer<'a> {
    file: BorrowedFd<'a>,
    failed: Option<Errno>,
}

impl fmt::Write for Writer<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.bytes(text.as_bytes());
        Ok(())
    }
}

impl<'a> Writer<'a> {
    /// Begins the text in this memory file, in place of what it holds.
    pub(crate) fn begin(file: BorrowedFd<'a>) -> Self {
        let begun =
            rustix::fs::ftruncate(file, 0).and_then(|()| rustix::fs::seek(file, rustix::fs::SeekFrom::Start(0)));
        let failed = begun.err().map(|e| Errno::from_raw(e.raw_os_error()));
        let mut writer = Self { file, failed };
        writer.line(format_args!("ssi-init {FORMAT}"));
        writer
    }

    fn bytes(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && self.failed.is_none() {
            match rustix::io::write(self.file, bytes) {
                Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => self.failed = Some(Errno::from_raw(error.raw_os_error())),
            }
        }
    }

    fn line(&mut self, line: fmt::Arguments<'_>) {
        // Faults are kept in `failed`.
        let _ = self.write_fmt(line);
        self.bytes(b"\n");
    }

    fn stays(&mut self, fd: BorrowedFd<'_>) -> RawFd {
        if let Err(error) = across_exec(fd, true) {
            self.failed = Some(error);
        }
        fd.as_raw_fd()
    }

    /// The numbers, and the link to the manager that they speak of.
    pub(crate) fn numbers(&mut self, numbers: &Numbers, link: Option<BorrowedFd<'_>>) {
        let n = numbers;
        self.line(format_args!("starts {}", n.starts));
        self.line(format_args!("seq {}", n.seq));
        self.line(format_args!("booted {}", n.booted_us));
        self.line(format_args!("node {}", n.node));
        self.line(format_args!("flags {}", n.flags));
        self.line(format_args!("faults {} {}", n.faults, n.last_fault.millis()));
        if let Some((seq, pid, sent)) = n.told {
            self.line(format_args!("told {seq} {pid} {}", u8::from(sent)));
        }
        if let Some(pid) = n.shell {
            self.line(format_args!("shell {pid}"));
        }
        if let Some(m) = n.manager {
            let link = link.map_or(-1, |link| self.stays(link));
            let (greeted, again) = (u8::from(m.greeted), u8::from(m.again));
            self.line(format_args!("manager {} {link} {greeted} {again} {}", m.pid, m.born.millis()));
        }
    }

    /// One kept descriptor.
    pub(crate) fn kept(&mut self, name: Name<'_>, fd: BorrowedFd<'_>) {
        let number = self.stays(fd);
        let _ = write!(self, "kept {number} ");
        self.bytes(name.as_bytes());
        self.bytes(b"\n");
    }

    /// The snapshot.
    pub(crate) fn snapshot(&mut self, fd: BorrowedFd<'_>) {
        let number = self.stays(fd);
        self.line(format_args!("snapshot {number}"));
    }

    /// The watchdog.
    pub(crate) fn watchdog(&mut self, (fd, timeout, until): CarriedWatchdog<BorrowedFd<'_>>) {
        let number = self.stays(fd);
        let until = until.map_or(0, Moment::millis);
        self.line(format_args!("watchdog {number} {} {until}", timeout.as_millis()));
    }

    /// A signal that was not told yet.
    pub(crate) fn signal(&mut self, s: Signal) {
        self.line(format_args!("signal {} {} {} {}", s.number, s.code, s.pid, s.uid));
    }

    /// Ends the text.
    pub(crate) fn end(mut self) -> Result<(), Errno> {
        self.stays(self.file);
        self.failed.map_or(Ok(()), Err)
    }
}

impl Carried {
    /// Reads what the program before this one wrote into the memory file of this number. `None`: there is no such file,
    /// or it is of a format that this program does not know.
    pub(crate) fn read(number: RawFd) -> Option<(OwnedFd, Self)> {
        let file = adopt(number)?;
        rustix::fs::seek(&file, rustix::fs::SeekFrom::Start(0)).ok()?;
        let mut file = std::fs::File::from(file);
        let mut text = vec![];
        file.read_to_end(&mut text).ok()?;
        let file = OwnedFd::from(file);
        let mut taken = BTreeSet::from([file.as_raw_fd()]);
        let carried = Self::parse(&text, |number| {
            // A number that is named twice is a mistake in the text: the first has it.
            if taken.insert(number) { adopt(number) } else { None }
        })?;
        Some((file, carried))
    }

    fn parse(text: &[u8], mut adopt: impl FnMut(RawFd) -> Option<OwnedFd>) -> Option<Self> {
        let mut lines = text.split(|b| *b == b'\n');
        if lines.next()? != format!("ssi-init {FORMAT}").as_bytes() {
            return None;
        }
        let mut carried = Self::default();
        for line in lines {
            // A line that is not understood is of a later version, which has done without it before.
            let _ = carried.line(line, &mut adopt);
        }
        Some(carried)
    }

    fn line(&mut self, line: &[u8], adopt: &mut impl FnMut(RawFd) -> Option<OwnedFd>) -> Option<()> {
        let (word, rest) = split(line)?;
        let n = &mut self.numbers;
        let mut fields = Fields(rest);
        match word {
            b"starts" => n.starts = fields.number()?,
            b"seq" => n.seq = fields.number()?,
            b"booted" => n.booted_us = fields.number()?,
            b"node" => n.node = fields.number()?,
            b"flags" => n.flags = fields.number()?,
            b"faults" => {
                n.faults = fields.number()?;
                n.last_fault = Moment::from_millis(fields.number()?);
            }
            b"told" => n.told = Some((fields.number()?, fields.number()?, fields.number::<u8>()? != 0)),
            b"shell" => n.shell = Some(fields.number()?),
            b"manager" => {
                let (pid, link) = (fields.number()?, fields.number()?);
                let (greeted, again) = (fields.number::<u8>()? != 0, fields.number::<u8>()? != 0);
                let born = Moment::from_millis(fields.number()?);
                n.manager = Some(CarriedManager { pid, greeted, again, born });
                self.link = adopt(link);
            }
            b"kept" => {
                let (number, name) = split(rest)?;
                let number = parse(number)?;
                Name::new(name)?;
                self.kept.push((name.to_vec(), adopt(number)?));
            }
            b"snapshot" => self.snapshot = adopt(fields.number()?),
            b"watchdog" => {
                let device = adopt(fields.number()?)?;
                let (timeout, until) = (Duration::from_millis(fields.number()?), fields.number()?);
                self.watchdog = Some((device, timeout, (until != 0).then(|| Moment::from_millis(until))));
            }
            b"signal" => self.signals.push(Signal {
                number: fields.number()?,
                code: fields.number()?,
                pid: fields.number()?,
                uid: fields.number()?,
            }),
            _ => return None,
        }
        Some(())
    }
}

struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn number<T: std::str::FromStr>(&mut self) -> Option<T> {
        let (field, rest) = split(self.0).unwrap_or((self.0, b""));
        self.0 = rest;
        parse(field)
    }
}

fn split(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let blank = line.iter().position(|b| *b == b' ')?;
    Some((&line[..blank], &line[blank + 1..]))
}

fn parse<T: std::str::FromStr>(field: &[u8]) -> Option<T> {
    std::str::from_utf8(field).ok()?.parse().ok()
}

/// Is `file` to be closed on exec again, with all that the text names? For when the exec failed.
pub(crate) fn close_on_exec_again<'a>(fds: impl Iterator<Item = BorrowedFd<'a>>) {
    for fd in fds {
        // It is open: nothing else can fail here.
        let _ = across_exec(fd.as_fd(), false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::os::fd::AsRawFd;

    fn memfd() -> OwnedFd {
        rustix::fs::memfd_create("state", rustix::fs::MemfdFlags::CLOEXEC).unwrap()
    }

    fn stays_open(fd: &OwnedFd) -> bool {
        !rustix::io::fcntl_getfd(fd).unwrap().contains(rustix::io::FdFlags::CLOEXEC)
    }

    #[test]
    fn what_is_written_is_read() {
        let file = memfd();
        let fds: Vec<OwnedFd> = (0..4).map(|_| memfd()).collect();
        let numbers = Numbers {
            starts: 3,
            seq: u64::MAX,
            told: Some((7, 42, true)),
            booted_us: 5,
            node: 2,
            flags: 4,
            shell: Some(9),
            faults: 1,
            last_fault: Moment::from_millis(11),
            manager: Some(CarriedManager { pid: 10, greeted: true, again: false, born: Moment::from_millis(99) }),
        };
        let signal = Signal { number: 15, code: -6, pid: 0, uid: u32::MAX };
        let mut writer = Writer::begin(file.as_fd());
        writer.numbers(&numbers, Some(fds[0].as_fd()));
        writer.kept(Name::new(b"a b\xff").unwrap(), fds[1].as_fd());
        writer.snapshot(fds[2].as_fd());
        writer.watchdog((fds[3].as_fd(), Duration::from_secs(8), Some(Moment::from_millis(1))));
        writer.signal(signal);
        writer.end().unwrap();
        assert!(fds.iter().chain([&file]).all(stays_open));

        rustix::fs::seek(&file, rustix::fs::SeekFrom::Start(0)).unwrap();
        let mut text = vec![];
        std::fs::File::from(file.try_clone().unwrap()).read_to_end(&mut text).unwrap();
        let mut asked = vec![];
        let carried = Carried::parse(&text, |number| {
            asked.push(number);
            Some(memfd())
        })
        .unwrap();
        assert_eq!(asked, fds.iter().map(AsRawFd::as_raw_fd).collect::<Vec<_>>());
        assert_eq!(carried.numbers, numbers);
        assert_eq!(carried.kept[0].0, b"a b\xff");
        assert!(carried.snapshot.is_some() && carried.link.is_some());
        let (_, timeout, until) = carried.watchdog.unwrap();
        assert_eq!((timeout, until), (Duration::from_secs(8), Some(Moment::from_millis(1))));
        assert_eq!(carried.signals, [signal]);
    }

    #[test]
    fn another_format_is_refused_and_an_unknown_line_is_not() {
        assert!(Carried::parse(b"ssi-init 2\nstarts 3\n", |_| None).is_none());
        assert!(Carried::parse(b"", |_| None).is_none());
        let carried =
            Carried::parse(b"ssi-init 1\nfuture 1 2\nstarts x\nstarts 3\nkept 5\nkept 5 \n", |_| None).unwrap();
        assert_eq!((carried.numbers.starts, carried.kept.len()), (3, 0));
    }

    proptest! {
        #[test]
        fn any_text_is_read(text: Vec<u8>, lines in prop::collection::vec("(manager|kept|told|watchdog|signal|seq)( [-0-9a-z]{0,22}){0,6}", 0..5)) {
            let mut whole = b"ssi-init 1\n".to_vec();
            whole.extend_from_slice(lines.join("\n").as_bytes());
            whole.extend(text);
            prop_assert!(Carried::parse(&whole, |_| None).is_some());
        }
    }
}
