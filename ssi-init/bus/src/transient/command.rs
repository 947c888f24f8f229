// SPDX-License-Identifier: GPL-2.0-or-later
//! Command lines: `ExecStart` and its like, `a(sasb)`, and with all of their signs `ExecStartEx`, `a(sasas)`.

use zbus::zvariant::{OwnedValue, Value};

use super::words::word;
use super::{Line, Refusal};

/// Signs before a program, in the order in which the reader takes them: "Special executable prefixes" in
/// systemd.service(5).
const SIGNS: [(&str, &str); 5] =
    [("ignore-failure", "-"), ("no-env-expand", ":"), ("privileged", "+"), ("no-setuid", "!"), ("ambient", "!!")];

fn wrong() -> Refusal {
    Refusal::Wrong("it is not a list of commands".to_owned())
}

/// The lines of a list of commands. One that is empty takes back what there was.
pub(super) fn lines(key: &str, value: &OwnedValue) -> Result<Vec<Line>, Refusal> {
    let Value::Array(array) = &**value else { return Err(wrong()) };
    if array.is_empty() {
        return Ok(vec![(key.to_owned(), String::new())]);
    }
    let mut lines = Vec::with_capacity(array.len());
    for item in array.iter() {
        let Value::Structure(command) = item else { return Err(wrong()) };
        let [Value::Str(path), Value::Array(arguments), how] = command.fields() else { return Err(wrong()) };
        lines.push((key.to_owned(), line(path, &strings(arguments)?, &signs(how)?)?));
    }
    Ok(lines)
}

fn strings(array: &zbus::zvariant::Array<'_>) -> Result<Vec<String>, Refusal> {
    let text = |item: &Value<'_>| match item {
        Value::Str(text) => Ok(text.to_string()),
        _ => Err(wrong()),
    };
    array.iter().map(text).collect()
}

fn signs(how: &Value<'_>) -> Result<String, Refusal> {
    let flags = match how {
        Value::Bool(ignore) => return Ok(if *ignore { "-" } else { "" }.to_owned()),
        Value::Array(flags) => strings(flags)?,
        _ => return Err(wrong()),
    };
    if let Some(unknown) = flags.iter().find(|flag| SIGNS.iter().all(|(known, _)| known != flag)) {
        return Err(Refusal::Wrong(format!("a command cannot be run as \"{unknown}\"")));
    }
    Ok(SIGNS.iter().filter(|(flag, _)| flags.iter().any(|own| own == flag)).map(|(_, sign)| *sign).collect())
}

fn line(path: &str, arguments: &[String], signs: &str) -> Result<String, Refusal> {
    if !path.starts_with('/') {
        return Err(Refusal::Wrong(format!("\"{path}\" is not the absolute path of a program")));
    }
    let Some((own_name, rest)) = arguments.split_first() else {
        return Err(Refusal::Wrong(format!("the command of {path} has not even its own name as an argument")));
    };
    // The program may go by another name than its path's.
    let at = if own_name == path { "" } else { "@" };
    let program = word(&format!("{signs}{at}{path}"));
    let name = (own_name != path).then(|| word(own_name));
    let rest = rest.iter().map(|argument| word(argument));
    Ok(std::iter::once(program).chain(name).chain(rest).collect::<Vec<_>>().join(" "))
}
