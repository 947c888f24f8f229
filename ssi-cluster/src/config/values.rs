// SPDX-License-Identifier: GPL-2.0-or-later
//! What a single value of `cluster.toml` may be. Each function gives the value, or what is wrong with it and what would
//! be right; the caller knows the place.

use std::net::IpAddr;

use super::{BUILT_IN_VARIABLES, EngineKind};
use crate::context::{Piece, pieces};

/// What is wrong, and what would be right.
pub(super) type Wrong = (String, String);

fn wrong<T>(what: impl Into<String>, right: impl Into<String>) -> Result<T, Wrong> {
    Err((what.into(), right.into()))
}

/// The cluster's name; it becomes part of paths and of corosync's messages (`totem.cluster_name`).
pub(super) fn cluster_name(text: &str) -> Result<String, Wrong> {
    let right = "use 1 to 32 letters, digits, '-' and '_', such as name = \"alpha\"";
    if text.is_empty() {
        return wrong("the cluster's name is empty", right);
    }
    if text.len() > 32 {
        return wrong(format!("the cluster's name has {} characters", text.chars().count()), right);
    }
    match text.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))) {
        Some(c) => wrong(format!("the cluster's name holds {}", shown(c)), right),
        None => Ok(text.to_owned()),
    }
}

/// A host name as in RFC 1123, section 2.1, and no longer than Linux takes (`gethostname(2)`).
pub(super) fn node_name(text: &str) -> Result<String, Wrong> {
    let right = "use the machine's host name: 1 to 63 letters, digits and '-', such as \"node1\"";
    if text.is_empty() {
        return wrong("the node's name is empty", right);
    }
    if text.len() > 63 {
        return wrong(format!("the node's name has {} characters", text.chars().count()), right);
    }
    if let Some(c) = text.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '.'))) {
        return wrong(format!("the node's name holds {}, which a host name cannot", shown(c)), right);
    }
    for label in text.split('.') {
        if label.is_empty() {
            return wrong("the node's name has a dot with nothing before or after it", right);
        }
        if label.starts_with('-') || label.ends_with('-') {
            return wrong("the node's name has a part that starts or ends with '-'", right);
        }
    }
    if text.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return wrong(
            "a name of digits alone would be taken for a node's number or an address",
            "put a letter into it, such as \"node1\"",
        );
    }
    Ok(text.to_owned())
}

/// An address that other nodes can send to.
pub(super) fn address(text: &str, engine: Option<EngineKind>) -> Result<IpAddr, Wrong> {
    let right = "give the address by which the other nodes reach this one";
    let Ok(address) = text.parse::<IpAddr>() else {
        let what = "this is not an IP address";
        if text.contains('/') {
            return wrong(what, "leave out the prefix length: the address alone, such as \"192.0.2.11\"");
        }
        if text.contains('%') {
            return wrong(what, "leave out the interface after '%'");
        }
        let v4_shaped = text.split('.').count() == 4 && text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        if v4_shaped {
            return wrong(what, "each of the four parts is a number from 0 to 255 without leading zeros");
        }
        return wrong(
            what,
            "write an address such as \"192.0.2.11\" or \"2001:db8::11\"; host names are not looked up",
        );
    };
    if let IpAddr::V6(v6) = address {
        if let Some(v4) = v6.to_ipv4_mapped() {
            return wrong("this is an IPv4 address written as an IPv6 one", format!("write \"{v4}\""));
        }
        if v6.is_unicast_link_local() {
            return wrong(
                "a link-local address is not reached without naming an interface",
                "give the node a routable or unique local (fd..) address",
            );
        }
    }
    if address.is_unspecified() {
        return wrong("this address stands for none", right);
    }
    if address.is_multicast() {
        return wrong("this is a multicast address, it belongs to a group and not to a node", right);
    }
    if matches!(address, IpAddr::V4(v4) if v4.is_broadcast()) {
        return wrong("this is the broadcast address, it belongs to all machines of a network", right);
    }
    if address.is_loopback() && engine == Some(EngineKind::Corosync) {
        return wrong(
            "this is a loopback address, no other node can reach it",
            format!("{right}, or set engine = \"solo\" for a single machine"),
        );
    }
    Ok(address)
}

/// The contents of `/etc/machine-id` (`machine-id(5)`).
pub(super) fn machine_id(text: &str) -> Result<String, Wrong> {
    let right = "copy the 32 hexadecimal digits of this node's /etc/machine-id";
    let digits = text.bytes().all(|b| b.is_ascii_hexdigit());
    if digits && text.len() == 32 {
        if text.bytes().all(|b| b == b'0') {
            return wrong("a machine id of zeros is no machine's", right);
        }
        return Ok(text.to_ascii_lowercase());
    }
    if digits && !text.is_empty() {
        return wrong(format!("a machine id has 32 digits, this has {}", text.len()), right);
    }
    wrong("this is not a machine id", right)
}

/// The firmware's UUID (RFC 9562, section 4). All zeros and all ones are what firmware without one gives.
pub(super) fn product_uuid(text: &str) -> Result<String, Wrong> {
    let right =
        "copy the line of this node's /sys/class/dmi/id/product_uuid, such as \"4c4c4544-0051-3510-8052-b4c04f4a3132\"";
    let groups: Vec<&str> = text.split('-').collect();
    let form = groups.iter().map(|g| g.len()).eq([8, 4, 4, 4, 12]);
    if !form || !text.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-') {
        return wrong("this is not a UUID", right);
    }
    for filler in [b'0', b'f'] {
        if text.bytes().all(|b| b == b'-' || b.to_ascii_lowercase() == filler) {
            return wrong(
                "firmware that has no UUID gives this one, so it tells no machine from another",
                "leave product_uuid out and give mac = or machine_id =",
            );
        }
    }
    Ok(text.to_ascii_lowercase())
}

/// The name of a site's own variable.
pub(super) fn variable(name: &str) -> Result<(), Wrong> {
    if BUILT_IN_VARIABLES.contains(&name) {
        return wrong(
            "every node has this variable already and it cannot be set",
            format!("choose another name than {}", BUILT_IN_VARIABLES.join(", ")),
        );
    }
    let well_formed = name.bytes().next().is_some_and(|b| b.is_ascii_lowercase())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    if !well_formed {
        return wrong(
            "this cannot be the name of a variable",
            "use small letters, digits and '_', with a letter first, such as role = \"web\"",
        );
    }
    if name.len() > 32 {
        return wrong(format!("the name of this variable has {} characters", name.len()), "use at most 32");
    }
    Ok(())
}

/// A character for a message, named where it could not be seen.
pub(super) fn shown(c: char) -> String {
    match c {
        ' ' => "a space".to_owned(),
        '\t' => "a tab".to_owned(),
        '\n' => "a line's end".to_owned(),
        '\0' => "a NUL character".to_owned(),
        c if c.is_control() => format!("the control character {}", c.escape_unicode()),
        c => format!("'{c}'"),
    }
}

/// What a site's own variable is on one node: it becomes part of a path, so it must be a part of one.
///
/// The built-in variables may stand in it. `longest` gives how long each may become.
pub(super) fn variable_value(text: &str, longest: impl Fn(&str) -> usize) -> Result<String, Wrong> {
    if text.is_empty() {
        return wrong("the variable is empty", "give it a value, or leave it out on all nodes");
    }
    if text == "." || text == ".." {
        return wrong("a directory cannot have this name", "use another value, it becomes a part of paths");
    }
    if let Some(c) = text.chars().find(|c| *c == '/' || c.is_control()) {
        return wrong(format!("the value holds {}", shown(c)), "leave it out: the value becomes one part of paths");
    }
    let mut length = 0;
    for piece in pieces(text.as_bytes()) {
        match piece {
            Piece::Variable(name) if BUILT_IN_VARIABLES.contains(&name) => length += longest(name),
            Piece::Variable(name) => {
                return wrong(
                    format!("{{{name}}} is not a variable that can stand here"),
                    format!("the ones that can are {}", braced(&BUILT_IN_VARIABLES)),
                );
            }
            Piece::Text(text) => {
                if text.iter().any(|b| matches!(b, b'{' | b'}')) {
                    return wrong(
                        "a brace that is not part of a {variable}",
                        format!("leave it out, or write one of {}", braced(&BUILT_IN_VARIABLES)),
                    );
                }
                length += text.len();
            }
        }
    }
    // NAME_MAX of Linux.
    if length > 255 {
        return wrong(
            format!("the value becomes up to {length} bytes long"),
            "shorten it: a part of a path has at most 255 bytes",
        );
    }
    Ok(text.to_owned())
}

/// `{a}, {b} and so on`, for messages.
fn braced(names: &[&str]) -> String {
    names.iter().map(|n| format!("{{{n}}}")).collect::<Vec<_>>().join(", ")
}
