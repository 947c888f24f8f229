// SPDX-License-Identifier: GPL-2.0-or-later
//! Names of the ways a process ends: signals (signal(7)) and exit statuses (systemd.exec(5), "Process Exit Codes").

/// Lowest real-time signal that programs may use, as glibc has it; the kernel's first two belong to its threads.
pub const SIGRTMIN: i32 = 34;
/// Highest real-time signal.
pub const SIGRTMAX: i32 = 64;

/// The named signals by number, without `SIG`.
const SIGNALS: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM", "TERM",
    "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO",
    "PWR", "SYS",
];

/// The exit statuses that have names.
const EXIT_STATUSES: &[(u8, &str)] = &[
    (0, "SUCCESS"),
    (1, "FAILURE"),
    (2, "INVALIDARGUMENT"),
    (3, "NOTIMPLEMENTED"),
    (4, "NOPERMISSION"),
    (5, "NOTINSTALLED"),
    (6, "NOTCONFIGURED"),
    (7, "NOTRUNNING"),
    (64, "USAGE"),
    (65, "DATAERR"),
    (66, "NOINPUT"),
    (67, "NOUSER"),
    (68, "NOHOST"),
    (69, "UNAVAILABLE"),
    (70, "SOFTWARE"),
    (71, "OSERR"),
    (72, "OSFILE"),
    (73, "CANTCREAT"),
    (74, "IOERR"),
    (75, "TEMPFAIL"),
    (76, "PROTOCOL"),
    (77, "NOPERM"),
    (78, "CONFIG"),
    (200, "CHDIR"),
    (201, "NICE"),
    (202, "FDS"),
    (203, "EXEC"),
    (204, "MEMORY"),
    (205, "LIMITS"),
    (206, "OOM_ADJUST"),
    (207, "SIGNAL_MASK"),
    (208, "STDIN"),
    (209, "STDOUT"),
    (210, "CHROOT"),
    (211, "IOPRIO"),
    (212, "TIMERSLACK"),
    (213, "SECUREBITS"),
    (214, "SETSCHEDULER"),
    (215, "CPUAFFINITY"),
    (216, "GROUP"),
    (217, "USER"),
    (218, "CAPABILITIES"),
    (219, "CGROUP"),
    (220, "SETSID"),
    (221, "CONFIRM"),
    (222, "STDERR"),
    (224, "PAM"),
    (225, "NETWORK"),
    (226, "NAMESPACE"),
    (227, "NO_NEW_PRIVILEGES"),
    (228, "SECCOMP"),
    (229, "SELINUX_CONTEXT"),
    (230, "PERSONALITY"),
    (231, "APPARMOR"),
    (232, "ADDRESS_FAMILIES"),
    (233, "RUNTIME_DIRECTORY"),
    (235, "CHOWN"),
    (236, "SMACK_PROCESS_LABEL"),
    (237, "KEYRING"),
    (238, "STATE_DIRECTORY"),
    (239, "CACHE_DIRECTORY"),
    (240, "LOGS_DIRECTORY"),
    (241, "CONFIGURATION_DIRECTORY"),
    (242, "NUMA_POLICY"),
    (243, "CREDENTIALS"),
    (244, "BPF"),
    (255, "EXCEPTION"),
];

/// The number of a signal by name, with or without `SIG`, or by number: `SIGTERM`, `TERM`, `RTMIN+3`, `15`.
pub fn signal_number(text: &str) -> Option<i32> {
    if let Some(number) = crate::settings::unsigned(text) {
        return i32::try_from(number).ok().filter(|number| (1..=SIGRTMAX).contains(number));
    }
    let name = text.strip_prefix("SIG").unwrap_or(text);
    if let Some(index) = SIGNALS.iter().position(|known| *known == name) {
        return i32::try_from(index + 1).ok();
    }
    let offset = |rest: &str, sign: char| match rest.strip_prefix(sign) {
        Some(digits) if digits.starts_with(|c: char| c.is_ascii_digit()) => digits.parse::<i32>().ok(),
        None if rest.is_empty() => Some(0),
        _ => None,
    };
    if let Some(rest) = name.strip_prefix("RTMIN") {
        let number = SIGRTMIN.checked_add(offset(rest, '+')?)?;
        return (number <= SIGRTMAX).then_some(number);
    }
    let number = SIGRTMAX.checked_sub(offset(name.strip_prefix("RTMAX")?, '-')?)?;
    (number >= SIGRTMIN).then_some(number)
}

/// The name of a signal, without `SIG`.
pub fn signal_name(number: i32) -> String {
    if (SIGRTMIN..=SIGRTMAX).contains(&number) {
        return format!("RTMIN+{}", number - SIGRTMIN);
    }
    let index = usize::try_from(number).ok().and_then(|number| number.checked_sub(1));
    index.and_then(|index| SIGNALS.get(index)).map_or_else(|| number.to_string(), |name| (*name).to_owned())
}

/// The exit status by name or number.
pub fn exit_status(text: &str) -> Option<u8> {
    if let Some(number) = crate::settings::unsigned(text) {
        return u8::try_from(number).ok();
    }
    EXIT_STATUSES.iter().find(|(_, name)| *name == text).map(|(number, _)| *number)
}

/// The name of an exit status.
pub fn exit_status_name(status: u8) -> Option<&'static str> {
    EXIT_STATUSES.iter().find(|(number, _)| *number == status).map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_by_name_and_number() {
        for (text, number) in [("SIGTERM", 15), ("HUP", 1), ("9", 9), ("SIGRTMIN+3", 37), ("RTMAX", 64), ("SYS", 31)] {
            assert_eq!(signal_number(text), Some(number), "{text}");
        }
        for wrong in ["", "0", "65", "SIG", "term", "RTMIN+31", "RTMIN-1", "RTMAX-31", "RTMIN+", "RTMIN++1"] {
            assert_eq!(signal_number(wrong), None, "{wrong}");
        }
        assert_eq!((signal_name(9), signal_name(37), signal_name(32)), ("KILL".into(), "RTMIN+3".into(), "32".into()));
        for number in 1..=SIGRTMAX {
            assert_eq!(signal_number(&signal_name(number)), Some(number));
        }
    }

    #[test]
    fn exit_statuses() {
        assert_eq!((exit_status("CHDIR"), exit_status("143"), exit_status("256")), (Some(200), Some(143), None));
        assert_eq!(exit_status_name(255), Some("EXCEPTION"));
    }
}
