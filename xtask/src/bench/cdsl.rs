// SPDX-License-Identifier: GPL-2.0-or-later
//! What a context-dependent symbolic link costs: the kernel's time for a look through one, beside a plain file and
//! beside a plain symbolic link of the same depth; making 10,000 of them beside `cp -a` of the same tree; and checking
//! 100,000 of them beside `find` over the same root.
//!
//! It all happens in a root of its own, below a directory that is removed afterwards, and in a mount namespace of its
//! own: a thread that has left the others' file system context looks at the root as its processes would.

use std::fs;
use std::hint::black_box;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, anyhow, ensure};
use nix::sched::{CloneFlags, unshare};
use rustix::fs::CWD;
use rustix::mount::{MountPropagationFlags, mount_change};

use super::Settings;
use super::figures::Row;
use crate::place::Place;
use crate::progress::Progress;

/// How often one thing is looked at in one run.
const LOOKS: u32 = 200_000;
/// How many files are made into links beside `cp -a`.
const MADE: usize = 10_000;
/// How many links are checked beside `find`.
const CHECKED: usize = 100_000;
/// How many files one directory holds.
const PER_DIRECTORY: usize = 1_000;

const CLUSTER_TOML: &str = r#"name = "bench"
[membership]
engine = "corosync"
[[node]]
id = 1
name = "one"
address = "192.0.2.1"
[[node]]
id = 2
name = "two"
address = "192.0.2.2"
[[node]]
id = 3
name = "three"
address = "192.0.2.3"
"#;

/// The looks that are timed: name, path.
const PATHS: [(&str, &str); 3] =
    [("a CDSL", "/etc/cdsl"), ("a plain file", "/etc/plain"), ("a plain link of the same depth", "/etc/link")];

/// See this file's head.
pub(super) fn measure(place: &Place, settings: &Settings, progress: &Progress) -> Result<Vec<Row>> {
    let directory = tempfile::Builder::new()
        .prefix("ssi-bench-")
        .tempdir_in("/var/tmp")
        .context("making a directory for the bench in /var/tmp")?;
    let root = directory.path();
    for below in ["etc/ssi", "srv/plain/etc", "srv"] {
        fs::create_dir_all(root.join(below)).with_context(|| format!("making {below} in {}", root.display()))?;
    }
    fs::write(root.join("etc/ssi/cluster.toml"), CLUSTER_TOML).context("writing the root's cluster.toml")?;
    let cdsl = Cdsl { program: place.binaries().join("cdsl"), root };

    let mut rows = looks(&cdsl, settings.runs, progress)?;
    rows.extend(making(&cdsl, settings.runs, progress)?);
    rows.extend(checking(&cdsl, settings.runs, progress)?);
    Ok(rows)
}

/// The command, for the bench's root.
struct Cdsl<'a> {
    program: std::path::PathBuf,
    root: &'a Path,
}

impl Cdsl<'_> {
    fn run(&self, words: &[&str]) -> Result<f64> {
        let mut command = Command::new(&self.program);
        command.arg("--root").arg(self.root).args(["--node", "1"]).args(words);
        timed(&mut command)
    }
}

/// Runs a command that has to end well; the seconds it took.
fn timed(command: &mut Command) -> Result<f64> {
    let begun = Instant::now();
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("starting {command:?}"))?;
    let seconds = begun.elapsed().as_secs_f64();
    ensure!(
        output.status.success(),
        "{command:?} ended with {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(seconds)
}

/// Nanoseconds for `stat` and for `open` of each of [`PATHS`].
fn looks(cdsl: &Cdsl<'_>, runs: u32, progress: &Progress) -> Result<Vec<Row>> {
    progress.say("looking through links");
    for (file, text) in [("etc/cdsl", "its own"), ("etc/plain", "plain"), ("srv/plain/etc/link", "linked")] {
        fs::write(cdsl.root.join(file), text).with_context(|| format!("writing {file}"))?;
    }
    symlink("/srv/plain/etc/link", cdsl.root.join("etc/link")).context("making a plain link")?;
    cdsl.run(&["create", "/etc/cdsl"])?;
    // A mount namespace and a root belong to a thread as long as it shares its file system context with no other.
    let figures = std::thread::scope(|scope| {
        scope.spawn(|| inside(cdsl, runs)).join().map_err(|_| anyhow!("the thread that looks at the files panicked"))?
    })?;
    let mut rows = Vec::new();
    for (act, [ours, plain, link]) in ["stat", "open and close"].into_iter().zip(figures) {
        for (peer, figures) in [(PATHS[1].0, plain), (PATHS[2].0, link)] {
            rows.push(Row {
                name: format!("{act} through a CDSL"),
                unit: "ns",
                peer_name: peer.to_owned(),
                ours: ours.clone(),
                peer: figures,
            });
        }
    }
    Ok(rows)
}

/// For `stat` and for `open`: each of [`PATHS`], in nanoseconds, a figure a run.
type Figures = [[Vec<f64>; 3]; 2];

fn inside(cdsl: &Cdsl<'_>, runs: u32) -> Result<Figures> {
    // This thread alone leaves the mounts and the root of the process.
    unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_FS).context("leaving the machine's mounts")?;
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .context("keeping mounts to itself")?;
    cdsl.run(&["mount"])?;
    rustix::process::chroot(cdsl.root).with_context(|| format!("entering {}", cdsl.root.display()))?;
    rustix::process::chdir("/").context("entering the root")?;
    ensure!(fs::read_to_string(PATHS[0].1).is_ok_and(|text| text == "its own"), "the CDSL does not lead to its file");
    let mut figures = Figures::default();
    for _ in 0..runs {
        for (at, (_, path)) in PATHS.iter().enumerate() {
            figures[0][at].push(nanoseconds(|| {
                black_box(rustix::fs::stat(*path)?);
                Ok(())
            })?);
            figures[1][at].push(nanoseconds(|| {
                let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::CLOEXEC;
                black_box(rustix::fs::openat(CWD, *path, flags, rustix::fs::Mode::empty())?);
                Ok(())
            })?);
        }
    }
    Ok(figures)
}

/// How long one look takes, of many.
fn nanoseconds(mut look: impl FnMut() -> rustix::io::Result<()>) -> Result<f64> {
    let begun = Instant::now();
    for _ in 0..LOOKS {
        look().context("looking at a file of the bench")?;
    }
    Ok(begun.elapsed().as_secs_f64() * 1e9 / f64::from(LOOKS))
}

/// A tree of small files.
fn tree(at: &Path, files: usize) -> Result<()> {
    for number in 0..files {
        let directory = at.join(format!("d{}", number / PER_DIRECTORY));
        if number % PER_DIRECTORY == 0 {
            fs::create_dir_all(&directory).with_context(|| format!("making {}", directory.display()))?;
        }
        let file = directory.join(format!("file{number}"));
        fs::write(&file, format!("content of {number}\n")).with_context(|| format!("writing {}", file.display()))?;
    }
    Ok(())
}

fn making(cdsl: &Cdsl<'_>, runs: u32, progress: &Progress) -> Result<Vec<Row>> {
    let mut row = Row {
        name: format!("making {MADE} links, three nodes"),
        unit: "s",
        peer_name: "cp -a of the same tree".to_owned(),
        ours: Vec::new(),
        peer: Vec::new(),
    };
    let mut same_work = Row { peer_name: "cp -a into three places, sync".to_owned(), ..row.clone() };
    for run in 0..runs {
        progress.say(&format!("making {MADE} links, run {} of {runs}", run + 1));
        let name = format!("srv/made{run}");
        let at = cdsl.root.join(&name);
        tree(&at, MADE)?;
        let copies = cdsl.root.join("copies");
        fs::create_dir_all(&copies).context("making a place for the copies")?;
        timed(&mut Command::new("sync"))?;
        let mut once = 0.0;
        let begun = Instant::now();
        for copy in 0..3 {
            once = timed(Command::new("cp").arg("-a").arg(&at).arg(copies.join(copy.to_string())))?;
        }
        timed(Command::new("sync").arg("-f").arg(&copies))?;
        let thrice = begun.elapsed().as_secs_f64();
        let seconds = cdsl.run(&["create", "--recursive", &format!("/{name}")])?;
        row.ours.push(seconds);
        same_work.ours.push(seconds);
        row.peer.push(once);
        same_work.peer.push(thrice);
        let first = at.join("d0/file0");
        ensure!(first.is_symlink(), "{} is no link after cdsl create --recursive", first.display());
        fs::remove_dir_all(&copies).context("removing the copies")?;
    }
    Ok(vec![row, same_work])
}

fn checking(cdsl: &Cdsl<'_>, runs: u32, progress: &Progress) -> Result<Vec<Row>> {
    progress.say(&format!("making {CHECKED} links to check"));
    tree(&cdsl.root.join("srv/checked"), CHECKED)?;
    cdsl.run(&["create", "--recursive", "/srv/checked"])?;
    let mut row = Row {
        name: format!("checking {CHECKED} links, three nodes"),
        unit: "s",
        peer_name: "find -ls over the same root".to_owned(),
        ours: Vec::new(),
        peer: Vec::new(),
    };
    for run in 0..runs {
        progress.say(&format!("checking, run {} of {runs}", run + 1));
        row.ours.push(cdsl.run(&["check"])?);
        // `-ls` looks at each file as a check has to.
        row.peer.push(timed(Command::new("find").arg(cdsl.root).arg("-ls").stdout(Stdio::null()))?);
    }
    Ok(vec![row])
}
