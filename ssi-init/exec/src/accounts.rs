// SPDX-License-Identifier: GPL-2.0-or-later
//! Users and groups without the C library's name service, which a static program cannot load.
//!
//! /etc/passwd and /etc/group are read here; when a name is not in them, getent(1) is asked, which knows the
//! machine's other sources (nss-systemd, sssd, LDAP). Membership in groups comes from /etc/group alone, unless
//! /etc/nsswitch.conf names a source that could add to it. passwd(5), group(5), nsswitch.conf(5).

/// A record of passwd(5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Login name.
    pub name: String,
    /// Number.
    pub uid: u32,
    /// Its own group.
    pub gid: u32,
    /// Home directory.
    pub home: String,
    /// Shell.
    pub shell: String,
}

/// A record of group(5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Name.
    pub name: String,
    /// Number.
    pub gid: u32,
    /// Names of the members.
    pub members: Vec<String>,
}

/// A number written for a user or group. The two that mean "unchanged" to the kernel are none.
pub fn parse_id(text: &str) -> Option<u32> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) || (text.len() > 1 && text.starts_with('0')) {
        return None;
    }
    text.parse().ok().filter(|id| !matches!(id, 0xFFFF | 0xFFFF_FFFF))
}

/// One line of passwd(5); comments, NIS's `+` lines and broken lines are none.
pub fn parse_user(line: &str) -> Option<User> {
    let mut fields = line.split(':');
    let name = fields.next().filter(|name| is_name(name))?;
    let (_password, uid, gid, _gecos) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    Some(User {
        name: name.to_owned(),
        uid: uid.parse().ok()?,
        gid: gid.parse().ok()?,
        home: fields.next()?.to_owned(),
        shell: fields.next().unwrap_or_default().to_owned(),
    })
}

/// One line of group(5).
pub fn parse_group(line: &str) -> Option<Group> {
    let mut fields = line.split(':');
    let name = fields.next().filter(|name| is_name(name))?;
    let (_password, gid) = (fields.next()?, fields.next()?);
    let members = fields.next().unwrap_or_default();
    Some(Group {
        name: name.to_owned(),
        gid: gid.parse().ok()?,
        members: members.split(',').filter(|member| !member.is_empty()).map(str::to_owned).collect(),
    })
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.starts_with(['#', '+', '-'])
}

/// The user of that name or number in the text of a passwd file.
pub fn find_user(passwd: &str, wanted: &str) -> Option<User> {
    let number = parse_id(wanted);
    passwd.lines().filter_map(parse_user).find(|user| match number {
        Some(uid) => user.uid == uid,
        None => user.name == wanted,
    })
}

/// The group of that name or number in the text of a group file.
pub fn find_group(group: &str, wanted: &str) -> Option<Group> {
    let number = parse_id(wanted);
    group.lines().filter_map(parse_group).find(|group| match number {
        Some(gid) => group.gid == gid,
        None => group.name == wanted,
    })
}

/// The numbers of the groups that have `user` as a member, in the file's order.
pub fn memberships(group: &str, user: &str) -> Vec<u32> {
    let mut gids = Vec::new();
    for group in group.lines().filter_map(parse_group) {
        if group.members.iter().any(|member| member == user) && !gids.contains(&group.gid) {
            gids.push(group.gid);
        }
    }
    gids
}

/// Whether the text of nsswitch.conf names a source beyond the files that can add members to groups.
/// `systemd` and `dynamic` users bring groups of their own name only.
pub fn groups_need_getent(nsswitch: &str) -> bool {
    let sources = |database: &str| {
        nsswitch.lines().find_map(|line| {
            let line = line.split('#').next().unwrap_or_default().trim();
            line.strip_prefix(database)?.trim_start().strip_prefix(':')
        })
    };
    let Some(sources) = sources("initgroups").or_else(|| sources("group")) else { return false };
    sources
        .split_whitespace()
        .filter(|word| !word.starts_with('[') && !word.ends_with(']'))
        .any(|source| !matches!(source, "files" | "systemd" | "compat" | "db" | "altfiles"))
}

/// The group numbers in an answer of `getent initgroups USER`: the name, then numbers.
pub fn parse_initgroups(answer: &str) -> Vec<u32> {
    answer.lines().next().unwrap_or_default().split_whitespace().skip(1).filter_map(|word| word.parse().ok()).collect()
}

/// Shells that say "nobody logs in here": `$SHELL` is then not set.
pub fn is_nologin(shell: &str) -> bool {
    shell.is_empty() || matches!(shell.rsplit('/').next(), Some("nologin" | "false" | "true"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str =
        "# c\nroot:x:0:0:root:/root:/bin/bash\n+::::::\nbroken:x:zero\nwww-data:x:33:33::/var/www:/usr/sbin/nologin\n";
    const GROUP: &str = "root:x:0:\nadm:x:4:www-data,alice\nwww-data:x:33:\ncdrom:x:24:alice\ntape:x:26:www-data\n";

    #[test]
    fn records_by_name_and_number() {
        assert_eq!(find_user(PASSWD, "www-data").map(|u| (u.uid, u.gid)), Some((33, 33)));
        assert_eq!(find_user(PASSWD, "33").map(|u| u.name), Some("www-data".to_owned()));
        assert_eq!(find_user(PASSWD, "broken"), None);
        assert_eq!(find_user(PASSWD, "+"), None);
        assert_eq!(find_group(GROUP, "24").map(|g| g.name), Some("cdrom".to_owned()));
        assert_eq!(memberships(GROUP, "www-data"), [4, 26]);
    }

    #[test]
    fn numbers_that_mean_unchanged_are_none() {
        assert_eq!(parse_id("0"), Some(0));
        assert_eq!(parse_id("65535"), None);
        assert_eq!(parse_id("4294967295"), None);
        assert_eq!(parse_id("007"), None);
        assert_eq!(parse_id("+1"), None);
    }

    #[test]
    fn the_switch_decides_whether_getent_is_needed() {
        assert!(!groups_need_getent("passwd: files\ngroup:          files systemd\n"));
        assert!(groups_need_getent("group: files [SUCCESS=merge] sss\n"));
        assert!(groups_need_getent("group: files\ninitgroups: files ldap # all\n"));
        assert!(!groups_need_getent("groupfoo: ldap\n"));
    }

    #[test]
    fn an_answer_of_getent() {
        assert_eq!(parse_initgroups("alice                 4 24 1000\n"), [4, 24, 1000]);
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_the_readers_panic(text in ".{0,200}") {
            let _ = (find_user(&text, "a"), find_group(&text, "1"), memberships(&text, "a"), groups_need_getent(&text));
        }
    }
}
