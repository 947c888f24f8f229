// SPDX-License-Identifier: GPL-2.0-or-later
//! Who the program runs as: names to numbers, and taking them on.

use super::trouble::{At, failure};
use crate::accounts::{self, Group, User};
use crate::plan::ExecPlan;
use crate::report::Failure;
use crate::step::Step;
use rustix::fs::Gid;
use rustix::io::Errno;
use rustix::process::Uid;
use std::fmt::Write;
use std::process::{Command, Stdio};

/// The numbers and what goes into the environment.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Resolved {
    pub(super) uid: Option<u32>,
    pub(super) gid: Option<u32>,
    /// All supplementary groups, when any were asked for or a user is taken on.
    pub(super) supplementary: Option<Vec<u32>>,
    /// The groups of the user alone, which a command with the prefix `+` or `!` gets too.
    pub(super) of_user: Option<Vec<u32>>,
    pub(super) name: Option<String>,
    pub(super) home: Option<String>,
    pub(super) shell: Option<String>,
}

/// Where names are looked up; the real one reads the machine.
pub(super) trait Directory {
    fn passwd(&self) -> String;
    fn group(&self) -> String;
    fn nsswitch(&self) -> String;
    /// The first line that `getent DATABASE KEY` prints.
    fn getent(&self, database: &str, key: &str) -> Option<String>;
    fn exists(&self, path: &str) -> bool;
}

/// This machine.
pub(super) struct Machine;

impl Directory for Machine {
    fn passwd(&self) -> String {
        read("/etc/passwd")
    }

    fn group(&self) -> String {
        read("/etc/group")
    }

    fn nsswitch(&self) -> String {
        read("/etc/nsswitch.conf")
    }

    fn getent(&self, database: &str, key: &str) -> Option<String> {
        let output = Command::new("/usr/bin/getent")
            .args([database, "--", key])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .output()
            .ok()?;
        String::from_utf8(output.stdout).ok().filter(|answer| !answer.is_empty())
    }

    fn exists(&self, path: &str) -> bool {
        rustix::fs::access(path, rustix::fs::Access::EXISTS).is_ok()
    }
}

/// A file of account records; bytes that are no text are replaced, so that one odd comment hides no user.
fn read(path: &str) -> String {
    std::fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

/// Looks everything up.
pub(super) fn resolve(plan: &ExecPlan, directory: &impl Directory) -> Result<Resolved, Failure> {
    let identity = &plan.identity;
    let mut resolved = Resolved::default();
    let mut groups_file: Option<String> = None;
    if let Some(dynamic) = &identity.dynamic {
        resolved.uid = Some(dynamic.id);
        resolved.gid = Some(dynamic.id);
        resolved.name = Some(dynamic.name.clone());
        resolved.supplementary = Some(Vec::new());
    } else if let Some(wanted) = &identity.user {
        let user = find_user(wanted, directory)
            .ok_or_else(|| failure(Step::User, Some(Errno::SRCH), format!("user {wanted}")))?;
        let group = groups_file.get_or_insert_with(|| directory.group());
        let mut member_of = accounts::memberships(group, &user.name);
        if accounts::groups_need_getent(&directory.nsswitch())
            && let Some(answer) = directory.getent("initgroups", &user.name)
        {
            let more = accounts::parse_initgroups(&answer);
            member_of.extend(more.into_iter().filter(|gid| !member_of.contains(gid)).collect::<Vec<_>>());
        }
        // What initgroups(3) gives: the user's own group first, or the one that stands in for it.
        let own = match &identity.group {
            None => user.gid,
            Some(wanted) => find_group(wanted, group, directory)?,
        };
        member_of.retain(|gid| *gid != own);
        member_of.insert(0, own);
        resolved.of_user = Some(member_of.clone());
        resolved.supplementary = Some(member_of);
        resolved.uid = Some(user.uid);
        resolved.gid = Some(own);
        resolved.home = Some(user.home).filter(|home| home.starts_with('/') && !home.trim_matches('/').is_empty());
        resolved.shell = Some(user.shell).filter(|shell| shell.starts_with('/') && !accounts::is_nologin(shell));
        resolved.name = Some(user.name);
    }
    if resolved.gid.is_none()
        && let Some(wanted) = &identity.group
    {
        let group = groups_file.get_or_insert_with(|| directory.group());
        resolved.gid = Some(find_group(wanted, group, directory)?);
    }
    for wanted in &identity.supplementary {
        let group = groups_file.get_or_insert_with(|| directory.group());
        let gid = find_group(wanted, group, directory)?;
        let list = resolved.supplementary.get_or_insert_default();
        if !list.contains(&gid) {
            list.push(gid);
        }
    }
    Ok(resolved)
}

/// Root is known without asking anybody: a broken user database must not keep a rescue shell from starting. So is
/// nobody, who has no home whatever the database says.
fn find_user(wanted: &str, directory: &impl Directory) -> Option<User> {
    if matches!(wanted, "root" | "0") {
        let shell = if directory.exists("/bin/bash") { "/bin/bash" } else { "/bin/sh" };
        return Some(User { name: "root".into(), uid: 0, gid: 0, home: "/root".into(), shell: shell.into() });
    }
    if matches!(wanted, "nobody" | "65534") {
        let shell = "/usr/sbin/nologin".into();
        return Some(User { name: "nobody".into(), uid: 65534, gid: 65534, home: "/".into(), shell });
    }
    accounts::find_user(&directory.passwd(), wanted)
        .or_else(|| accounts::parse_user(directory.getent("passwd", wanted)?.lines().next()?))
}

fn find_group(wanted: &str, file: &str, directory: &impl Directory) -> Result<u32, Failure> {
    if matches!(wanted, "root" | "0") {
        return Ok(0);
    }
    accounts::find_group(file, wanted)
        .or_else(|| accounts::parse_group(directory.getent("group", wanted)?.lines().next()?))
        .map(|group: Group| group.gid)
        .ok_or_else(|| failure(Step::Group, Some(Errno::SRCH), format!("group {wanted}")))
}

/// The groups that come with looking a user up: systemd's way of asking also takes them, so a command that keeps
/// its identity has them beside group 0.
pub(super) fn take_users_groups(resolved: &Resolved) -> Result<(), Failure> {
    set_groups(resolved.of_user.as_ref())
}

/// The supplementary groups and the group.
pub(super) fn take_groups(resolved: &Resolved) -> Result<(), Failure> {
    set_groups(resolved.supplementary.as_ref())?;
    if let Some(gid) = resolved.gid {
        let raw = Gid::from_raw(gid);
        rustix::thread::set_thread_res_gid(raw, raw, raw).at(Step::Group, || format!("group {gid}"))?;
    }
    Ok(())
}

fn set_groups(list: Option<&Vec<u32>>) -> Result<(), Failure> {
    if let Some(list) = list {
        let gids: Vec<Gid> = list.iter().map(|gid| Gid::from_raw(*gid)).collect();
        rustix::thread::set_thread_groups(&gids).at(Step::Group, || {
            list.iter().fold("supplementary groups".to_owned(), |mut text, gid| {
                let _ = write!(text, " {gid}");
                text
            })
        })?;
    }
    Ok(())
}

/// The user. With `keep_capabilities` they are kept over the change, for those that are to be ambient.
pub(super) fn take_user(uid: u32, keep_capabilities: bool) -> Result<(), Failure> {
    if keep_capabilities && uid != 0 {
        rustix::thread::set_keep_capabilities(true).at(Step::User, || "keeping capabilities".into())?;
    }
    let raw = Uid::from_raw(uid);
    rustix::thread::set_thread_res_uid(raw, raw, raw).at(Step::User, || format!("user {uid}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Command;

    struct Paper {
        nsswitch: &'static str,
    }

    impl Directory for Paper {
        fn passwd(&self) -> String {
            "root:x:0:0::/root:/bin/sh\nalice:x:1000:1000::/home/alice:/bin/zsh\nsvc:x:200:201::/:/usr/sbin/nologin\n"
                .into()
        }
        fn group(&self) -> String {
            "adm:x:4:alice\nalice:x:1000:\nsvc:x:201:\nwheel:x:10:alice,svc\n".into()
        }
        fn nsswitch(&self) -> String {
            self.nsswitch.into()
        }
        fn getent(&self, database: &str, key: &str) -> Option<String> {
            match (database, key) {
                ("passwd", "ldapuser") => Some("ldapuser:*:70000:70001::/home/l:/bin/sh\n".into()),
                ("initgroups", "alice") => Some("alice 4 10 7777\n".into()),
                _ => None,
            }
        }
        fn exists(&self, _: &str) -> bool {
            false
        }
    }

    fn resolve_with(
        user: Option<&str>,
        group: Option<&str>,
        more: &[&str],
        nss: &'static str,
    ) -> Result<Resolved, Failure> {
        let mut plan = ExecPlan::new("a.service", Command::default());
        plan.identity.user = user.map(str::to_owned);
        plan.identity.group = group.map(str::to_owned);
        plan.identity.supplementary = more.iter().map(|name| name.to_string()).collect();
        resolve(&plan, &Paper { nsswitch: nss })
    }

    #[test]
    fn nobody_asked_for_means_nothing_changes() {
        assert_eq!(resolve_with(None, None, &[], "").unwrap(), Resolved::default());
    }

    #[test]
    fn a_user_brings_its_groups() {
        let alice = resolve_with(Some("alice"), None, &["svc"], "").unwrap();
        assert_eq!((alice.uid, alice.gid), (Some(1000), Some(1000)));
        assert_eq!(alice.supplementary, Some(vec![1000, 4, 10, 201]));
        assert_eq!(alice.home.as_deref(), Some("/home/alice"));
    }

    #[test]
    fn other_sources_add_groups_when_the_switch_names_them() {
        let alice = resolve_with(Some("alice"), None, &[], "group: files sss").unwrap();
        assert_eq!(alice.supplementary, Some(vec![1000, 4, 10, 7777]));
    }

    #[test]
    fn a_service_account_has_neither_home_nor_shell() {
        let svc = resolve_with(Some("200"), Some("adm"), &[], "").unwrap();
        assert_eq!((svc.uid, svc.gid, svc.home, svc.shell), (Some(200), Some(4), None, None));
        assert_eq!(svc.name.as_deref(), Some("svc"));
    }

    #[test]
    fn what_is_not_found_names_its_step() {
        assert_eq!(resolve_with(Some("nemo"), None, &[], "").unwrap_err().step, Step::User);
        assert_eq!(resolve_with(Some("alice"), Some("nemo"), &[], "").unwrap_err().step, Step::Group);
        assert_eq!(resolve_with(Some("ldapuser"), None, &[], "").unwrap().uid, Some(70000));
    }
}
