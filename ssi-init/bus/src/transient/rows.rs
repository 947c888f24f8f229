// SPDX-License-Identifier: GPL-2.0-or-later
//! How properties are written that are lists of rows: a line for each row.

use std::net::IpAddr;

use ssi_unit::condition::ConditionKind;
use zbus::zvariant::Value;

use super::form::{Lines, array, bytes, figure, full, of_device, one, string, wide, wrong};
use super::words::{Quoting, base64, c_escaped, colon_part, plain, protected_part};
use super::{Line, Refusal};

/// What triggers a timer, as it is called in a file and as it is shown.
const TIMERS: [(&str, &str); 5] = [
    ("OnActiveSec", "OnActiveUSec"),
    ("OnBootSec", "OnBootUSec"),
    ("OnStartupSec", "OnStartupUSec"),
    ("OnUnitActiveSec", "OnUnitActiveUSec"),
    ("OnUnitInactiveSec", "OnUnitInactiveUSec"),
];
/// What can be watched of a path.
const EVENTS: [&str; 5] = ["PathExists", "PathExistsGlob", "PathChanged", "PathModified", "DirectoryNotEmpty"];
/// What can be listened on.
const LISTEN: [&str; 8] =
    ["Stream", "Datagram", "SequentialPacket", "FIFO", "Special", "Netlink", "MessageQueue", "USBFunction"];
/// `MS_REC` of mount(2).
const RECURSIVE: u64 = 1 << 14;

/// A line for each row. No row takes back what there was.
fn rows(key: &str, value: &Value<'_>, line: impl Fn(&[Value<'_>]) -> Result<Line, Refusal>) -> Lines {
    let array = array(value)?;
    if array.is_empty() {
        return one(key, "");
    }
    let of = |item: &Value<'_>| {
        let Value::Structure(row) = item else { return Err(wrong()) };
        let (key, text) = line(row.fields())?;
        Ok((key, full(text)?))
    };
    array.iter().map(of).collect()
}

/// As [`rows`], where all lines are of the one setting.
fn texts(key: &str, value: &Value<'_>, text: impl Fn(&[Value<'_>]) -> Result<String, Refusal>) -> Lines {
    rows(key, value, |row| Ok((key.to_owned(), text(row)?)))
}

fn no_word(word: &str, wanted: &str) -> Refusal {
    Refusal::Wrong(format!("\"{word}\" is not {wanted}"))
}

/// `a(st)`
pub(super) fn timers(key: &str, value: &Value<'_>) -> Lines {
    rows(key, value, |row| {
        let [base, span] = row else { return Err(wrong()) };
        let base = string(base)?;
        let known = TIMERS.iter().find(|(setting, shown)| base == *setting || base == *shown);
        let (setting, _) = known.ok_or_else(|| no_word(base, "what a timer counts from"))?;
        Ok(((*setting).to_owned(), figure(wide(span)?, "us")))
    })
}

/// `a(ss)`
pub(super) fn calendars(key: &str, value: &Value<'_>) -> Lines {
    texts(key, value, |row| match row {
        [base, spec] if string(base)? == "OnCalendar" => Ok(plain(string(spec)?)),
        [base, _] => Err(no_word(string(base)?, "OnCalendar")),
        _ => Err(wrong()),
    })
}

/// `a(ss)`
pub(super) fn watches(key: &str, value: &Value<'_>) -> Lines {
    rows(key, value, |row| {
        let [event, path] = row else { return Err(wrong()) };
        let event = string(event)?;
        if !EVENTS.contains(&event) {
            return Err(no_word(event, "what can be watched of a path"));
        }
        Ok((event.to_owned(), plain(string(path)?)))
    })
}

/// `a(ss)`
pub(super) fn listen(key: &str, value: &Value<'_>) -> Lines {
    rows(key, value, |row| {
        let [kind, address] = row else { return Err(wrong()) };
        let kind = string(kind)?;
        if !LISTEN.contains(&kind) {
            return Err(no_word(kind, "what can be listened on"));
        }
        Ok((format!("Listen{kind}"), plain(string(address)?)))
    })
}

/// `a(sbbs)`: of conditions, and as it is for assertions. No row takes back all of them, by whichever of the settings.
pub(super) fn conditions(key: &str, value: &Value<'_>) -> Lines {
    let prefix = key.strip_suffix("PathExists").unwrap_or(key);
    rows(key, value, |row| {
        let [name, Value::Bool(trigger), Value::Bool(negate), parameter] = row else { return Err(wrong()) };
        let (name, parameter) = (string(name)?, string(parameter)?);
        let kind = name.strip_prefix(prefix).unwrap_or_default();
        if !ConditionKind::ALL.iter().any(|known| known.name() == kind) {
            return Err(no_word(name, "the name of one"));
        }
        if parameter.starts_with(['|', '!']) {
            return Err(Refusal::Wrong(format!(
                "{name} looks for \"{parameter}\", whose first sign means another thing"
            )));
        }
        let signs = [(*trigger, "|"), (*negate, "!")];
        let signs: String = signs.iter().filter(|(on, _)| *on).map(|(_, sign)| *sign).collect();
        Ok((name.to_owned(), format!("{signs}{}", full(plain(parameter))?)))
    })
}

/// `a(ss)`: a device and rights.
pub(super) fn devices(key: &str, value: &Value<'_>) -> Lines {
    texts(key, value, |row| match row {
        [device, rights] => Ok(of_device(string(device)?, string(rights)?)),
        _ => Err(wrong()),
    })
}

/// `a(st)`: a device and a figure.
pub(super) fn per_device(key: &str, value: &Value<'_>) -> Lines {
    let unit = if key.ends_with("Sec") { "us" } else { "" };
    texts(key, value, |row| match row {
        [device, number] => Ok(of_device(string(device)?, &figure(wide(number)?, unit))),
        _ => Err(wrong()),
    })
}

/// `a(iayu)`: family, address, length.
pub(super) fn networks(key: &str, value: &Value<'_>) -> Lines {
    texts(key, value, |row| {
        let [Value::I32(family), address, Value::U32(length)] = row else { return Err(wrong()) };
        let address = bytes(address)?;
        let address = match (family, address.len()) {
            (2, 4) => <[u8; 4]>::try_from(address).map(IpAddr::from),
            (10, 16) => <[u8; 16]>::try_from(address).map(IpAddr::from),
            (family, length) => {
                let text = format!("{length} bytes are no address of the family {family}");
                return Err(Refusal::Wrong(text));
            }
        };
        Ok(format!("{}/{length}", address.map_err(|_| wrong())?))
    })
}

/// `a(iiqq)`: family, protocol, how many ports, and the first.
pub(super) fn binds(key: &str, value: &Value<'_>) -> Lines {
    texts(key, value, |row| {
        let [Value::I32(family), Value::I32(protocol), Value::U16(count), Value::U16(first)] = row else {
            return Err(wrong());
        };
        let word = |number: i32, words: [(i32, &'static str); 3]| {
            let found = words.iter().find(|(known, _)| *known == number).map(|(_, word)| *word);
            found.ok_or_else(|| Refusal::Wrong(format!("{number} is none that can be bound")))
        };
        let ports = match (count, first.checked_add(count.saturating_sub(1))) {
            (0, _) => String::new(),
            (1, _) => first.to_string(),
            (_, Some(last)) => format!("{first}-{last}"),
            (_, None) => return Err(Refusal::Wrong(format!("there are no {count} ports from {first} on"))),
        };
        let parts = [
            word(*family, [(0, ""), (2, "ipv4"), (10, "ipv6")])?,
            word(*protocol, [(0, ""), (6, "tcp"), (17, "udp")])?,
        ];
        let parts: Vec<&str> = parts.into_iter().chain([ports.as_str()]).filter(|part| !part.is_empty()).collect();
        Ok(if parts.is_empty() { "any".to_owned() } else { parts.join(":") })
    })
}

/// `a(ss)`: two texts with a colon between, of which the second may lack.
pub(super) fn pairs(key: &str, value: &Value<'_>) -> Lines {
    texts(key, value, |row| {
        let [first, second] = row else { return Err(wrong()) };
        let (first, second) = (string(first)?, string(second)?);
        if first.contains(':') {
            return Err(no_word(first, "a name or path without a colon"));
        }
        Ok(plain(&if second.is_empty() { first.to_owned() } else { format!("{first}:{second}") }))
    })
}

/// As [`pairs`], where several could be in one line.
pub(super) fn quoted_pairs(key: &str, value: &Value<'_>) -> Lines {
    texts(key, value, |row| {
        let [first, second] = row else { return Err(wrong()) };
        let (first, second) = (string(first)?, string(second)?);
        if first.contains(':') {
            return Err(no_word(first, "a name or path without a colon"));
        }
        Quoting::Quotes.word(&if second.is_empty() { first.to_owned() } else { format!("{first}:{second}") })
    })
}

/// `a(say)`: a name and a secret.
pub(super) fn secrets(key: &str, value: &Value<'_>) -> Lines {
    texts(key, value, |row| {
        let [id, secret] = row else { return Err(wrong()) };
        let (id, secret) = (string(id)?, bytes(secret)?);
        if id.contains(':') || secret.is_empty() {
            return Err(Refusal::Wrong(format!(
                "\"{id}\" is not the name of a credential, or there is no secret in it"
            )));
        }
        let secret = if key.ends_with("Encrypted") { base64(&secret) } else { c_escaped(&secret, "\\ ", "%") };
        // A backslash at the end of a line, of which there may be two here, leads on to the next one.
        let secret = secret.strip_suffix("\\\\").map(|rest| format!("{rest}\\x5c")).unwrap_or(secret);
        Ok(format!("{}:{secret}", plain(id)))
    })
}

/// `a(sb)`: a path, and whether it may be missing.
pub(super) fn files(key: &str, value: &Value<'_>) -> Lines {
    texts(key, value, |row| match row {
        [path, Value::Bool(may_lack)] => {
            Ok(format!("{}{}", if *may_lack { "-" } else { "" }, plain(&full(string(path)?.to_owned())?)))
        }
        _ => Err(wrong()),
    })
}

/// `a(ssbt)`: from where, to where, whether it may be missing, and flags of mount(2).
pub(super) fn bound_paths(key: &str, value: &Value<'_>) -> Lines {
    texts(key, value, |row| {
        let [from, to, Value::Bool(may_lack), Value::U64(flags)] = row else { return Err(wrong()) };
        let how = match *flags {
            0 => "norbind",
            RECURSIVE => "rbind",
            other => return Err(Refusal::Wrong(format!("{other:#x} is neither 0 nor MS_REC"))),
        };
        let sign = if *may_lack { "-" } else { "" };
        Ok(format!("{sign}{}:{}:{how}", protected_part(string(from)?), protected_part(string(to)?)))
    })
}

/// `a(sst)`: a directory, and a link to it.
pub(super) fn links(key: &str, value: &Value<'_>) -> Lines {
    texts(key, value, |row| match row {
        [from, to, Value::U64(_)] => Ok(format!("{}:{}", colon_part(string(from)?), colon_part(string(to)?))),
        _ => Err(wrong()),
    })
}

/// Options for the partitions of an image, each behind a colon.
fn partitions(value: &Value<'_>) -> Result<String, Refusal> {
    let mut text = String::new();
    for pair in array(value)?.iter() {
        let Value::Structure(pair) = pair else { return Err(wrong()) };
        let [partition, options] = pair.fields() else { return Err(wrong()) };
        text += &format!(":{}:{}", colon_part(string(partition)?), colon_part(string(options)?));
    }
    Ok(text)
}

/// `a(ssba(ss))`: image, place, whether it may be missing, options; or without a place, `a(sba(ss))`.
pub(super) fn images(key: &str, value: &Value<'_>) -> Lines {
    texts(key, value, |row| {
        let (image, place, may_lack, options) = match row {
            [image, place, Value::Bool(may_lack), options] => (image, Some(place), may_lack, options),
            [image, Value::Bool(may_lack), options] => (image, None, may_lack, options),
            _ => return Err(wrong()),
        };
        let sign = if *may_lack { "-" } else { "" };
        let place = match place {
            Some(place) => format!(":{}", colon_part(string(place)?)),
            None => String::new(),
        };
        Ok(format!("{sign}{}{place}{}", colon_part(string(image)?), partitions(options)?))
    })
}
