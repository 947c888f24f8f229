// SPDX-License-Identifier: GPL-2.0-or-later
//! The messages between process 1 and the manager, and their bytes.
//!
//! Each message is one packet, of fixed layout, little-endian:
//!
//! ```text
//!    0        2        4                 8
//!   +--------+--------+-----------------+----------------------- - -
//!   | kind   | size   | 0               | body
//!   +--------+--------+-----------------+----------------------- - -
//!     u16      u16      u32               size - 8 bytes; size counts the whole packet
//!
//!   manager -> process 1                            fd
//!    1 Hello     | version u32 | 0 u32 |
//!    2 Keep      | name, 1 to 255 bytes …           the descriptor to keep
//!    3 Drop      | name, 1 to 255 bytes …
//!    4 Snapshot  |                                  the memory file; none: forget the one held
//!    5 Ack       | seq u64 |
//!    6 Ping      | number u64 |
//!    7 Shutdown  | how u8 | status u8 | 0 u16 | 0 u32 |   optional: a file with the argument for reboot(2)
//!    8 Reexec    |
//!    9 Watchdog  | timeout_ms u32 | pet_for_ms u32 |
//!
//!   process 1 -> manager
//!   65 Hello     | version u32 | node u32 | flags u32 | starts u32 | kept u32 | silence_ms u32 | booted_us u64 |
//!   66 Kept      | name, 1 to 255 bytes …           the descriptor
//!   67 Snapshot  |                                  the memory file
//!   68 HandedOver|
//!   69 Exit      | seq u64 | pid i32 | code i32 | status i32 | uid u32 | user_us u64 | system_us u64 | max_rss_kib u64 |
//!   70 Signal    | number i32 | code i32 | pid i32 | uid u32 |
//!   71 Pong      | number u64 | reaped u64 | told u64 | starts u32 | kept u32 | allocations u64 |
//!   72 Refused   | kind u16 | why u16 | errno i32 |
//! ```
//!
//! Versions: each side says in its `Hello` the highest it speaks, and both then speak the lower of the two. That happens:
//! a package upgrade replaces the manager's file while the old process 1 still runs, and it may have to start the new
//! manager. A message of an unknown kind is answered with `Refused` and otherwise passed over.
//!
//! No codec crate: nothing here may allocate, and the layout must be the same for every version of either program.

use thiserror::Error;

mod codec;

pub use codec::Frame;

/// The version that this code speaks.
pub const VERSION: u32 = 1;
/// The longest name of a kept descriptor, in bytes; `FDNAME_MAX` of sd_listen_fds_with_names(3).
pub const NAME_MAX: usize = 255;
/// The longest message, in bytes.
pub const MESSAGE_MAX: usize = HEAD + NAME_MAX;
/// The bytes before the body.
const HEAD: usize = 8;

/// Why a message is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BadMessage {
    /// Fewer bytes than a head has.
    #[error("a message of {0} bytes is shorter than its head of 8")]
    Short(usize),
    /// The head's size is not the packet's.
    #[error("a message says that it has {said} bytes and has {has}")]
    Size {
        /// What the head says.
        said: usize,
        /// What the packet has.
        has: usize,
    },
    /// A body that does not have the size of its kind.
    #[error("a message of kind {kind} has a body of {has} bytes, which is not its size")]
    Body {
        /// The message's kind.
        kind: u16,
        /// The size of its body.
        has: usize,
    },
    /// A kind that this version does not know.
    #[error("a message is of kind {0}, which this version does not know")]
    Kind(u16),
    /// A value that the field cannot have.
    #[error("a message of kind {kind} has the value {value} where it cannot be")]
    Value {
        /// The message's kind.
        kind: u16,
        /// The value.
        value: u64,
    },
    /// A name that is empty, too long or has control bytes in it.
    #[error("a message of kind {0} has a name that is empty, too long, or has control bytes in it")]
    Name(u16),
}

impl BadMessage {
    /// The kind of the message, as far as it could be read.
    pub fn kind(self) -> u16 {
        match self {
            Self::Short(_) | Self::Size { .. } => 0,
            Self::Body { kind, .. } | Self::Kind(kind) | Self::Value { kind, .. } | Self::Name(kind) => kind,
        }
    }
}

/// The name of a kept descriptor: 1 to [`NAME_MAX`] bytes, none of them a control byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name<'a>(&'a [u8]);

impl<'a> Name<'a> {
    /// Takes bytes for a name, if they are one.
    pub fn new(bytes: &'a [u8]) -> Option<Self> {
        let good = (1..=NAME_MAX).contains(&bytes.len()) && bytes.iter().all(|&b| b >= b' ' && b != 0x7f);
        good.then_some(Self(bytes))
    }

    /// The bytes.
    pub fn as_bytes(self) -> &'a [u8] {
        self.0
    }
}

/// What the machine is to do once everything is down; reboot(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum How {
    /// Stop the processor, leave the power on.
    Halt = 1,
    /// Take the power away.
    PowerOff = 2,
    /// Start anew, through the firmware.
    Reboot = 3,
    /// Start the kernel that was loaded by kexec_load(2); without one, through the firmware.
    Kexec = 4,
    /// Process 1 ends with a status of its own: only in a container. On a machine it powers off.
    Exit = 5,
}

impl How {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Halt, Self::PowerOff, Self::Reboot, Self::Kexec, Self::Exit];

    /// The word by which the executables of `/usr/lib/systemd/system-shutdown` and the initramfs's `/shutdown` know it
    /// (systemd-shutdown(8)).
    pub fn word(self) -> &'static str {
        match self {
            Self::Halt => "halt",
            Self::PowerOff => "poweroff",
            Self::Reboot => "reboot",
            Self::Kexec => "kexec",
            Self::Exit => "exit",
        }
    }

    /// The one that has this number.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|how| *how as u8 == number)
    }
}

/// What the manager says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToPid1<'a> {
    /// I am here (for the first time or anew): give me what is kept.
    Hello {
        /// The highest version that the manager speaks.
        version: u32,
    },
    /// Keep the descriptor that comes with this; one of the same name is closed.
    Keep {
        /// Under which name.
        name: Name<'a>,
    },
    /// Close the kept descriptor of this name; none of that name is no fault.
    Drop {
        /// Which.
        name: Name<'a>,
    },
    /// The memory file that comes with this is the snapshot from now on; without one there is none from now on.
    Snapshot,
    /// The exit of this number is known for good.
    Ack {
        /// The exit's number.
        seq: u64,
    },
    /// I am alive. Answered by `Pong`.
    Ping {
        /// Any number; comes back.
        number: u64,
    },
    /// All units are down: end what is left, unmount, and do this. A file that comes with it holds the argument for
    /// reboot(2)'s `LINUX_REBOOT_CMD_RESTART2`, at most 255 bytes.
    Shutdown {
        /// What to do in the end.
        how: How,
        /// The status for [`How::Exit`].
        status: u8,
    },
    /// Execute yourself anew, with all you keep. The link stays; nothing is said on it but `Refused` when it failed.
    Reexec,
    /// Keep the hardware watchdog.
    Watchdog {
        /// After how long without petting the hardware is to reset the machine, in ms; 0 disarms it, and with
        /// [`Self::PET_FOR_EVER`] has it as the boot's settings have it.
        timeout_ms: u32,
        /// For how long from now process 1 is to pet it, in ms, unless told again; [`Self::PET_FOR_EVER`]: for as long
        /// as it lives. This is how a node that must not go on without quorum makes sure that it will not.
        pet_for_ms: u32,
    },
}

/// What process 1 says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FromPid1<'a> {
    /// The answer to `Hello`; the handover follows.
    Hello(Greeting),
    /// A kept descriptor; comes with it.
    Kept {
        /// Its name.
        name: Name<'a>,
    },
    /// The snapshot; comes with it. Not sent where there is none.
    Snapshot,
    /// That was all that is kept.
    HandedOver,
    /// A child is dead. Said again to the next manager until acknowledged; the next exit is told only after that.
    Exit(Exit),
    /// Process 1 has got a signal that is the manager's to answer.
    Signal(Signal),
    /// The answer to `Ping`.
    Pong(Counters),
    /// Something was not done.
    Refused(Refusal),
}

/// What process 1 tells of itself to a manager that says hello.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Greeting {
    /// The highest version that process 1 speaks.
    pub version: u32,
    /// The node's number; 0 where there is no cluster.
    pub node: u32,
    /// [`Greeting::CONTAINER`], [`Greeting::REEXECUTED`], [`Greeting::FIRST_BOOT`].
    pub flags: u32,
    /// How many managers were started before this one since boot. 0: this is the boot.
    pub starts: u32,
    /// How many descriptors are kept; so many `Kept` follow.
    pub kept: u32,
    /// After how many ms of silence a manager is taken for hung, and killed; 0: never.
    pub silence_ms: u32,
    /// When process 1 began, `CLOCK_MONOTONIC`, in µs.
    pub booted_us: u64,
}

impl Greeting {
    /// This is a container or a namespace node, not a machine.
    pub const CONTAINER: u32 = 1;
    /// Process 1 has executed itself anew since boot.
    pub const REEXECUTED: u32 = 2;
    /// `/etc` was never booted before (`ConditionFirstBoot=`).
    pub const FIRST_BOOT: u32 = 4;
}

/// How a child ended; `siginfo_t` and `struct rusage` of waitid(2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exit {
    /// Rises by one with each exit.
    pub seq: u64,
    /// Which process.
    pub pid: i32,
    /// `CLD_EXITED`, `CLD_KILLED` or `CLD_DUMPED`.
    pub code: i32,
    /// The exit status, or the signal.
    pub status: i32,
    /// Its real user.
    pub uid: u32,
    /// Processor time in user mode, its own and that of the children it waited for, in µs.
    pub user_us: u64,
    /// The same in the kernel, in µs.
    pub system_us: u64,
    /// The most memory it had resident, in KiB.
    pub max_rss_kib: u64,
}

/// A signal that process 1 has got; `signalfd_siginfo` of signalfd(2). Of several of one number that came before the
/// manager could be told, it is told the last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Signal {
    /// Which.
    pub number: i32,
    /// `si_code`.
    pub code: i32,
    /// Who sent it; 0: the kernel, or a process outside of this pid namespace.
    pub pid: i32,
    /// As which user.
    pub uid: u32,
}

/// What process 1 has counted since it was executed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// The number of the `Ping`.
    pub number: u64,
    /// Exits that were acknowledged and reaped.
    pub reaped: u64,
    /// Exits that were told, repetitions too.
    pub told: u64,
    /// Managers started since boot.
    pub starts: u32,
    /// Descriptors kept.
    pub kept: u32,
    /// Allocations since its loop began: 0, or something is wrong.
    pub allocations: u64,
}

/// What was not done, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The kind of the message that asked for it; 0: it could not be read.
    pub kind: u16,
    /// Why.
    pub why: Why,
    /// What the system said, or 0; errno(3).
    pub errno: i32,
}

/// Why something was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Why {
    /// The message is of an unknown kind, or is none.
    BadMessage = 1,
    /// A descriptor should have come with it and did not, or was lost (too many open files).
    NoDescriptor = 2,
    /// As many descriptors are kept as can be.
    Full = 3,
    /// The system refused; `errno` says what.
    System = 4,
    /// The new program was tried first and does not work.
    NewProgramFails = 5,
    /// Nothing was said before but this: a link begins with `Hello`.
    NotGreeted = 6,
}

impl Why {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::BadMessage, Self::NoDescriptor, Self::Full, Self::System, Self::NewProgramFails, Self::NotGreeted];
}
