// SPDX-License-Identifier: GPL-2.0-or-later
//! Command lines: `ExecStart` and its like, `a(sasb)`, and with all of their signs `ExecStartEx`, `a(sasas)`.

use zbus::zvariant::Value;

use super::Refusal;
use super::form::{Lines, array, one, string, strings, wrong};
use super::words::c_word;

/// Signs before a program, in the order in which the reader takes them: "Special executable prefixes" in
/// systemd.service(5).
const SIGNS: [(&str, &str); 5] =
    [("ignore-failure", "-"), ("no-env-expand", ":"), ("privileged", "+"), ("no-setuid", "!"), ("ambient", "!!")];

/// A line for each command. None takes back what there was.
pub(super) fn lines(key: &str, value: &Value<'_>) -> Lines {
    let commands = array(value)?;
    if commands.is_empty() {
        return one(key, "");
    }
    let of = |item: &Value<'_>| {
        let Value::Structure(command) = item else { return Err(wrong()) };
        let [path, arguments, how] = command.fields() else { return Err(wrong()) };
        Ok((key.to_owned(), line(string(path)?, &strings(arguments)?, &signs(how)?)?))
    };
    commands.iter().map(of).collect()
}

fn signs(how: &Value<'_>) -> Result<String, Refusal> {
    let flags = match how {
        Value::Bool(ignore) => return Ok(if *ignore { "-" } else { "" }.to_owned()),
        flags => strings(flags)?,
    };
    if let Some(unknown) = flags.iter().find(|flag| SIGNS.iter().all(|(known, _)| *known != **flag)) {
        return Err(Refusal::Wrong(format!("a command cannot be run as \"{unknown}\"")));
    }
    Ok(SIGNS.iter().filter(|(flag, _)| flags.contains(flag)).map(|(_, sign)| *sign).collect())
}

fn line(path: &str, arguments: &[&str], signs: &str) -> Result<String, Refusal> {
    if !path.starts_with('/') {
        return Err(Refusal::Wrong(format!("\"{path}\" is not the absolute path of a program")));
    }
    let Some((own_name, rest)) = arguments.split_first() else {
        return Err(Refusal::Wrong(format!("the command of {path} has not even its own name as an argument")));
    };
    // The program may go by another name than its path's.
    let at = if *own_name == path { "" } else { "@" };
    let program = c_word(format!("{signs}{at}{path}").as_bytes());
    let name = (*own_name != path).then(|| c_word(own_name.as_bytes()));
    let rest = rest.iter().map(|argument| c_word(argument.as_bytes()));
    Ok(std::iter::once(program).chain(name).chain(rest).collect::<Vec<_>>().join(" "))
}
