// SPDX-License-Identifier: GPL-2.0-or-later
//! `[fence]` and `[node.fence]`: how machines are turned off.

use std::collections::BTreeMap;

use toml::de::DeValue;

use super::fields::{At, Reader, Section};
use super::{FenceDevice, FenceTimes};

/// What the options of an agent may not be called: the daemon says these itself.
const OURS: [&str; 2] = ["nodename", "option"];

impl Reader<'_> {
    /// `[fence]`.
    pub(super) fn fence_times(&mut self, root: &Section<'_, '_>) -> Option<FenceTimes> {
        let mut times = FenceTimes::DEFAULT;
        if root.get("fence").is_none() {
            return Some(times);
        }
        let section = self.table(root, "fence", "[fence]")?;
        self.unknown_keys(&section, &["delay_s", "timeout_s"]);
        times.timeout_s = self.number(&section, "timeout_s", 1..=600, "seconds").unwrap_or(times.timeout_s);
        times.delay_s = self.number(&section, "delay_s", 0..=600, "seconds").unwrap_or(times.delay_s);
        Some(times)
    }

    /// `[node.fence]`: an agent, and whatever the agent wants to be told.
    pub(super) fn fence_device(&mut self, node: &Section<'_, '_>) -> Option<FenceDevice> {
        node.get("fence")?;
        let section = self.table(node, "fence", "the node's fence")?;
        let Some(agent) = section.get("agent") else {
            let right = "add agent = with the name of a fence agent, such as agent = \"fence_ipmilan\"";
            self.notebook.wrong(section.header.clone(), "the node's fence has no agent", right);
            return None;
        };
        let agent = self.as_string(agent, "agent").and_then(|agent| self.checked(&agent, agent_name(&agent.value)));
        let action = self.string(&section, "action");
        let action = action.and_then(|action| self.checked(&action, action_name(&action.value)));
        let mut options = BTreeMap::new();
        for (key, value) in section.table {
            let name: &str = key.get_ref();
            if name == "agent" || name == "action" {
                continue;
            }
            if let Err((what, right)) = option_name(name) {
                self.notebook.wrong(key.span(), what, right);
                continue;
            }
            let text = match value.get_ref() {
                DeValue::Boolean(on) => Some(At { value: if *on { "1" } else { "0" }.into(), span: value.span() }),
                DeValue::Integer(number) => Some(At { value: number.as_str().to_owned().into(), span: value.span() }),
                _ => self.as_string(value, name),
            };
            if let Some(text) = text.and_then(|text| self.checked(&text, option_value(&text.value))) {
                options.insert(name.to_owned(), text.value);
            }
        }
        let action = action.map_or_else(|| "reboot".to_owned(), |action| action.value);
        Some(FenceDevice { agent: agent?.value, action, options })
    }
}

type Checked = Result<String, (&'static str, &'static str)>;

fn agent_name(text: &str) -> Checked {
    let plain = |name: &str| name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b));
    let named = text.starts_with("fence_") && plain(text) && text.len() <= 64;
    let path = text.starts_with('/') && text.len() <= 255 && !text.contains(char::is_control);
    if named || path {
        return Ok(text.to_owned());
    }
    Err((
        "this is not the name of a fence agent",
        "give a name such as \"fence_ipmilan\", or the whole path of a program",
    ))
}

fn action_name(text: &str) -> Checked {
    if text == "off" || text == "reboot" {
        return Ok(text.to_owned());
    }
    Err(("this does not end a machine", "it is \"reboot\", or \"off\" for one that is to stay off"))
}

fn option_name(text: &str) -> Checked {
    if OURS.contains(&text) {
        return Err(("this is not for cluster.toml to say", "leave it out"));
    }
    let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-';
    if !text.is_empty() && text.len() <= 64 && text.bytes().all(good) {
        return Ok(text.to_owned());
    }
    Err(("this cannot be the name of an agent's option", "use a name that the agent's manual page gives"))
}

fn option_value(text: &str) -> Checked {
    if text.len() <= 1024 && !text.contains(char::is_control) {
        return Ok(text.to_owned());
    }
    Err(("an agent's option is one line of at most 1024 bytes", "put a secret into a file, and give password_script"))
}
