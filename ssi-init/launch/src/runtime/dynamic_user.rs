// SPDX-License-Identifier: GPL-2.0-or-later
//! `DynamicUser=`: users that exist while their units run.
//!
//! A file `/run/systemd/dynamic-uid/NUMBER` says that the number is taken: the name on its first line, then the units
//! that use it, one a line. /run/userdb has a record of it, from which nss-systemd(8) gives the name to programs.
//! The range of numbers and the order of choice are systemd's: the number that the unit's directories belong to from
//! an earlier run, then one made from the name, then the next free one.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use ssi_exec::accounts::{find_group, find_user};
use ssi_exec::plan::DynamicUser;
use ssi_unit::config::ExecConfig;
use ssi_unit::config::exec::DirectoryKind;

use crate::plan::{directory_kind, is_private};
use crate::request::LaunchError;

/// The numbers kept for this, <https://systemd.io/UIDS-GIDS>.
const FIRST: u32 = 61_184;
const LAST: u32 = 65_519;

/// The register.
#[derive(Debug)]
pub(crate) struct DynamicUsers {
    root: PathBuf,
}

impl DynamicUsers {
    pub(crate) fn below(root: &Path) -> DynamicUsers {
        DynamicUsers { root: root.to_owned() }
    }

    /// The user of a unit: the one it has, or a new one. `None` when its name is that of a user who is always there,
    /// who is then used.
    pub(crate) fn take(&self, unit: &str, exec: &ExecConfig) -> Result<Option<DynamicUser>, LaunchError> {
        let Some(name) = exec.user.as_deref().filter(|_| exec.dynamic_user) else { return Ok(None) };
        let fail = |attempt: String| {
            let unit = unit.to_owned();
            move |source: io::Error| LaunchError::DynamicUser { unit, attempt, source }
        };
        let passwd = self.read("etc/passwd");
        if find_user(&passwd, name).is_some() {
            return Ok(None);
        }
        let place = self.place();
        std::fs::create_dir_all(&place).map_err(fail(format!("make {}", place.display())))?;
        let known = self.entries().find(|(_, lines)| lines.first().is_some_and(|first| first == name));
        if let Some((id, mut lines)) = known {
            if !lines.iter().skip(1).any(|holder| holder == unit) {
                lines.push(unit.to_owned());
                self.write(id, &lines).map_err(fail(format!("register user {id}")))?;
            }
            return Ok(Some(DynamicUser { name: name.to_owned(), id }));
        }
        let group = self.read("etc/group");
        for id in self.candidates(name, exec) {
            let number = id.to_string();
            if find_user(&passwd, &number).is_some() || find_group(&group, &number).is_some() {
                continue;
            }
            match std::fs::File::create_new(place.join(&number)) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(error) => return Err(fail(format!("register user {id}"))(error)),
            }
            let lines = [name.to_owned(), unit.to_owned()];
            let written = self.write(id, &lines).and_then(|()| self.publish(name, id));
            if let Err(error) = written {
                self.withdraw(name, id);
                return Err(fail(format!("register user {id}"))(error));
            }
            return Ok(Some(DynamicUser { name: name.to_owned(), id }));
        }
        Err(fail(format!("find a number from {FIRST} to {LAST} that is free"))(io::ErrorKind::QuotaExceeded.into()))
    }

    /// Gives back what a unit had; with its last unit the user is gone.
    pub(crate) fn release(&self, unit: &str, warn: &mut dyn FnMut(String)) {
        for (id, mut lines) in self.entries() {
            let Some(at) = lines.iter().skip(1).position(|holder| holder == unit) else { continue };
            lines.remove(at + 1);
            match lines.as_slice() {
                [name] => self.withdraw(name, id),
                lines => {
                    if let Err(error) = self.write(id, lines) {
                        warn(format!("cannot release the dynamic user {id}: {error}"));
                    }
                }
            }
        }
    }

    fn place(&self) -> PathBuf {
        self.root.join("run/systemd/dynamic-uid")
    }

    fn userdb(&self) -> PathBuf {
        self.root.join("run/userdb")
    }

    fn read(&self, path: &str) -> String {
        let bytes = std::fs::read(self.root.join(path)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The numbers taken, with the lines of their files.
    fn entries(&self) -> impl Iterator<Item = (u32, Vec<String>)> + use<> {
        let entries = std::fs::read_dir(self.place()).into_iter().flatten().flatten();
        entries.filter_map(|entry| {
            let id: u32 = entry.file_name().to_str()?.parse().ok()?;
            let text = std::fs::read_to_string(entry.path()).ok()?;
            Some((id, text.lines().map(str::to_owned).collect()))
        })
    }

    fn candidates(&self, name: &str, exec: &ExecConfig) -> impl Iterator<Item = u32> + use<> {
        let owned: Vec<u32> = [DirectoryKind::State, DirectoryKind::Cache, DirectoryKind::Logs, DirectoryKind::Runtime]
            .into_iter()
            .filter(|kind| is_private(*kind))
            .flat_map(|kind| {
                let place = self.root.join(directory_kind(kind).place().trim_start_matches('/')).join("private");
                let owner = move |path: &str| std::fs::symlink_metadata(place.join(path)).ok().map(|meta| meta.uid());
                exec.directories(kind).iter().filter_map(move |directory| owner(&directory.path)).collect::<Vec<_>>()
            })
            .filter(|id| (FIRST..=LAST).contains(id))
            .collect();
        let count = LAST - FIRST + 1;
        let start = hash(name) % count;
        owned.into_iter().chain((0..count).map(move |step| FIRST + (start + step) % count))
    }

    fn write(&self, id: u32, lines: &[String]) -> io::Result<()> {
        let path = self.place().join(id.to_string());
        let new = self.place().join(format!(".{id}.new"));
        std::fs::write(&new, lines.join("\n") + "\n")?;
        std::fs::rename(new, path)
    }

    /// Records of the user and its group, <https://systemd.io/USER_RECORD>.
    fn publish(&self, name: &str, id: u32) -> io::Result<()> {
        if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte)) {
            return Ok(());
        }
        let place = self.userdb();
        std::fs::create_dir_all(&place)?;
        let user = format!(
            "{{\"userName\":\"{name}\",\"uid\":{id},\"gid\":{id},\"disposition\":\"dynamic\",\"realName\":\"Dynamic \
             User\",\"homeDirectory\":\"/\",\"shell\":\"/usr/sbin/nologin\",\"locked\":true}}\n"
        );
        let group = format!("{{\"groupName\":\"{name}\",\"gid\":{id},\"disposition\":\"dynamic\"}}\n");
        for (kind, record) in [("user", user), ("group", group)] {
            let file = format!("{name}.{kind}");
            std::fs::write(place.join(&file), record)?;
            match std::os::unix::fs::symlink(&file, place.join(format!("{id}.{kind}"))) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    fn withdraw(&self, name: &str, id: u32) {
        for kind in ["user", "group"] {
            let _ = std::fs::remove_file(self.userdb().join(format!("{id}.{kind}")));
            let _ = std::fs::remove_file(self.userdb().join(format!("{name}.{kind}")));
        }
        // Last: until then nobody else takes the number.
        let _ = std::fs::remove_file(self.place().join(id.to_string()));
    }
}

/// FNV-1a, so that a name has the same number at each start.
fn hash(name: &str) -> u32 {
    name.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ssi_unit::config::ManagerDefaults;

    fn exec(name: &str) -> ExecConfig {
        let mut exec = ExecConfig::new(&ManagerDefaults::default());
        exec.dynamic_user = true;
        exec.user = Some(name.into());
        exec
    }

    #[test]
    fn a_user_lives_as_long_as_its_units() {
        let root = tempfile::tempdir().unwrap();
        let users = DynamicUsers::below(root.path());
        let first = users.take("a.service", &exec("web")).unwrap().unwrap();
        assert!((FIRST..=LAST).contains(&first.id));
        assert_eq!(users.take("a.service", &exec("web")).unwrap().unwrap(), first);
        assert_eq!(users.take("b.service", &exec("web")).unwrap().unwrap(), first);
        assert_ne!(users.take("c.service", &exec("mail")).unwrap().unwrap().id, first.id);
        let record = root.path().join(format!("run/userdb/{}.user", first.id));
        assert!(std::fs::read_to_string(&record).unwrap().contains("\"userName\":\"web\""));
        users.release("a.service", &mut |text| panic!("{text}"));
        assert_eq!(users.take("b.service", &exec("web")).unwrap().unwrap(), first);
        users.release("b.service", &mut |text| panic!("{text}"));
        assert!(!record.exists() && !users.place().join(first.id.to_string()).exists());
    }

    #[test]
    fn numbers_that_others_have_are_left_alone() {
        let root = tempfile::tempdir().unwrap();
        let users = DynamicUsers::below(root.path());
        let wanted = users.take("a.service", &exec("web")).unwrap().unwrap().id;
        users.release("a.service", &mut |text| panic!("{text}"));
        std::fs::create_dir(root.path().join("etc")).unwrap();
        let passwd = format!("static:x:500:500::/:/bin/sh\nother:x:{wanted}:{wanted}::/:/bin/sh\n");
        std::fs::write(root.path().join("etc/passwd"), passwd).unwrap();
        assert_ne!(users.take("a.service", &exec("web")).unwrap().unwrap().id, wanted);
        assert_eq!(users.take("d.service", &exec("static")).unwrap(), None);
    }
}
