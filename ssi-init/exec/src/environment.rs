// SPDX-License-Identifier: GPL-2.0-or-later
//! The environment a program finds. systemd.exec(5), "Environment Variables in Spawned Processes".

/// Assignments in the order of their first appearance; the last value wins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Variables {
    list: Vec<(String, String)>,
}

impl Variables {
    /// None.
    pub fn new() -> Variables {
        Variables::default()
    }

    /// Sets one. Names that cannot be one (empty, with `=` or NUL) and values with NUL are passed over: the kernel
    /// would cut them.
    pub fn set(&mut self, name: &str, value: &str) {
        if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
            return;
        }
        match self.list.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => value.clone_into(old),
            None => self.list.push((name.to_owned(), value.to_owned())),
        }
    }

    /// Sets many.
    pub fn extend(&mut self, assignments: &[(String, String)]) {
        for (name, value) in assignments {
            self.set(name, value);
        }
    }

    /// Takes away what `UnsetEnvironment=` lists: a name, or `NAME=value` only when it has that value.
    pub fn unset(&mut self, patterns: &[String]) {
        self.list.retain(|(name, value)| {
            !patterns.iter().any(|pattern| match pattern.split_once('=') {
                None => pattern == name,
                Some((unset_name, unset_value)) => unset_name == name && unset_value == value,
            })
        });
    }

    /// One value.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.list.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// All, for execve(2).
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.list.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// What `TERM` is for a terminal that nobody told us about: the kernel's consoles are `linux`, serial lines and the
/// rest `vt220`.
pub fn default_term(device: &str) -> &'static str {
    let name = device.strip_prefix("/dev/").unwrap_or(device);
    let is_vt = name.strip_prefix("tty").is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_digit()));
    if is_vt { "linux" } else { "vt220" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_value_wins_in_the_first_place() {
        let mut variables = Variables::new();
        variables.extend(&[("A".into(), "1".into()), ("B".into(), "2".into()), ("A".into(), "3".into())]);
        assert_eq!(variables.iter().collect::<Vec<_>>(), [("A", "3"), ("B", "2")]);
    }

    #[test]
    fn unset_takes_names_and_exact_assignments() {
        let mut variables = Variables::new();
        variables.extend(&[("A".into(), "1".into()), ("B".into(), "2".into()), ("C".into(), "3".into())]);
        variables.unset(&["A".into(), "B=2".into(), "C=4".into()]);
        assert_eq!(variables.iter().collect::<Vec<_>>(), [("C", "3")]);
    }

    #[test]
    fn what_execve_would_cut_is_left_out() {
        let mut variables = Variables::new();
        variables.set("A=B", "x");
        variables.set("", "x");
        variables.set("A", "x\0y");
        assert_eq!(variables.iter().count(), 0);
    }

    #[test]
    fn consoles_and_serial_lines() {
        assert_eq!(default_term("/dev/tty1"), "linux");
        assert_eq!(default_term("/dev/ttyS0"), "vt220");
        assert_eq!(default_term("/dev/pts/0"), "vt220");
    }
}
