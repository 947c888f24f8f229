// SPDX-License-Identifier: GPL-2.0-or-later
//! A folder with scripts, links of run levels and native units, and both generators run on it.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Path under the late folder, and the file's text or `-> target` of a link.
pub(crate) type Tree = BTreeMap<String, String>;

/// Where systemd's generator is, in a row the first counts; `SSI_STOCK_SYSV_GENERATOR` names another.
const STOCK: [&str; 2] = [
    "/usr/lib/systemd/system-generators/systemd-sysv-generator",
    "/lib/systemd/system-generators/systemd-sysv-generator",
];

/// What a generator of the version that ours is held to is linked with.
const STOCK_LIBRARY: &[u8] = b"libsystemd-shared-252.so";

const OURS: &str = env!("CARGO_BIN_EXE_ssi-sysv-generator");

/// How often systemd's generator may throw its dice (its tables have random keys) until two claims on one name fall
/// as ours do. Half of the throws do, so that a wrong answer is told from bad luck.
const THROWS: usize = 30;

/// Says what is not tested, past the test's own capture of its output: a comparison that is left out must not look like
/// one that was made.
pub(crate) fn skipped(what: &str) {
    let _ = writeln!(std::io::stderr(), "skipped: {what}");
}

/// systemd's own generator; none, and a line once, where there is none to compare with.
fn stock() -> Option<&'static str> {
    static FOUND: OnceLock<Option<String>> = OnceLock::new();
    let found = FOUND.get_or_init(|| {
        let named = std::env::var("SSI_STOCK_SYSV_GENERATOR").ok();
        let path = named.or_else(|| STOCK.into_iter().find(|path| Path::new(path).exists()).map(str::to_owned));
        let why = match path.map(|path| (fs::read(&path), path)) {
            None => format!("there is no {}", STOCK[0]),
            Some((Err(error), path)) => format!("{path}: {error}"),
            Some((Ok(program), path)) if program.windows(STOCK_LIBRARY.len()).any(|part| part == STOCK_LIBRARY) => {
                return Some(path);
            }
            Some((Ok(_), path)) => format!("{path} is not systemd 252's"),
        };
        skipped(&format!(
            "{why}, so nothing is compared with it; ours runs alone (Debian 12's package systemd has it)"
        ));
        None
    });
    found.as_deref()
}

pub(crate) struct Scene {
    root: tempfile::TempDir,
}

impl Scene {
    pub(crate) fn new() -> Scene {
        let root = tempfile::tempdir().expect("a temporary folder");
        for folder in ["init.d", "units", "units2"] {
            fs::create_dir(root.path().join(folder)).expect("a folder of the scene");
        }
        Scene { root }
    }

    fn path(&self, name: &str) -> PathBuf {
        let path = self.root.path().join(name);
        fs::create_dir_all(path.parent().expect("under the scene")).expect("the folder of a file");
        path
    }

    pub(crate) fn plain_file(&self, name: &str, text: impl AsRef<[u8]>) {
        fs::write(self.path(name), text).expect("a file of the scene");
    }

    pub(crate) fn script(&self, name: &str, text: impl AsRef<[u8]>) {
        let path = self.path(&format!("init.d/{name}"));
        let _ = fs::remove_file(&path);
        fs::write(&path, text).expect("a script");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("an executable script");
    }

    pub(crate) fn folder(&self, name: &str) {
        fs::create_dir_all(self.path(name)).expect("a folder of the scene");
    }

    pub(crate) fn symlink(&self, name: &str, target: &str) {
        symlink(target, self.path(name)).expect("a link of the scene");
    }

    /// A link in a run level's folder; if it is there already, it stays.
    pub(crate) fn link(&self, name: &str) {
        if !self.path(name).is_symlink() {
            self.symlink(name, "../init.d/whatever");
        }
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).expect("a file of the scene")
    }

    fn command(&self, generator: &str, late: &Path) -> Command {
        let root = self.root.path();
        let mut command = Command::new(generator);
        command
            .args([root.join("normal"), root.join("early"), late.to_path_buf()])
            .env("SYSTEMD_SYSVINIT_PATH", root.join("init.d"))
            .env("SYSTEMD_SYSVRCND_PATH", root)
            .env("SYSTEMD_UNIT_PATH", format!("{0}/units:{0}/units2", root.display()))
            .env("SYSTEMD_LOG_TARGET", "console")
            .env("SYSTEMD_LOG_LEVEL", "debug");
        command
    }

    fn run(&self, generator: &str, late: &Path) -> Result<(), String> {
        let output = self.command(generator, late).output().unwrap_or_else(|error| panic!("{generator}: {error}"));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() { Ok(()) } else { Err(format!("{}\n{said}", output.status)) }
    }

    pub(crate) fn run_ours(&self, late: &str) -> Result<(), String> {
        self.run(OURS, &self.path(late))
    }

    fn generate(&self, generator: &str) -> Tree {
        let late = tempfile::tempdir_in(self.root.path()).expect("a late folder");
        self.run(generator, late.path()).unwrap_or_else(|said| panic!("{generator}: {said}"));
        read_tree(late.path())
    }

    pub(crate) fn ours(&self) -> Tree {
        self.generate(OURS)
    }

    pub(crate) fn tree(&self, late: &str) -> Tree {
        read_tree(&self.path(late))
    }

    /// Both generators make the same of the scene.
    pub(crate) fn compare(&self) {
        let ours = self.ours();
        assert_eq!(ours, self.ours(), "two runs of ours differ");
        let Some(generator) = stock() else { return };
        let mut stock = self.generate(generator);
        for _ in 1..THROWS {
            if stock == ours {
                break;
            }
            stock = self.generate(generator);
        }
        assert_same(&stock, &ours);
    }

    /// Both generators, with the scene's folders mounted over /etc in a mount namespace and without any variable. Ours
    /// runs alone where there is no other.
    pub(crate) fn compare_mounted_over_etc(&self) {
        let root = self.root.path();
        for folder in ["etc/systemd/system", "stock", "ours"] {
            self.folder(folder);
        }
        for entry in fs::read_dir(root).expect("the scene").map(|entry| entry.expect("an entry")) {
            let name = entry.file_name().into_string().expect("UTF-8");
            if name == "init.d" || name.starts_with("rc") {
                fs::rename(entry.path(), root.join("etc").join(name)).expect("a folder of /etc");
            }
        }
        // Under /tmp the scene could not be seen behind a mount of ours; /etc hides nothing that is needed.
        let script = "mount --bind \"$1/etc\" /etc || exit 77\n\
                      \"$2\" \"$1/n\" \"$1/e\" \"$1/ours\" && { [ -z \"$3\" ] || \"$3\" \"$1/n\" \"$1/e\" \"$1/stock\"; }";
        let mut command = Command::new("unshare");
        if !rustix::process::geteuid().is_root() {
            command.args(["--user", "--map-root-user"]);
        }
        command.args(["--mount", "--propagation", "private"]);
        if let Err(why) = may_mount(&command) {
            return skipped(&format!("the built-in paths: no namespace to mount in can be made here: {why}"));
        }
        let output = command
            .args(["sh", "-c", script, "sh"])
            .arg(root)
            .args([OURS, stock().unwrap_or_default()])
            .env_remove("SYSTEMD_UNIT_PATH")
            .env_remove("SYSTEMD_SYSVINIT_PATH")
            .env_remove("SYSTEMD_SYSVRCND_PATH")
            .output()
            .expect("unshare(1)");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let ours = read_tree(&root.join("ours"));
        assert!(ours.contains_key("foo.service") && !ours.contains_key("native.service"), "{ours:#?}");
        if stock().is_some() {
            assert_same(&read_tree(&root.join("stock")), &ours);
        }
    }

    /// Puts the scripts of extracted packages in, linked as their blocks ask for, and gives their names.
    pub(crate) fn install(&self, cache: &Path, with_native_units: bool) -> Vec<String> {
        let mut names = Vec::new();
        for package in fs::read_dir(cache).expect("the cache").map(|entry| entry.expect("an entry").path()) {
            for script in files(&package.join("etc/init.d")) {
                let name = script.file_name().expect("a name").to_str().expect("UTF-8").to_owned();
                // Where it leads to is not always a script of the same package.
                if let (Ok(target), false) = (fs::read_link(&script), script.exists()) {
                    put_link(&target, &self.path(&format!("init.d/{name}")));
                    continue;
                }
                let text = fs::read(&script).expect("a script");
                self.script(&name, &text);
                for line in String::from_utf8_lossy(&text).lines() {
                    for (key, kind) in [("# Default-Start:", 'S'), ("# Default-Stop:", 'K')] {
                        for level in line.strip_prefix(key).unwrap_or_default().split_whitespace() {
                            self.link(&format!("rc{level}.d/{kind}01{name}"));
                        }
                    }
                }
                names.push(name);
            }
            for folder in ["lib/systemd/system", "usr/lib/systemd/system"] {
                for unit in files(&package.join(folder)).into_iter().filter(|_| with_native_units) {
                    let to = self.path("units").join(unit.file_name().expect("a name"));
                    match fs::read_link(&unit) {
                        Ok(target) => put_link(&target, &to),
                        Err(_) => {
                            let _ = fs::remove_file(&to);
                            fs::copy(&unit, to).map(drop).expect("a unit")
                        }
                    }
                }
            }
        }
        names.sort();
        names
    }
}

/// A link, in the place of what another package has put there.
fn put_link(target: &Path, at: &Path) {
    let _ = fs::remove_file(at);
    symlink(target, at).expect("a link");
}

/// Whether the command, which is unshare(1) and its options, leads to where mounts may be made.
fn may_mount(unshare: &Command) -> Result<(), String> {
    let mut attempt = Command::new(unshare.get_program());
    let output = attempt.args(unshare.get_args()).args(["mount", "-t", "tmpfs", "none", "/mnt"]).output();
    match output {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Err(format!("unshare: {error}")),
    }
}

/// Files and links of a folder; none where there is no such folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    entries.map(|entry| entry.expect("an entry").path()).filter(|path| path.is_symlink() || path.is_file()).collect()
}

fn read_tree(folder: &Path) -> Tree {
    let mut tree = Tree::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(here) = folders.pop() {
        for entry in fs::read_dir(&here).expect("a folder").map(|entry| entry.expect("an entry")) {
            let path = entry.path();
            let kind = entry.file_type().expect("a kind");
            if kind.is_dir() {
                folders.push(path);
                continue;
            }
            let text = if kind.is_symlink() {
                format!("-> {}", fs::read_link(&path).expect("a link").display())
            } else {
                text(&fs::read(&path).expect("a unit"))
            };
            let name = path.strip_prefix(folder).expect("beneath").to_str().expect("unit names are ASCII").to_owned();
            tree.insert(name, text);
        }
    }
    tree
}

/// A unit's text, byte for byte but for the order among the names of `Before=` and of `After=`: systemd takes those
/// that come from the links' numbers out of a table with a random key.
fn text(bytes: &[u8]) -> String {
    let escaped: String = bytes
        .iter()
        .map(|byte| if byte.is_ascii() { char::from(*byte).to_string() } else { format!("\\x{byte:02x}") })
        .collect();
    let mut lines: Vec<&str> = escaped.split_inclusive('\n').collect();
    for key in ["Before=", "After="] {
        let first = lines.iter().position(|line| line.starts_with(key)).unwrap_or(0);
        let count = lines[first..].iter().take_while(|line| line.starts_with(key)).count();
        lines[first..first + count].sort_unstable();
    }
    lines.concat()
}

fn assert_same(stock: &Tree, ours: &Tree) {
    let mut differences = String::new();
    for name in stock.keys().chain(ours.keys().filter(|name| !stock.contains_key(*name))) {
        let (theirs, own) = (stock.get(name), ours.get(name));
        if theirs != own {
            let show = |text: Option<&String>| text.map_or("(not there)".to_owned(), Clone::clone);
            differences.push_str(&format!("=== {name}\n--- systemd:\n{}\n--- ours:\n{}\n", show(theirs), show(own)));
        }
    }
    assert!(differences.is_empty(), "{differences}");
}
