// SPDX-License-Identifier: GPL-2.0-or-later
//! Writing corosync's files, and never over what a person has made.
//!
//! `corosync.conf` is this project's to write when it is missing, when it is the distribution's own and unaltered, or
//! when its first line is our marker and the sum in the marker is that of the rest. In all other cases somebody has put
//! work into it: then it is left alone, and only compared. The key is made once, by whoever creates the cluster; a node
//! that joins must be given the cluster's.

use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use sha2::{Digest as _, Sha256};

use super::{compare, conf};
use crate::config::Config;

/// What our first line begins with; the sum of all lines after it follows.
const MARKER: &str = "# Made by ssi from cluster.toml, and made anew when that changes, unless edited. sha256:";
/// The bytes of a key: 2048 bits, as corosync-keygen(8) makes it.
const KEY_BYTES: usize = 256;
/// The file's name in the distribution's list, wherever [`Paths`] has it.
const PACKAGED_CONF: &str = "/etc/corosync/corosync.conf";

/// Where corosync's files are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    /// Its configuration, corosync.conf(5).
    pub conf: PathBuf,
    /// The key that all nodes of the cluster share.
    pub key: PathBuf,
}

impl Default for Paths {
    fn default() -> Self {
        Self { conf: PACKAGED_CONF.into(), key: "/etc/corosync/authkey".into() }
    }
}

impl Paths {
    /// The same files below another root directory.
    #[must_use]
    pub fn below(root: &Path) -> Self {
        let below = |path: &Path| root.join(path.strip_prefix("/").unwrap_or(path));
        let Self { conf, key } = Self::default();
        Self { conf: below(&conf), key: below(&key) }
    }
}

/// What became of `corosync.conf`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Conf {
    /// It was what it had to be.
    Unchanged,
    /// It was written: corosync has to be started, or to read it anew ([`reload`]).
    Written,
    /// Somebody made it, and it was not touched. Where it says otherwise than `cluster.toml`, a sentence each.
    HandMade {
        /// The differences in node numbers and addresses.
        warnings: Vec<String>,
    },
}

/// What [`ensure`] found and did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What became of `corosync.conf`.
    pub conf: Conf,
    /// There is no key: corosync will not start. Copy it from a member, or make it when there is none ([`make_key`]).
    pub key_missing: bool,
}

/// A step that failed.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// The file is there and cannot be read.
    #[error("{} cannot be read: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file cannot be written; what was there before is still there.
    #[error("{} cannot be written: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The kernel gave no random bytes for the key.
    #[error("no random bytes for {}: {source}", path.display())]
    Random {
        /// The key's file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// corosync-cfgtool(8) could not be run.
    #[error("corosync-cfgtool, which has corosync read its configuration, cannot be run: {0}; is corosync installed?")]
    NoCfgtool(#[source] io::Error),
    /// Corosync did not take its new configuration, and runs on with the old one.
    #[error("corosync did not take its new configuration: {0}; see: journalctl -u corosync")]
    Refused(String),
}

/// Sees to it that `corosync.conf` is what `cluster.toml` asks for, unless somebody made it.
///
/// # Errors
/// [`FilesError`] when it cannot be read or written.
pub fn ensure(config: &Config, paths: &Paths) -> Result<Outcome, FilesError> {
    let key_missing = !paths.key.try_exists().unwrap_or(false);
    let wanted = marked(&conf::render(config));
    let conf = match fs::read(&paths.conf) {
        Ok(found) if found == wanted.as_bytes() => Conf::Unchanged,
        Ok(found) if is_ours(&found) || is_packaged(&paths.conf) => {
            write(&paths.conf, wanted.as_bytes(), 0o644, true)?;
            Conf::Written
        }
        Ok(found) => Conf::HandMade { warnings: compare::differences(config, &String::from_utf8_lossy(&found)) },
        Err(error) if error.kind() == ErrorKind::NotFound => {
            write(&paths.conf, wanted.as_bytes(), 0o644, true)?;
            Conf::Written
        }
        Err(source) => return Err(FilesError::Read { path: paths.conf.clone(), source }),
    };
    Ok(Outcome { conf, key_missing })
}

/// Makes the cluster's key, for root's eyes only; `false` when there is one, which is kept.
///
/// Only for the machine that creates a cluster: a node with a key of its own hears nobody.
///
/// # Errors
/// [`FilesError`] when there is no randomness or the file cannot be written.
pub fn make_key(paths: &Paths) -> Result<bool, FilesError> {
    let failed = |source: rustix::io::Errno| FilesError::Random { path: paths.key.clone(), source: source.into() };
    let mut key = [0; KEY_BYTES];
    let mut filled = 0;
    while let Some(rest) = key.get_mut(filled..).filter(|r| !r.is_empty()) {
        filled += match rustix::rand::getrandom(rest, rustix::rand::GetRandomFlags::empty()) {
            Err(rustix::io::Errno::INTR) => 0,
            got => got.map_err(failed)?,
        };
    }
    match write(&paths.key, &key, 0o400, false) {
        Ok(()) => Ok(true),
        Err(FilesError::Write { source, .. }) if source.kind() == ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}

/// Has corosync read its configuration anew; `false` when it does not run.
///
/// Corosync passes this on: every member reads its own file, so that a change is in force when the last node's file is
/// written and that node has called this.
///
/// # Errors
/// [`FilesError`] when the command cannot be run or corosync refuses.
pub fn reload() -> Result<bool, FilesError> {
    if !is_running() {
        return Ok(false);
    }
    let out = run("corosync-cfgtool", [OsStr::new("-R")]).map_err(FilesError::NoCfgtool)?;
    if out.status.success() {
        return Ok(true);
    }
    let said = [out.stdout, out.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    let lines: Vec<&str> = said.lines().map(str::trim).filter(|l| !l.is_empty()).take(4).collect();
    Err(FilesError::Refused(if lines.is_empty() { out.status.to_string() } else { lines.join("; ") }))
}

/// Whether a process of that name is there: corosync keeps no other trace that would be gone when it is killed.
fn is_running() -> bool {
    let Ok(processes) = fs::read_dir("/proc") else { return false };
    let named = |entry: fs::DirEntry| fs::read(entry.path().join("comm")).is_ok_and(|comm| comm == b"corosync\n");
    processes.flatten().any(named)
}

fn marked(text: &str) -> String {
    format!("{MARKER}{}\n{text}", sum(text.as_bytes()))
}

fn sum(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

/// Whether this is as it was written here, to the last byte.
fn is_ours(found: &[u8]) -> bool {
    let Some(end) = found.iter().position(|b| *b == b'\n') else { return false };
    let (first, rest) = found.split_at(end);
    first.strip_prefix(MARKER.as_bytes()) == Some(sum(rest.get(1..).unwrap_or_default()).as_bytes())
}

/// Whether this is the file of the distribution's package, unaltered. Where nothing can tell, it is not.
fn is_packaged(path: &Path) -> bool {
    match run("dpkg-query", ["-W", "-f=${Conffiles}\n", "corosync"]) {
        Ok(list) => {
            // md5 is dpkg's, and md5sum is on every Debian.
            let md5 = run("md5sum", [OsStr::new("--"), path.as_os_str()]);
            list.status.success()
                && md5.is_ok_and(|m| {
                    m.status.success() && is_listed(&list.stdout, m.stdout.get(..32).unwrap_or_default())
                })
        }
        // Fedora's and SUSE's: the lines are of the files that differ; for a file of no package the status is an error.
        Err(_) => {
            let owned = run("rpm", [OsStr::new("-qf"), path.as_os_str()]).is_ok_and(|o| o.status.success());
            let verified = run("rpm", [OsStr::new("-Vf"), path.as_os_str()]);
            owned && verified.is_ok_and(|v| !names(&v.stdout, path))
        }
    }
}

/// Whether dpkg's list of configuration files has ours with this sum.
fn is_listed(conffiles: &[u8], md5: &[u8]) -> bool {
    let list = String::from_utf8_lossy(conffiles);
    let md5 = String::from_utf8_lossy(md5);
    md5.len() == 32 && list.lines().any(|l| l.split_ascii_whitespace().take(2).eq([PACKAGED_CONF, &*md5]))
}

fn names(lines: &[u8], path: &Path) -> bool {
    String::from_utf8_lossy(lines).lines().any(|l| path.to_str().is_some_and(|p| l.ends_with(p)))
}

fn run<A: AsRef<OsStr>>(program: &str, arguments: impl IntoIterator<Item = A>) -> io::Result<Output> {
    Command::new(program).args(arguments).env("LC_ALL", "C").stdin(Stdio::null()).output()
}

/// Puts a file in place whole, and on the disk, or not at all.
fn write(path: &Path, bytes: &[u8], mode: u32, replace: bool) -> Result<(), FilesError> {
    let failed = |source| FilesError::Write { path: path.to_owned(), source };
    let folder = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(folder).map_err(failed)?;
    let mut new = tempfile::Builder::new()
        .prefix(".ssi-")
        .permissions(Permissions::from_mode(mode))
        .tempfile_in(folder)
        .map_err(failed)?;
    new.write_all(bytes).map_err(failed)?;
    // The mode above is cut by the umask.
    new.as_file().set_permissions(Permissions::from_mode(mode)).map_err(failed)?;
    new.as_file().sync_all().map_err(failed)?;
    if replace { new.persist(path) } else { new.persist_noclobber(path) }.map_err(|e| failed(e.error))?;
    File::open(folder).and_then(|f| f.sync_all()).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(nodes: u32) -> Config {
        let mut text = String::from("name = \"alpha\"\n[membership]\nengine = \"corosync\"\n");
        for n in 1..=nodes {
            text += &format!(
                "[[node]]\nid = {n}\nname = \"n{n}\"\naddress = \"192.0.2.{n}\"\nmac = \"52:54:00:00:00:0{n}\"\n"
            );
        }
        Config::parse(Path::new("cluster.toml"), text.as_bytes()).unwrap()
    }

    fn place() -> (tempfile::TempDir, Paths) {
        let root = tempfile::tempdir().unwrap();
        let paths = Paths::below(root.path());
        (root, paths)
    }

    #[test]
    fn ours_follows_cluster_toml() {
        let (_root, paths) = place();
        assert_eq!(ensure(&config(2), &paths).unwrap(), Outcome { conf: Conf::Written, key_missing: true });
        assert_eq!(ensure(&config(2), &paths).unwrap().conf, Conf::Unchanged);
        assert_eq!(ensure(&config(3), &paths).unwrap().conf, Conf::Written);
        assert!(fs::read_to_string(&paths.conf).unwrap().contains("nodeid: 3"));
        assert_eq!(fs::metadata(&paths.conf).unwrap().permissions().mode() & 0o777, 0o644);
        let left: Vec<_> =
            fs::read_dir(paths.conf.parent().unwrap()).unwrap().flatten().map(|e| e.file_name()).collect();
        assert_eq!(left, ["corosync.conf"], "a temporary file was left");
    }

    #[test]
    fn an_edit_makes_it_the_editors() {
        let (_root, paths) = place();
        ensure(&config(2), &paths).unwrap();
        let edited = fs::read_to_string(&paths.conf).unwrap().replace("token: 450", "token: 4500");
        fs::write(&paths.conf, &edited).unwrap();
        let outcome = ensure(&config(3), &paths).unwrap();
        assert_eq!(outcome.conf, Conf::HandMade { warnings: vec!["node 3 (n3) of cluster.toml is not in it".into()] });
        assert_eq!(fs::read_to_string(&paths.conf).unwrap(), edited);
    }

    #[test]
    fn a_file_of_somebodys_own_is_left_alone() {
        let (_root, paths) = place();
        fs::create_dir_all(paths.conf.parent().unwrap()).unwrap();
        for own in ["totem {\n}\n", "", "#", MARKER] {
            fs::write(&paths.conf, own).unwrap();
            assert!(matches!(ensure(&config(1), &paths).unwrap().conf, Conf::HandMade { .. }), "{own:?}");
            assert_eq!(fs::read_to_string(&paths.conf).unwrap(), own);
        }
    }

    #[test]
    fn dpkgs_list_is_read_as_it_is() {
        let list = b" /etc/default/corosync 3f39b9d4e0d6f6b2b1a6c9c9d3a6c111\n \
            /etc/corosync/corosync.conf 3f39b9d4e0d6f6b2b1a6c9c9d3a6c222 obsolete\n";
        assert!(is_listed(list, b"3f39b9d4e0d6f6b2b1a6c9c9d3a6c222"));
        assert!(!is_listed(list, b"3f39b9d4e0d6f6b2b1a6c9c9d3a6c111"));
        assert!(!is_listed(list, b""));
        assert!(!is_listed(b"", b"3f39b9d4e0d6f6b2b1a6c9c9d3a6c222"));
    }

    /// Needs a Debian with corosync installed and its file unaltered; elsewhere there is nothing to look at.
    #[test]
    fn the_distributions_file_is_replaced() {
        let packaged = Path::new(PACKAGED_CONF);
        if !is_packaged(packaged) {
            println!("skipped: no untouched {PACKAGED_CONF} of a package here");
            return;
        }
        let (_root, paths) = place();
        fs::create_dir_all(paths.conf.parent().unwrap()).unwrap();
        fs::copy(packaged, &paths.conf).unwrap();
        assert_eq!(ensure(&config(2), &paths).unwrap().conf, Conf::Written);
    }

    #[test]
    fn the_key_is_made_once_and_only_on_request() {
        let (_root, paths) = place();
        ensure(&config(2), &paths).unwrap();
        assert!(!paths.key.exists(), "a key was made that nobody asked for");
        assert!(make_key(&paths).unwrap());
        let first = fs::read(&paths.key).unwrap();
        assert_eq!((first.len(), fs::metadata(&paths.key).unwrap().permissions().mode() & 0o777), (256, 0o400));
        assert!(first.iter().any(|b| *b != 0));
        assert!(!make_key(&paths).unwrap());
        assert_eq!(fs::read(&paths.key).unwrap(), first);
        assert!(!ensure(&config(2), &paths).unwrap().key_missing);
    }

    #[test]
    fn what_cannot_be_written_is_said() {
        let (_root, paths) = place();
        fs::create_dir_all(&paths.conf).unwrap();
        let error = ensure(&config(2), &paths).unwrap_err().to_string();
        assert!(error.contains("corosync.conf cannot be read"), "{error}");
    }
}
