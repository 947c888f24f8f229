// SPDX-License-Identifier: GPL-2.0-or-later
//! Which setting says what a property says, and how its value is written. Most properties are called as their settings are
//! and are written by their type; what is otherwise stands in [`special`].
//!
//! Types are those of org.freedesktop.systemd1(5), "Properties", and of what systemd-run(1), systemctl(1) and logind send.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use zbus::zvariant::{OwnedValue, Value};

use super::words::{plain, word, words};
use super::{Line, Refusal, bits, command};

/// The lines of each property, or why it has none.
pub(super) fn all(properties: &[(String, OwnedValue)]) -> impl Iterator<Item = (String, Result<Vec<Line>, Refusal>)> {
    properties.iter().map(move |(name, value)| (name.clone(), of(name, value, properties)))
}

fn of(name: &str, value: &OwnedValue, all: &[(String, OwnedValue)]) -> Result<Vec<Line>, Refusal> {
    // It becomes the name of a setting, and nothing else.
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Err(Refusal::Unknown);
    }
    if let Some(lines) = special(name, value, all) {
        return lines;
    }
    let one = |key: &str, text: String| Ok(vec![(key.to_owned(), text)]);
    if let (Some(stem), Value::U64(span)) = (name.strip_suffix("USec"), &**value) {
        return one(&format!("{stem}Sec"), usec(*span));
    }
    if let (Some(stem), Value::U32(share)) = (name.strip_suffix("Scale"), &**value) {
        return one(stem, percent(*share));
    }
    if let (true, Value::U32(mode)) = (name.ends_with("Mode"), &**value) {
        return one(name, octal(*mode));
    }
    generic(name, value)
}

fn wrong(wanted: &str) -> Refusal {
    Refusal::Wrong(format!("it is not {wanted}"))
}

/// By type alone.
fn generic(name: &str, value: &Value<'_>) -> Result<Vec<Line>, Refusal> {
    let text = match value {
        Value::Bool(yes) => if *yes { "yes" } else { "no" }.to_owned(),
        Value::U8(number) => number.to_string(),
        Value::I16(number) => number.to_string(),
        Value::U16(number) => number.to_string(),
        Value::I32(number) => number.to_string(),
        Value::U32(u32::MAX) => "infinity".to_owned(),
        Value::U32(number) => number.to_string(),
        Value::I64(number) => number.to_string(),
        Value::U64(u64::MAX) => "infinity".to_owned(),
        Value::U64(number) => number.to_string(),
        Value::Str(text) => plain(text),
        Value::Array(array) => words(strings(array)?.iter().map(String::as_str)),
        _ => return Err(wrong("of a type that a setting has")),
    };
    Ok(vec![(name.to_owned(), text)])
}

fn usec(span: u64) -> String {
    if span == u64::MAX { "infinity".to_owned() } else { format!("{span}us") }
}

fn octal(mode: u32) -> String {
    format!("{mode:04o}")
}

/// Of `u32::MAX`, which is all.
fn percent(share: u32) -> String {
    let hundredths = (u64::from(share) * 10_000 + u64::from(u32::MAX) / 2) / u64::from(u32::MAX);
    format!("{}.{:02}%", hundredths / 100, hundredths % 100)
}

fn strings(array: &zbus::zvariant::Array<'_>) -> Result<Vec<String>, Refusal> {
    let text = |item: &Value<'_>| match item {
        Value::Str(text) => Ok(text.to_string()),
        _ => Err(wrong("a list of texts")),
    };
    array.iter().map(text).collect()
}

fn bytes(value: &Value<'_>) -> Result<Vec<u8>, Refusal> {
    let Value::Array(array) = value else { return Err(wrong("a list of bytes")) };
    let byte = |item: &Value<'_>| match item {
        Value::U8(byte) => Ok(*byte),
        _ => Err(wrong("a list of bytes")),
    };
    array.iter().map(byte).collect()
}

fn text(value: &Value<'_>) -> Result<String, Refusal> {
    match value {
        Value::Str(text) => Ok(text.to_string()),
        _ => Err(wrong("a text")),
    }
}

fn number(value: &Value<'_>) -> Result<i64, Refusal> {
    match value {
        Value::I32(number) => Ok(i64::from(*number)),
        Value::U32(number) => Ok(i64::from(*number)),
        Value::I64(number) => Ok(*number),
        Value::U64(number) => i64::try_from(*number).map_err(|_| wrong("a number that small")),
        _ => Err(wrong("a number")),
    }
}

fn wide(value: &Value<'_>) -> Result<u64, Refusal> {
    match value {
        Value::U64(number) => Ok(*number),
        _ => Err(wrong("a number of 64 bits")),
    }
}

/// A line for each row, after one that takes back what there was if there is no row.
fn rows(
    key: &str,
    value: &Value<'_>,
    wanted: &str,
    line: impl Fn(&[Value<'_>]) -> Option<Result<Line, Refusal>>,
) -> Result<Vec<Line>, Refusal> {
    let Value::Array(array) = value else { return Err(wrong(wanted)) };
    if array.is_empty() {
        return Ok(vec![(key.to_owned(), String::new())]);
    }
    let of = |item: &Value<'_>| match item {
        Value::Structure(row) => line(row.fields()).unwrap_or_else(|| Err(wrong(wanted))),
        _ => Err(wrong(wanted)),
    };
    array.iter().map(of).collect()
}

/// Properties that are not called as their setting, or are written otherwise than others of their type.
fn special(name: &str, value: &OwnedValue, all: &[(String, OwnedValue)]) -> Option<Result<Vec<Line>, Refusal>> {
    let value: &Value<'_> = value;
    let one = |key: &str, text: Result<String, Refusal>| Some(text.map(|text| vec![(key.to_owned(), text)]));
    let choice = |key: &str, words: &[&str]| {
        let word = number(value).and_then(|at| bits::choice(words, at).ok_or_else(|| wrong("a number it knows")));
        one(key, word)
    };
    match name {
        // ---- commands ----
        _ if name.starts_with("Exec") && matches!(value, Value::Array(_)) => {
            let owned = OwnedValue::try_from(value.try_clone().ok()?).ok()?;
            Some(command::lines(name.strip_suffix("Ex").unwrap_or(name), &owned))
        }
        // ---- limits ----
        _ if name.starts_with("Limit") && name.len() > "Limit".len() => limit(name, value, all),
        // ---- what is started, and when ----
        "TimersMonotonic" => Some(rows("OnActiveSec", value, "a list of times", |row| match row {
            [Value::Str(base), Value::U64(span)] => {
                let base = base.strip_suffix("USec").or_else(|| base.strip_suffix("Sec"));
                Some(base.map(|base| (format!("{base}Sec"), usec(*span))).ok_or_else(|| wrong("a list of times")))
            }
            _ => None,
        })),
        "TimersCalendar" => Some(rows("OnCalendar", value, "a list of times of the calendar", |row| match row {
            [Value::Str(_), Value::Str(spec)] => Some(Ok(("OnCalendar".to_owned(), plain(spec)))),
            _ => None,
        })),
        "Paths" => Some(rows("PathExists", value, "a list of paths", |row| match row {
            [Value::Str(event), Value::Str(path)] => Some(Ok((event.to_string(), plain(path)))),
            _ => None,
        })),
        "Listen" => Some(rows("ListenStream", value, "a list of addresses", |row| match row {
            [Value::Str(kind), Value::Str(address)] => Some(Ok((format!("Listen{kind}"), plain(address)))),
            _ => None,
        })),
        "Conditions" | "Asserts" => Some(rows(
            if name == "Asserts" { "AssertPathExists" } else { "ConditionPathExists" },
            value,
            "a list of conditions",
            |row| match row {
                [Value::Str(kind), Value::Bool(trigger), Value::Bool(negate), Value::Str(parameter)] => {
                    let signs = [(*trigger, "|"), (*negate, "!")];
                    let signs: String = signs.iter().filter(|(on, _)| *on).map(|(_, sign)| *sign).collect();
                    Some(Ok((kind.to_string(), format!("{signs}{}", plain(parameter)))))
                }
                _ => None,
            },
        )),
        // ---- processor ----
        "CPUQuotaPerSecUSec" => one(
            "CPUQuota",
            wide(value).map(|span| match span {
                u64::MAX => String::new(),
                // 1 % of a second is 10 ms.
                span => format!("{}.{:02}%", span / 10_000, span % 10_000 / 100),
            }),
        ),
        "CPUWeight"
        | "StartupCPUWeight"
        | "IOWeight"
        | "StartupIOWeight"
        | "CPUShares"
        | "StartupCPUShares"
        | "BlockIOWeight"
        | "StartupBlockIOWeight" => one(
            name,
            wide(value).map(|weight| match weight {
                u64::MAX => String::new(),
                0 => "idle".to_owned(),
                weight => weight.to_string(),
            }),
        ),
        "CPUAffinity"
        | "AllowedCPUs"
        | "StartupAllowedCPUs"
        | "AllowedMemoryNodes"
        | "StartupAllowedMemoryNodes"
        | "NUMAMask" => one(name, bytes(value).map(|mask| bits::places(&mask))),
        "CPUSchedulingPolicy" => choice(name, &bits::CPU_POLICIES),
        "IOSchedulingClass" => choice(name, &bits::IO_CLASSES),
        "NUMAPolicy" => choice(name, &bits::NUMA_POLICIES),
        "DelegateControllers" => one(
            "Delegate",
            match value {
                Value::Array(array) => strings(array).map(|list| words(list.iter().map(String::as_str))),
                _ => Err(wrong("a list of controllers")),
            },
        ),
        "ManagedOOMMemoryPressureLimit" => match value {
            Value::U32(share) => one(name, Ok(percent(*share))),
            _ => Some(Err(wrong("a share of u32::MAX"))),
        },
        // ---- devices and addresses ----
        "DeviceAllow" | "LoadCredential" | "LoadCredentialEncrypted" | "TemporaryFileSystem" => {
            let (between, wanted) = if name == "DeviceAllow" { (" ", "a list of devices") } else { (":", "a list") };
            Some(rows(name, value, wanted, |row| match row {
                [Value::Str(first), Value::Str(second)] if second.is_empty() => {
                    Some(Ok((name.to_owned(), word(first))))
                }
                [Value::Str(first), Value::Str(second)] if between == ":" => {
                    Some(Ok((name.to_owned(), word(&format!("{first}:{second}")))))
                }
                [Value::Str(first), Value::Str(second)] => {
                    Some(Ok((name.to_owned(), format!("{} {}", word(first), word(second)))))
                }
                _ => None,
            }))
        }
        "SetCredential" => Some(rows(name, value, "a list of credentials", |row| match row {
            [Value::Str(id), content] => {
                Some(bytes(content).map(|content| (name.to_owned(), format!("{}:{}", plain(id), escaped(&content)))))
            }
            _ => None,
        })),
        "IODeviceWeight"
        | "IOReadBandwidthMax"
        | "IOWriteBandwidthMax"
        | "IOReadIOPSMax"
        | "IOWriteIOPSMax"
        | "BlockIODeviceWeight"
        | "BlockIOReadBandwidth"
        | "BlockIOWriteBandwidth"
        | "IODeviceLatencyTargetUSec" => {
            let (key, unit) = match name.strip_suffix("USec") {
                Some(stem) => (format!("{stem}Sec"), "us"),
                None => (name.to_owned(), ""),
            };
            Some(rows(&key, value, "a list of devices", |row| match row {
                [Value::Str(path), Value::U64(figure)] => {
                    let figure = if *figure == u64::MAX { "infinity".to_owned() } else { format!("{figure}{unit}") };
                    Some(Ok((key.clone(), format!("{} {figure}", word(path)))))
                }
                _ => None,
            }))
        }
        "IPAddressAllow" | "IPAddressDeny" => Some(rows(name, value, "a list of networks", |row| match row {
            [Value::I32(_), address, Value::U32(prefix)] => {
                let network = bytes(address).and_then(|bytes| address_of(&bytes)).map(|ip| format!("{ip}/{prefix}"));
                Some(network.map(|network| (name.to_owned(), network)))
            }
            _ => None,
        })),
        // ---- files and streams ----
        "EnvironmentFiles" => Some(rows("EnvironmentFile", value, "a list of files", |row| match row {
            [Value::Str(path), Value::Bool(may_lack)] => {
                let sign = if *may_lack { "-" } else { "" };
                Some(Ok(("EnvironmentFile".to_owned(), format!("{sign}{}", plain(path)))))
            }
            _ => None,
        })),
        "BindPaths" | "BindReadOnlyPaths" => Some(rows(name, value, "a list of paths", |row| match row {
            [Value::Str(from), Value::Str(to), Value::Bool(may_lack), Value::U64(flags)] => {
                const MS_REC: u64 = 0x4000;
                let how = if flags & MS_REC == 0 { "norbind" } else { "rbind" };
                let sign = if *may_lack { "-" } else { "" };
                Some(Ok((name.to_owned(), word(&format!("{sign}{}:{}:{how}", colons(from), colons(to))))))
            }
            _ => None,
        })),
        "StandardInputFile" | "StandardOutputFile" | "StandardErrorFile" => {
            let key = name.strip_suffix("File").unwrap_or(name);
            one(key, text(value).map(|path| format!("file:{}", plain(&path))))
        }
        "StandardOutputFileToAppend" | "StandardErrorFileToAppend" => {
            let key = name.strip_suffix("FileToAppend").unwrap_or(name);
            one(key, text(value).map(|path| format!("append:{}", plain(&path))))
        }
        "StandardOutputFileToTruncate" | "StandardErrorFileToTruncate" => {
            let key = name.strip_suffix("FileToTruncate").unwrap_or(name);
            one(key, text(value).map(|path| format!("truncate:{}", plain(&path))))
        }
        "StandardInputFdName" | "StandardOutputFdName" | "StandardErrorFdName" => {
            let key = name.strip_suffix("FdName").unwrap_or(name);
            one(key, text(value).map(|fd| format!("fd:{}", plain(&fd))))
        }
        "StandardInputFileDescriptor" | "StandardOutputFileDescriptor" | "StandardErrorFileDescriptor" => Some(Err(
            Refusal::Wrong("a descriptor of the client cannot be given to a unit here; name a file instead".to_owned()),
        )),
        "RuntimeDirectorySymlink" | "StateDirectorySymlink" | "CacheDirectorySymlink" | "LogsDirectorySymlink" => {
            let key = name.strip_suffix("Symlink").unwrap_or(name);
            Some(rows(key, value, "a list of links", |row| match row {
                [Value::Str(from), Value::Str(to), Value::U64(_)] => {
                    Some(Ok((key.to_owned(), word(&format!("{}:{}", colons(from), colons(to))))))
                }
                _ => None,
            }))
        }
        "UMask" => match value {
            Value::U32(mask) => one(name, Ok(octal(*mask))),
            _ => Some(Err(wrong("a mask"))),
        },
        // ---- the log ----
        "LogLevelMax" | "SyslogLevel" => choice(name, &bits::LOG_LEVELS),
        "SyslogFacility" => choice(name, &bits::FACILITIES),
        "LogExtraFields" => {
            let Value::Array(array) = value else { return Some(Err(wrong("a list of fields"))) };
            let field = |item: &Value<'_>| {
                let field = String::from_utf8(bytes(item)?).map_err(|_| wrong("a list of fields in UTF-8"))?;
                Ok((name.to_owned(), word(&field)))
            };
            Some(array.iter().map(field).collect())
        }
        // ---- what may be done ----
        "CapabilityBoundingSet" | "AmbientCapabilities" => one(name, wide(value).map(bits::capabilities)),
        "RestrictNamespaces" => one(name, wide(value).map(bits::namespaces)),
        "SecureBits" => one(name, number(value).map(bits::secure_bits)),
        "SystemCallFilter" | "SystemCallLog" | "RestrictAddressFamilies" | "RestrictFileSystems" => {
            let Value::Structure(row) = value else { return Some(Err(wrong("a list with its sense"))) };
            let [Value::Bool(allowed), Value::Array(list)] = row.fields() else {
                return Some(Err(wrong("a list with its sense")));
            };
            let sign = if *allowed { "" } else { "~" };
            one(name, strings(list).map(|list| format!("{sign}{}", words(list.iter().map(String::as_str)))))
        }
        "AppArmorProfile" | "SELinuxContext" | "SmackProcessLabel" => match value {
            Value::Structure(row) => match row.fields() {
                [Value::Bool(may_lack), Value::Str(label)] => {
                    let sign = if *may_lack { "-" } else { "" };
                    one(name, Ok(format!("{sign}{}", plain(label))))
                }
                _ => Some(Err(wrong("a label"))),
            },
            _ => None,
        },
        // ---- ends ----
        "SuccessExitStatus" | "RestartPreventExitStatus" | "RestartForceExitStatus" => {
            let Value::Structure(row) = value else { return Some(Err(wrong("lists of statuses and signals"))) };
            let [Value::Array(statuses), Value::Array(signals)] = row.fields() else {
                return Some(Err(wrong("lists of statuses and signals")));
            };
            let statuses = statuses.iter().map(|status| number(status).map(|status| status.to_string()));
            let signals = signals.iter().map(|signal| {
                let signal = i32::try_from(number(signal)?).map_err(|_| wrong("a signal"))?;
                Ok(ssi_unit::process_end::signal_name(signal).to_string())
            });
            let all: Result<Vec<String>, Refusal> = statuses.chain(signals).collect();
            one(name, all.map(|all| all.join(" ")))
        }
        _ => None,
    }
}

/// Colons part a path from the next one.
fn colons(path: &str) -> String {
    path.replace('\\', "\\\\").replace(':', "\\:")
}

/// Bytes as a text with C's escapes.
fn escaped(content: &[u8]) -> String {
    let mut text = String::new();
    for byte in content {
        match byte {
            b'%' => text.push_str("%%"),
            b'\\' => text.push_str("\\\\"),
            byte if byte.is_ascii_graphic() => text.push(char::from(*byte)),
            byte => text.push_str(&format!("\\x{byte:02x}")),
        }
    }
    text
}

fn address_of(bytes: &[u8]) -> Result<IpAddr, Refusal> {
    let v4 = <[u8; 4]>::try_from(bytes).map(|bytes| IpAddr::V4(Ipv4Addr::from(bytes)));
    let v6 = || <[u8; 16]>::try_from(bytes).map(|bytes| IpAddr::V6(Ipv6Addr::from(bytes)));
    v4.or_else(|_| v6()).map_err(|_| wrong("an address of 4 or 16 bytes"))
}

/// `LimitNOFILE` and `LimitNOFILESoft` are two halves of one setting.
fn limit(name: &str, value: &Value<'_>, all: &[(String, OwnedValue)]) -> Option<Result<Vec<Line>, Refusal>> {
    let figure = |value: &Value<'_>| {
        wide(value).map(|figure| if figure == u64::MAX { "infinity".to_owned() } else { figure.to_string() })
    };
    let other = |name: &str| all.iter().find(|(other, _)| other == name).map(|(_, value)| value);
    let line = |text: Result<String, Refusal>, key: &str| Some(text.map(|text| vec![(key.to_owned(), text)]));
    // Microseconds, where a number alone would be.
    let unit = if name.starts_with("LimitRTTIME") { "us" } else { "" };
    let figure = |value: &Value<'_>| figure(value).map(|text| if text == "infinity" { text } else { text + unit });
    match name.strip_suffix("Soft") {
        // It is written with the other half.
        Some(hard) if other(hard).is_some() => Some(Ok(Vec::new())),
        Some(hard) => line(figure(value), hard),
        None => match other(&format!("{name}Soft")) {
            Some(soft) => line(figure(soft).and_then(|soft| Ok(format!("{soft}:{}", figure(value)?))), name),
            None => line(figure(value), name),
        },
    }
}
