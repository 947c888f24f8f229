// SPDX-License-Identifier: GPL-2.0-or-later
//! Settings of systemd.exec(5) that say how processes are run; those that confine them are in [`super::sandbox`].

use super::socket::set_owner;
use super::value::{self, BARE};
use super::{Outcome, Problem, Reader, Table, credentials, limits};
use crate::config::ExecConfig;
use crate::config::cgroup::CpuSet;
use crate::config::exec::{
    CpuPolicy, CpuScheduling, DirectoryKind, EnvironmentFile, InputSource, IoClass, IoScheduling, KeyringMode,
    LogLevel, NumaPolicy, OutputTarget, Resource, RuntimePreserve, ServiceDirectory, UtmpMode, WorkingDirectory,
};
use crate::environment;
use crate::words::{Escaped, Rules, c_escape, split};

/// Most bytes of `StandardInputText=` and `StandardInputData=` together.
const INPUT_DATA_MAX: usize = 64 * 1024 * 1024;

/// The keys of systemd.exec(5), but for those that confine.
const EXEC: Table<ExecConfig> = &[
    ("WorkingDirectory", set_working_directory),
    ("User", |exec, value, reader| set_owner(&mut exec.user, value, reader)),
    ("Group", |exec, value, reader| set_owner(&mut exec.group, value, reader)),
    ("SupplementaryGroups", |exec, value, reader| {
        reader.extend(&mut exec.supplementary_groups, value, BARE, |reader, word| {
            let mut group = None;
            set_owner(&mut group, word, reader)?;
            group.ok_or_else(|| reader.bad(word, "a group"))
        })
    }),
    // Taken for no, the service would run as root.
    ("DynamicUser", |exec, value, reader| reader.set_bool(&mut exec.dynamic_user, value).map_err(super::fatal)),
    ("RemoveIPC", |exec, value, reader| reader.set_bool(&mut exec.remove_ipc, value)),
    ("PAMName", |exec, value, reader| reader.set_text(&mut exec.pam_name, value)),
    ("Nice", |exec, value, reader| {
        if value.is_empty() {
            exec.nice = None;
            return Ok(());
        }
        let nice = value::signed32(value).filter(|nice| (-20..=19).contains(nice));
        exec.nice = Some(nice.ok_or_else(|| reader.bad(value, "a nice value from -20 to 19"))?);
        Ok(())
    }),
    ("OOMScoreAdjust", |exec, value, reader| {
        if value.is_empty() {
            exec.oom_score_adjust = None;
            return Ok(());
        }
        exec.oom_score_adjust = Some(oom_score(value).ok_or_else(|| reader.bad(value, "a number from -1000 to 1000"))?);
        Ok(())
    }),
    ("CoredumpFilter", |exec, value, reader| {
        if value.is_empty() {
            exec.coredump_filter = None;
            return Ok(());
        }
        let more = coredump_filter(value, reader).ok_or_else(|| reader.bad(value, "a list of kinds of mappings"))?;
        exec.coredump_filter = Some(exec.coredump_filter.unwrap_or(0) | more);
        Ok(())
    }),
    ("IOSchedulingClass", |exec, value, reader| {
        if value.is_empty() {
            exec.io_scheduling = None;
            return Ok(());
        }
        let mut scheduling = exec.io_scheduling.unwrap_or(IoScheduling { class: IoClass::BestEffort, priority: 4 });
        reader.set_word(&mut scheduling.class, value, IoClass::from_word)?;
        exec.io_scheduling = Some(scheduling);
        Ok(())
    }),
    ("IOSchedulingPriority", |exec, value, reader| {
        if value.is_empty() {
            exec.io_scheduling = None;
            return Ok(());
        }
        let priority = value::unsigned(value).and_then(|priority| u8::try_from(priority).ok()).filter(|p| *p < 8);
        let priority = priority.ok_or_else(|| reader.bad(value, "a priority from 0 to 7"))?;
        let class = exec.io_scheduling.map_or(IoClass::BestEffort, |scheduling| scheduling.class);
        exec.io_scheduling = Some(IoScheduling { class, priority });
        Ok(())
    }),
    ("CPUSchedulingPolicy", |exec, value, reader| {
        if value.is_empty() {
            exec.cpu_scheduling = None;
            return Ok(());
        }
        let mut policy = CpuPolicy::Other;
        reader.set_word(&mut policy, value, CpuPolicy::from_word)?;
        let before = exec.cpu_scheduling.map_or(0, |scheduling| scheduling.priority);
        let real_time = matches!(policy, CpuPolicy::Fifo | CpuPolicy::RoundRobin);
        let priority = if real_time { before.clamp(1, 99) } else { 0 };
        exec.cpu_scheduling = Some(CpuScheduling { policy, priority });
        Ok(())
    }),
    ("CPUSchedulingPriority", |exec, value, reader| {
        let priority = value::unsigned(value).and_then(|priority| u8::try_from(priority).ok()).filter(|p| *p < 100);
        let priority = priority.ok_or_else(|| reader.bad(value, "a priority from 0 to 99"))?;
        let policy = exec.cpu_scheduling.map_or(CpuPolicy::Other, |scheduling| scheduling.policy);
        exec.cpu_scheduling = Some(CpuScheduling { policy, priority });
        Ok(())
    }),
    ("CPUSchedulingResetOnFork", |exec, value, reader| reader.set_bool(&mut exec.cpu_scheduling_reset_on_fork, value)),
    ("CPUAffinity", |exec, value, reader| {
        exec.cpu_affinity_from_numa = value == "numa";
        if value.is_empty() || value == "numa" {
            exec.cpu_affinity = CpuSet::default();
            return Ok(());
        }
        let text = reader.text(value)?;
        let more = value::cpu_set(&text).ok_or_else(|| reader.bad(&text, "a list of numbers and ranges"))?;
        more.ranges.iter().for_each(|(first, last)| exec.cpu_affinity.add(*first, *last));
        Ok(())
    }),
    ("NUMAPolicy", |exec, value, reader| {
        if value.is_empty() {
            exec.numa_policy = None;
            return Ok(());
        }
        let mut policy = NumaPolicy::Default;
        reader.set_word(&mut policy, value, NumaPolicy::from_word)?;
        exec.numa_policy = Some(policy);
        Ok(())
    }),
    ("NUMAMask", |exec, value, reader| {
        if value.is_empty() || value == "all" {
            exec.numa_mask = None;
            return Ok(());
        }
        let more = value::cpu_set(value).ok_or_else(|| reader.bad(value, "a list of numbers and ranges"))?;
        let mask = exec.numa_mask.get_or_insert_default();
        more.ranges.iter().for_each(|(first, last)| mask.add(*first, *last));
        Ok(())
    }),
    ("TimerSlackNSec", |exec, value, reader| {
        // Spans know no unit below the microsecond.
        let plain = value.strip_suffix("nsec").or(value.strip_suffix("ns")).unwrap_or(value).trim_end();
        if let Ok(nanoseconds) = plain.parse() {
            exec.timer_slack_ns = Some(nanoseconds);
            return Ok(());
        }
        exec.timer_slack_ns = reader.span(value)?.and_then(|span| u64::try_from(span.as_nanos()).ok());
        Ok(())
    }),
    ("UMask", |exec, value, reader| reader.set_mode(&mut exec.umask, value)),
    ("Environment", |exec, value, reader| {
        if value.is_empty() {
            exec.environment.clear();
            return Ok(());
        }
        let specifiers = reader.specifiers;
        let found = environment::assignments(value, |word| {
            specifiers.bytes(word, crate::specifier::Table::Full, crate::specifier::TEXT_MAX)
        });
        for warning in found.warnings {
            reader.skip(format!("Environment=: {warning}"));
        }
        exec.environment.extend(found.set.into_iter().map(|(name, value)| format!("{name}={value}")));
        Ok(())
    }),
    ("EnvironmentFile", |exec, value, reader| {
        if value.is_empty() {
            exec.environment_files.clear();
            return Ok(());
        }
        let (path, optional) = without_dash(value);
        let path = reader.path(path)?;
        exec.environment_files.push(EnvironmentFile { path, optional });
        Ok(())
    }),
    ("PassEnvironment", |exec, value, reader| {
        reader.extend(&mut exec.pass_environment, value, Rules::QUOTED, |reader, word| {
            let name = reader.text(word)?;
            if environment::is_name(&name) { Ok(name) } else { Err(reader.bad(&name, "the name of a variable")) }
        })
    }),
    ("UnsetEnvironment", |exec, value, reader| {
        reader.extend(&mut exec.unset_environment, value, Rules::C, |reader, word| {
            let pattern = reader.text(word)?;
            if environment::is_name(&pattern) || environment::assignment(pattern.as_bytes()).is_some() {
                Ok(pattern)
            } else {
                Err(reader.bad(&pattern, "the name of a variable, nor an assignment"))
            }
        })
    }),
    ("ExecSearchPath", |exec, value, reader| {
        if value.is_empty() {
            exec.exec_search_path.clear();
            return Ok(());
        }
        for part in value.split(':') {
            let path = reader.path(part)?;
            exec.exec_search_path.push(path);
        }
        Ok(())
    }),
    ("StandardInput", |exec, value, reader| {
        exec.standard_input = match value {
            "null" => InputSource::Null,
            "tty" => InputSource::Tty,
            "tty-force" => InputSource::TtyForce,
            "tty-fail" => InputSource::TtyFail,
            "data" => InputSource::Data,
            "socket" => InputSource::Socket,
            "fd" => InputSource::Fd("stdin".to_owned()),
            _ => match value.split_once(':') {
                Some(("fd", name)) => InputSource::Fd(descriptor(name, "stdin", reader)?),
                Some(("file", path)) => InputSource::File(reader.path(path)?),
                _ => return Err(reader.bad(value, "a source this setting knows")),
            },
        };
        Ok(())
    }),
    ("StandardOutput", |exec, value, reader| {
        exec.standard_output = output(value, "stdout", reader)?;
        Ok(())
    }),
    ("StandardError", |exec, value, reader| {
        exec.standard_error = output(value, "stderr", reader)?;
        Ok(())
    }),
    ("StandardInputText", |exec, value, reader| {
        if value.is_empty() {
            exec.standard_input_data.clear();
            return Ok(());
        }
        let text = unescape(value).ok_or_else(|| reader.bad(value, "a text with escapes as in C"))?;
        let mut text = reader
            .specifiers
            .bytes(&text, crate::specifier::Table::Full, INPUT_DATA_MAX)
            .map_err(|error| format!("StandardInputText={value}: {error}, ignoring"))?;
        text.push(b'\n');
        add_input(exec, &text, reader)
    }),
    ("StandardInputData", |exec, value, reader| {
        if value.is_empty() {
            exec.standard_input_data.clear();
            return Ok(());
        }
        let bytes = value::base64(value).ok_or_else(|| reader.bad(value, "base64"))?;
        add_input(exec, &bytes, reader)
    }),
    ("TTYPath", |exec, value, reader| reader.set_path(&mut exec.tty_path, value)),
    ("TTYReset", |exec, value, reader| reader.set_bool(&mut exec.tty_reset, value)),
    ("TTYVHangup", |exec, value, reader| reader.set_bool(&mut exec.tty_vhangup, value)),
    ("TTYVTDisallocate", |exec, value, reader| reader.set_bool(&mut exec.tty_vt_disallocate, value)),
    ("TTYRows", |exec, value, reader| set_size(&mut exec.tty_rows, value, reader)),
    ("TTYColumns", |exec, value, reader| set_size(&mut exec.tty_columns, value, reader)),
    ("UtmpIdentifier", |exec, value, reader| reader.set_text(&mut exec.utmp_identifier, value)),
    ("UtmpMode", |exec, value, reader| reader.set_word(&mut exec.utmp_mode, value, UtmpMode::from_word)),
    ("SyslogIdentifier", |exec, value, reader| reader.set_text(&mut exec.syslog_identifier, value)),
    ("SyslogFacility", |exec, value, reader| {
        exec.syslog_facility = facility(value).ok_or_else(|| reader.bad(value, "a facility of syslog(3)"))?;
        Ok(())
    }),
    ("SyslogLevel", |exec, value, reader| {
        exec.syslog_level = log_level(value).ok_or_else(|| reader.bad(value, "a level of syslog(3)"))?;
        Ok(())
    }),
    ("SyslogLevelPrefix", |exec, value, reader| reader.set_bool(&mut exec.syslog_level_prefix, value)),
    ("LogLevelMax", |exec, value, reader| {
        exec.log_level_max = Some(log_level(value).ok_or_else(|| reader.bad(value, "a level of syslog(3)"))?);
        Ok(())
    }),
    ("LogRateLimitIntervalSec", |exec, value, reader| reader.set_span(&mut exec.log_rate_limit_interval, value)),
    ("LogRateLimitBurst", |exec, value, reader| reader.set_unsigned(&mut exec.log_rate_limit_burst, value)),
    ("LogExtraFields", |exec, value, reader| {
        if value.is_empty() {
            exec.log_extra_fields.clear();
            return Ok(());
        }
        for word in split(value.as_bytes(), Rules::C).map_err(|error| reader.bad(value, &error.to_string()))? {
            let field = reader.specifiers.bytes(&word, crate::specifier::Table::Full, crate::specifier::TEXT_MAX);
            match field {
                Ok(field) if is_journal_field(&field) => exec.log_extra_fields.push(field),
                _ => {
                    let text = String::from_utf8_lossy(&word);
                    reader.skip(format!("LogExtraFields={text} is not a journal field and its value, ignoring"));
                }
            }
        }
        Ok(())
    }),
    ("LogFilterPatterns", |exec, value, reader| {
        if value.is_empty() {
            exec.log_filter_patterns.clear();
            return Ok(());
        }
        let text = String::from_utf8(unescape(value).ok_or_else(|| reader.bad(value, "a pattern"))?);
        let text = text.map_err(|_| reader.bad(value, "a pattern"))?;
        exec.log_filter_patterns.push(match text.strip_prefix('~') {
            Some(pattern) => (false, pattern.to_owned()),
            None => (true, text),
        });
        Ok(())
    }),
    ("LogNamespace", |exec, value, reader| {
        if value.is_empty() {
            exec.log_namespace = None;
            return Ok(());
        }
        let name = reader.text(value)?;
        // It becomes the instance of a unit.
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, ':' | '-' | '_' | '.' | '@');
        let is_name = !name.is_empty() && name.len() <= 200 && !matches!(name.as_str(), "." | "..");
        if !is_name || !name.chars().all(plain) {
            return Err(reader.bad(&name, "the name of a journal"));
        }
        exec.log_namespace = Some(name);
        Ok(())
    }),
    ("IgnoreSIGPIPE", |exec, value, reader| reader.set_bool(&mut exec.ignore_sigpipe, value)),
    ("KeyringMode", |exec, value, reader| reader.set_word(&mut exec.keyring_mode, value, KeyringMode::from_word)),
    ("SetCredential", |exec, value, reader| credentials::set(exec, value, false, reader)),
    ("SetCredentialEncrypted", |exec, value, reader| credentials::set(exec, value, true, reader)),
    ("LoadCredential", |exec, value, reader| credentials::load(exec, value, false, reader)),
    ("LoadCredentialEncrypted", |exec, value, reader| credentials::load(exec, value, true, reader)),
    ("ImportCredential", |exec, value, reader| credentials::import(exec, value, reader)),
    ("RuntimeDirectory", |exec, value, reader| directories(exec, DirectoryKind::Runtime, value, reader)),
    ("StateDirectory", |exec, value, reader| directories(exec, DirectoryKind::State, value, reader)),
    ("CacheDirectory", |exec, value, reader| directories(exec, DirectoryKind::Cache, value, reader)),
    ("LogsDirectory", |exec, value, reader| directories(exec, DirectoryKind::Logs, value, reader)),
    ("ConfigurationDirectory", |exec, value, reader| directories(exec, DirectoryKind::Configuration, value, reader)),
    ("RuntimeDirectoryMode", |exec, value, reader| directory_mode(exec, DirectoryKind::Runtime, value, reader)),
    ("StateDirectoryMode", |exec, value, reader| directory_mode(exec, DirectoryKind::State, value, reader)),
    ("CacheDirectoryMode", |exec, value, reader| directory_mode(exec, DirectoryKind::Cache, value, reader)),
    ("LogsDirectoryMode", |exec, value, reader| directory_mode(exec, DirectoryKind::Logs, value, reader)),
    ("ConfigurationDirectoryMode", |exec, value, reader| {
        directory_mode(exec, DirectoryKind::Configuration, value, reader)
    }),
    ("RuntimeDirectoryPreserve", |exec, value, reader| {
        let value = value::in_lower_case(value);
        reader.set_word(&mut exec.runtime_directory_preserve, &value, RuntimePreserve::from_word)
    }),
    ("TimeoutCleanSec", |exec, value, reader| reader.set_span(&mut exec.timeout_clean, value)),
    ("Personality", |exec, value, reader| {
        const PERSONALITIES: [&str; 10] =
            ["x86", "x86-64", "arm", "arm64", "ppc", "ppc-le", "ppc64", "ppc64-le", "s390", "s390x"];
        // Those of other machines are refused by the kernel at start, not here.
        if value.is_empty() {
            exec.personality = None;
        } else if PERSONALITIES.contains(&value) {
            exec.personality = Some(value.to_owned());
        } else {
            return Err(reader.bad(value, "a personality this system has"));
        }
        Ok(())
    }),
    ("Capabilities", |_, _, reader| super::service::no_effect(reader)),
];

/// Every key of systemd.exec(5).
pub(super) fn keys() -> impl Iterator<Item = &'static str> {
    EXEC.iter().map(|(key, _)| *key).chain(super::sandbox::SANDBOX.iter().map(|(key, _)| *key)).chain(limits::KEYS)
}

/// Applies one assignment of systemd.exec(5); `None` for a key nobody knows.
pub(super) fn apply(exec: &mut ExecConfig, reader: &mut Reader<'_>) -> Option<Outcome> {
    if let Some(resource) = reader.key().strip_prefix("Limit").and_then(Resource::from_word) {
        let value = reader.assignment.value.as_str();
        return Some(match limits::limit(resource, value) {
            Some(limit) => {
                exec.limits.insert(resource, limit);
                Ok(())
            }
            None => Err(reader.bad(value, "a limit of this resource, or a soft and a hard one with a colon between")),
        });
    }
    super::look_up(EXEC, exec, reader).or_else(|| super::look_up(super::sandbox::SANDBOX, &mut exec.sandbox, reader))
}

/// A value whose `-` at the start says that it may be missing.
pub(super) fn without_dash(value: &str) -> (&str, bool) {
    value.strip_prefix('-').map_or((value, false), |rest| (rest, true))
}

fn set_working_directory(exec: &mut ExecConfig, value: &str, reader: &mut Reader<'_>) -> Outcome {
    if value.is_empty() {
        exec.working_directory = None;
        return Ok(());
    }
    let (place, missing_ok) = without_dash(value);
    let path = if place == "~" {
        None
    } else {
        match reader.path(place) {
            Ok(path) => Some(path),
            Err(problem) if missing_ok => return Err(problem),
            Err(problem) => return Err(super::fatal(problem)),
        }
    };
    exec.working_directory = Some(WorkingDirectory { path, missing_ok });
    Ok(())
}

/// A number from -1000 to 1000.
pub(super) fn oom_score(value: &str) -> Option<i32> {
    value::signed32(value).filter(|score| (-1000..=1000).contains(score))
}

/// Kinds of mappings by name or bit, or a mask in hexadecimal, core(5).
fn coredump_filter(value: &str, reader: &mut Reader<'_>) -> Option<u64> {
    const KINDS: [&str; 7] = [
        "private-anonymous",
        "shared-anonymous",
        "private-file-backed",
        "shared-file-backed",
        "elf-headers",
        "private-huge",
        "shared-huge",
    ];
    // The mappings of devices come last and have no place among the bits of "default".
    let mut mask = 0;
    for word in reader.words(value, BARE) {
        mask |= match word.as_str() {
            "all" => u64::MAX,
            "default" => 0b11_0011,
            "private-dax" => 1 << 7,
            "shared-dax" => 1 << 8,
            _ => match KINDS.iter().position(|kind| *kind == word) {
                Some(bit) => 1 << bit,
                None => u64::from_str_radix(word.trim_start_matches("0x"), 16).ok()?,
            },
        };
    }
    Some(mask)
}

/// The name of a descriptor; empty is that of the stream.
fn descriptor(name: &str, stream: &str, reader: &Reader<'_>) -> Result<String, Problem> {
    let name = reader.text(name)?;
    if name.is_empty() {
        return Ok(stream.to_owned());
    }
    if value::is_descriptor_name(&name) { Ok(name) } else { Err(reader.bad(&name, "the name of a descriptor")) }
}

/// Where an output goes.
fn output(value: &str, stream: &str, reader: &mut Reader<'_>) -> Result<OutputTarget, Problem> {
    if let Some(target) = plain_output(value) {
        return Ok(target);
    }
    Ok(match (value, value.split_once(':')) {
        ("syslog", _) => {
            reader.obsolete("syslog is taken as journal");
            OutputTarget::Journal
        }
        ("syslog+console", _) => {
            reader.obsolete("syslog+console is taken as journal+console");
            OutputTarget::JournalAndConsole
        }
        ("fd", _) => OutputTarget::Fd(stream.to_owned()),
        (_, Some(("fd", name))) => OutputTarget::Fd(descriptor(name, stream, reader)?),
        (_, Some(("file", path))) => OutputTarget::File(reader.path(path)?),
        (_, Some(("append", path))) => OutputTarget::Append(reader.path(path)?),
        (_, Some(("truncate", path))) => OutputTarget::Truncate(reader.path(path)?),
        _ => return Err(reader.bad(value, "a target this setting knows")),
    })
}

/// The targets that are one word, which system.conf may name too.
pub(super) fn plain_output(value: &str) -> Option<OutputTarget> {
    Some(match value {
        "inherit" => OutputTarget::Inherit,
        "null" => OutputTarget::Null,
        "tty" => OutputTarget::Tty,
        "journal" => OutputTarget::Journal,
        "journal+console" => OutputTarget::JournalAndConsole,
        "kmsg" => OutputTarget::Kmsg,
        "kmsg+console" => OutputTarget::KmsgAndConsole,
        "socket" => OutputTarget::Socket,
        _ => return None,
    })
}

/// Escapes of C replaced; `None` when one is broken.
pub(super) fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'\\' {
            plain.push(byte);
            continue;
        }
        let (length, escaped) = c_escape(rest)?;
        match escaped {
            Escaped::Byte(byte) => plain.push(byte),
            Escaped::CodePoint(point) => plain.extend(char::from_u32(point)?.to_string().bytes()),
        }
        rest = rest.get(length..)?;
    }
    Some(plain)
}

fn add_input(exec: &mut ExecConfig, bytes: &[u8], reader: &Reader<'_>) -> Outcome {
    if exec.standard_input_data.len() + bytes.len() > INPUT_DATA_MAX {
        return Err(format!("{}= makes the input longer than {INPUT_DATA_MAX} bytes, ignoring", reader.key()).into());
    }
    exec.standard_input_data.extend_from_slice(bytes);
    Ok(())
}

fn set_size(slot: &mut Option<u32>, value: &str, reader: &Reader<'_>) -> Outcome {
    if value.is_empty() {
        *slot = None;
        return Ok(());
    }
    *slot = Some(value::unsigned32(value).ok_or_else(|| reader.bad(value, "a number"))?);
    Ok(())
}

/// A level of log messages by name or number.
fn log_level(value: &str) -> Option<LogLevel> {
    let by_number = || LogLevel::ALL.get(usize::try_from(value::unsigned(value)?).ok()?).copied();
    LogLevel::from_word(value).or_else(by_number)
}

/// The number of a facility by name or number, syslog(3).
fn facility(value: &str) -> Option<u8> {
    const FACILITIES: [&str; 12] =
        ["kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp"];
    if let Some(index) = FACILITIES.iter().position(|name| *name == value) {
        return u8::try_from(index).ok();
    }
    if let Some(local) = value.strip_prefix("local") {
        return local.parse::<u8>().ok().filter(|number| *number < 8).map(|number| 16 + number);
    }
    value::unsigned(value).and_then(|number| u8::try_from(number).ok()).filter(|number| *number < 128)
}

/// Whether these are the name of a journal field that services may set, a `=`, and anything.
fn is_journal_field(field: &[u8]) -> bool {
    let Some(end) = field.iter().position(|byte| *byte == b'=') else { return false };
    let name = &field[..end];
    (1..=64).contains(&name.len())
        && !matches!(name.first(), Some(b'_' | b'0'..=b'9'))
        && name.iter().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || *byte == b'_')
}

/// `StateDirectory=a b:link` and its kin.
fn directories(exec: &mut ExecConfig, kind: DirectoryKind, value: &str, reader: &mut Reader<'_>) -> Outcome {
    let mut found = exec.directories.remove(&kind).unwrap_or_default();
    let outcome = reader.extend(&mut found.directories, value, Rules::NAMES, |reader, word| {
        const PARTS: Rules = Rules { empty_words: false, ..Rules::COLONS };
        let parts = split(word.as_bytes(), PARTS).map_err(|error| reader.bad(word, &error.to_string()))?;
        let mut parts = parts.into_iter().map(|part| String::from_utf8_lossy(&part).into_owned());
        let path = reader.relative_path(&parts.next().unwrap_or_default())?;
        if path == "private" || path.starts_with("private/") {
            return Err(reader.bad(word, "free to use: private is where those of dynamic users lie"));
        }
        let link = parts.next().filter(|link| !link.is_empty());
        if link.is_some() && kind == DirectoryKind::Configuration {
            return Err(reader.bad(word, "a directory: those of configuration have no links"));
        }
        let symlinks = match link {
            Some(link) => vec![reader.relative_path(&link)?],
            None => Vec::new(),
        };
        Ok(ServiceDirectory { path, symlinks })
    });
    exec.directories.insert(kind, found);
    outcome
}

fn directory_mode(exec: &mut ExecConfig, kind: DirectoryKind, value: &str, reader: &mut Reader<'_>) -> Outcome {
    reader.set_mode(&mut exec.directories.entry(kind).or_default().mode, value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_small_lists() {
        assert_eq!(
            (facility("daemon"), facility("local7"), facility("local8"), facility("23")),
            (Some(3), Some(23), None, Some(23))
        );
        assert!(
            is_journal_field(b"A_1=x")
                && !is_journal_field(b"_A=x")
                && !is_journal_field(b"a=x")
                && !is_journal_field(b"A")
        );
        assert_eq!(unescape("a\\nb\\x41\\u00e9").unwrap(), "a\nbA\u{e9}".as_bytes());
        assert!(unescape("\\q").is_none());
    }
}
