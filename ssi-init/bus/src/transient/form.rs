// SPDX-License-Identifier: GPL-2.0-or-later
//! How values are written that are not rows of several: numbers, texts, sets, lists of words.
//!
//! Each of these functions takes the setting and a value whose type was looked at before; what is no value of that type
//! all the same is refused, not guessed.

use zbus::zvariant::{Array, Value};

use super::words::{Quoting, base64, in_one_line, plain, quoted};
use super::{Line, Refusal, bits};

/// What becomes of a value.
pub(super) type Lines = Result<Vec<Line>, Refusal>;
/// Writes a value as that of a setting.
pub(super) type Write = fn(&str, &Value<'_>) -> Lines;

/// A value that is not of the type it was said to be.
pub(super) fn wrong() -> Refusal {
    Refusal::Wrong("its value does not fit its type".to_owned())
}

/// A line.
pub(super) fn one(key: &str, text: impl Into<String>) -> Lines {
    Ok(vec![(key.to_owned(), text.into())])
}

/// How properties are written of which nothing is told but their type.
pub(super) fn by_type(signature: &str) -> Option<Write> {
    Some(match signature {
        "b" => flag,
        "s" => text,
        "y" | "n" | "q" | "i" | "u" | "x" => number,
        "t" => amount,
        "as" => |key, value| list(key, value, Quoting::Quotes),
        _ => return None,
    })
}

/// Any whole number there is in 64 bits and a sign.
pub(super) fn integer(value: &Value<'_>) -> Result<i128, Refusal> {
    Ok(match value {
        Value::U8(number) => i128::from(*number),
        Value::I16(number) => i128::from(*number),
        Value::U16(number) => i128::from(*number),
        Value::I32(number) => i128::from(*number),
        Value::U32(number) => i128::from(*number),
        Value::I64(number) => i128::from(*number),
        Value::U64(number) => i128::from(*number),
        _ => return Err(wrong()),
    })
}

/// A number of 64 bits.
pub(super) fn wide(value: &Value<'_>) -> Result<u64, Refusal> {
    if let Value::U64(number) = value { Ok(*number) } else { Err(wrong()) }
}

/// A text.
pub(super) fn string<'v>(value: &'v Value<'_>) -> Result<&'v str, Refusal> {
    if let Value::Str(text) = value { Ok(text.as_str()) } else { Err(wrong()) }
}

/// An array.
pub(super) fn array<'v, 'd>(value: &'v Value<'d>) -> Result<&'v Array<'d>, Refusal> {
    if let Value::Array(array) = value { Ok(array) } else { Err(wrong()) }
}

/// A list of texts.
pub(super) fn strings<'v>(value: &'v Value<'_>) -> Result<Vec<&'v str>, Refusal> {
    array(value)?.iter().map(string).collect()
}

/// A list of bytes.
pub(super) fn bytes(value: &Value<'_>) -> Result<Vec<u8>, Refusal> {
    let byte = |item: &Value<'_>| if let Value::U8(byte) = item { Ok(*byte) } else { Err(wrong()) };
    array(value)?.iter().map(byte).collect()
}

/// Yes or no.
pub(super) fn flag(key: &str, value: &Value<'_>) -> Lines {
    let Value::Bool(yes) = value else { return Err(wrong()) };
    one(key, if *yes { "yes" } else { "no" })
}

/// A text with specifiers.
pub(super) fn text(key: &str, value: &Value<'_>) -> Lines {
    one(key, plain(string(value)?))
}

/// A text in which `%` is a character like others.
pub(super) fn raw(key: &str, value: &Value<'_>) -> Lines {
    one(key, string(value)?)
}

/// A text for people: systemd-run makes it of the command, which may be a script of many lines.
pub(super) fn sentence(key: &str, value: &Value<'_>) -> Lines {
    one(key, plain(&in_one_line(string(value)?)))
}

/// A number.
pub(super) fn number(key: &str, value: &Value<'_>) -> Lines {
    one(key, integer(value)?.to_string())
}

/// A number, where all ones or a negative one is none.
pub(super) fn number_or_none(key: &str, value: &Value<'_>) -> Lines {
    let number = integer(value)?;
    let none = number < 0 || matches!(value, Value::U32(u32::MAX) | Value::U16(u16::MAX));
    one(key, if none { String::new() } else { number.to_string() })
}

/// An amount; all ones is any.
pub(super) fn amount(key: &str, value: &Value<'_>) -> Lines {
    one(key, figure(wide(value)?, ""))
}

/// Microseconds; all ones is for ever.
pub(super) fn span(key: &str, value: &Value<'_>) -> Lines {
    one(key, figure(wide(value)?, "us"))
}

/// An amount in a unit.
pub(super) fn figure(number: u64, unit: &str) -> String {
    if number == u64::MAX { "infinity".to_owned() } else { format!("{number}{unit}") }
}

/// A share of `u32::MAX`.
pub(super) fn share(key: &str, value: &Value<'_>) -> Lines {
    let Value::U32(share) = value else { return Err(wrong()) };
    let hundredths = (u64::from(*share) * 10_000 + u64::from(u32::MAX) / 2) / u64::from(u32::MAX);
    one(key, format!("{}.{:02}%", hundredths / 100, hundredths % 100))
}

/// A share of a processor, in microseconds of each second; all ones is any.
pub(super) fn quota(key: &str, value: &Value<'_>) -> Lines {
    one(
        key,
        match wide(value)? {
            u64::MAX => String::new(),
            // 1 % of a second is 10 ms.
            span => format!("{}.{:02}%", span / 10_000, span % 10_000 / 100),
        },
    )
}

/// A weight, all ones for none; of processors, nothing is for those that are idle.
pub(super) fn weight(key: &str, value: &Value<'_>) -> Lines {
    one(
        key,
        match wide(value)? {
            u64::MAX => String::new(),
            0 if key.ends_with("CPUWeight") => "idle".to_owned(),
            weight => weight.to_string(),
        },
    )
}

/// An access mode.
pub(super) fn mode(key: &str, value: &Value<'_>) -> Lines {
    one(key, format!("{:04o}", integer(value)?))
}

/// Bits in hexadecimal.
pub(super) fn mask(key: &str, value: &Value<'_>) -> Lines {
    one(key, format!("{:#x}", wide(value)?))
}

/// One of the words that stand for numbers.
pub(super) fn choice(key: &str, value: &Value<'_>, words: &[(i64, &str)]) -> Lines {
    let number = i64::try_from(integer(value)?).unwrap_or(i64::MAX);
    one(key, bits::choice(words, number).ok_or_else(|| Refusal::Wrong(format!("{number} stands for nothing")))?)
}

/// A set of numbers.
pub(super) fn numbers(key: &str, value: &Value<'_>) -> Lines {
    one(key, bits::places(&bytes(value)?))
}

/// Words in a line.
pub(super) fn list(key: &str, value: &Value<'_>, quoting: Quoting) -> Lines {
    one(key, quoting.words(strings(value)?)?)
}

/// A line for each text; none takes back what there was.
pub(super) fn each(key: &str, value: &Value<'_>) -> Lines {
    let texts = strings(value)?;
    if texts.is_empty() {
        return one(key, "");
    }
    texts.into_iter().map(|text| Ok((key.to_owned(), full(plain(text))?))).collect()
}

/// What is not empty, for that takes back what there was.
pub(super) fn full(text: String) -> Result<String, Refusal> {
    if text.is_empty() { Err(Refusal::Wrong("an empty text cannot be in this list".to_owned())) } else { Ok(text) }
}

/// Texts with colons between.
pub(super) fn with_colons(key: &str, value: &Value<'_>) -> Lines {
    let texts = strings(value)?;
    if texts.iter().any(|text| text.contains(':')) {
        return Err(Refusal::Wrong("a path with a colon cannot be in this list".to_owned()));
    }
    one(key, plain(&texts.join(":")))
}

/// Fields of the journal, which are bytes.
pub(super) fn fields(key: &str, value: &Value<'_>) -> Lines {
    let words: Result<Vec<String>, Refusal> =
        array(value)?.iter().map(|field| Ok(super::words::c_word(&bytes(field)?))).collect();
    one(key, words?.join(" "))
}

/// Bytes in base64.
pub(super) fn encoded(key: &str, value: &Value<'_>) -> Lines {
    one(key, base64(&bytes(value)?))
}

/// A signature, which may be a path elsewhere.
pub(super) fn signature(key: &str, value: &Value<'_>) -> Lines {
    let bytes = bytes(value)?;
    one(key, if bytes.is_empty() { String::new() } else { format!("base64:{}", base64(&bytes)) })
}

/// Bytes in hexadecimal.
pub(super) fn digits(key: &str, value: &Value<'_>) -> Lines {
    one(key, bytes(value)?.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}

/// `CPUAffinityFromNUMA`: nothing is said unless it is so.
pub(super) fn of_numa(key: &str, value: &Value<'_>) -> Lines {
    let Value::Bool(yes) = value else { return Err(wrong()) };
    if *yes { one(key, "numa") } else { Ok(Vec::new()) }
}

/// The number of an error, or that the process is killed.
pub(super) fn error_or_kill(key: &str, value: &Value<'_>) -> Lines {
    const KILL: i128 = i32::MAX as i128 - 1;
    let number = integer(value)?;
    one(key, if number == KILL { "kill".to_owned() } else { number.to_string() })
}

/// `(bas)`: whether what is named is allowed, and what that is. `none` is what says that nothing is.
pub(super) fn with_sense(key: &str, value: &Value<'_>, quoting: Quoting, none: &str) -> Lines {
    let Value::Structure(row) = value else { return Err(wrong()) };
    let [Value::Bool(allowed), names] = row.fields() else { return Err(wrong()) };
    let names = strings(names)?;
    let text = match (names.is_empty(), *allowed) {
        (true, true) => none.to_owned(),
        // Nothing that is refused is no restriction.
        (true, false) => String::new(),
        (false, allowed) => format!("{}{}", if allowed { "" } else { "~" }, quoting.words(names)?),
    };
    one(key, text)
}

/// The label of a security module, perhaps with whether it may be missing.
pub(super) fn label(key: &str, value: &Value<'_>) -> Lines {
    match value {
        Value::Structure(row) => {
            let [Value::Bool(may_lack), label] = row.fields() else { return Err(wrong()) };
            one(key, format!("{}{}", if *may_lack { "-" } else { "" }, plain(string(label)?)))
        }
        _ => text(key, value),
    }
}

/// `(aiai)`: exit statuses and signals.
pub(super) fn statuses(key: &str, value: &Value<'_>) -> Lines {
    let Value::Structure(row) = value else { return Err(wrong()) };
    let [statuses, signals] = row.fields() else { return Err(wrong()) };
    let mut words = Vec::new();
    for status in array(statuses)?.iter() {
        words.push(integer(status)?.to_string());
    }
    for signal in array(signals)?.iter() {
        let Value::I32(signal) = signal else { return Err(wrong()) };
        words.push(ssi_unit::process_end::signal_name(*signal).to_string());
    }
    one(key, words.join(" "))
}

/// A device, in quotes if need be, and what is said of it.
pub(super) fn of_device(device: &str, rest: &str) -> String {
    format!("{} {rest}", quoted(device)).trim_end().to_owned()
}
