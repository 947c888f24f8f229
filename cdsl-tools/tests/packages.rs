// SPDX-License-Identifier: GPL-2.0-or-later
//! dpkg and rpm upgrade packages whose files are CDSLs, with the hooks as they are shipped, in roots of their own: a
//! Debian with a real package upgraded to the next release's, and packages built here for every case.
//!
//! Needs root, and for the Debian the network. Where that is not to be had, a test says so and does nothing.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const CDSL: &str = env!("CARGO_BIN_EXE_cdsl");
const DISTRO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../distro");
const MACHINE_ID: &str = "0123456789abcdef0123456789abcdef";

const CLUSTER_TOML: &str = r#"name = "test"
[membership]
engine = "corosync"
[[node]]
id = 1
name = "n1"
address = "192.0.2.1"
machine_id = "0123456789abcdef0123456789abcdef"
[[node]]
id = 2
name = "n2"
address = "192.0.2.2"
"#;

/// What keeps a test from being made.
struct Without(String);

type Maybe<T> = Result<T, Without>;

/// Runs a program; that it is missing or fails keeps the test from being made.
fn need(command: &mut Command) -> Maybe<Output> {
    let output = command.output().map_err(|error| Without(format!("{command:?}: {error}")))?;
    if output.status.success() {
        return Ok(output);
    }
    Err(Without(format!("{command:?}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr))))
}

/// A program that is there, or can be installed.
fn program(name: &str, package: &str) -> Maybe<()> {
    let there =
        || Command::new("sh").args(["-c", &format!("command -v {name}")]).output().is_ok_and(|o| o.status.success());
    if there() {
        return Ok(());
    }
    let _ = Command::new("apt-get").args(["install", "-y", package]).env("DEBIAN_FRONTEND", "noninteractive").output();
    if there() { Ok(()) } else { Err(Without(format!("{name} is not here and could not be installed from {package}"))) }
}

fn as_root() -> Maybe<()> {
    if rustix::process::geteuid().is_root() { Ok(()) } else { Err(Without("this is not root".to_owned())) }
}

/// Makes the test, or says why not.
fn made(test: impl FnOnce() -> Maybe<()>) {
    if let Err(Without(why)) = test() {
        println!("not tried: {why}");
    }
}

/// A root that programs run in, with node 1's directory mounted as at boot. Gone with the value,
/// unless SSI_TEST_KEEP is set.
struct Machine {
    root: PathBuf,
}

impl Drop for Machine {
    fn drop(&mut self) {
        if std::env::var_os("SSI_TEST_KEEP").is_none() {
            let _ = fs::remove_dir_all(&self.root);
        }
    }
}

impl Machine {
    fn new(name: &str) -> Self {
        let root = PathBuf::from(format!("/var/tmp/ssi-test-cdsl-{name}-{}", std::process::id()));
        fs::create_dir_all(&root).unwrap();
        Self { root }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.at(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.at(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// The command, with the libraries of this machine, and what it needs to know who it is.
    fn install_cdsl(&self) {
        for directory in ["etc/ssi", "proc", "usr/bin", "cluster/node1", "cluster/node{nodenum}", "opt/cdsl"] {
            fs::create_dir_all(self.at(directory)).unwrap();
        }
        self.write("etc/ssi/cluster.toml", CLUSTER_TOML);
        self.write("etc/machine-id", &format!("{MACHINE_ID}\n"));
        let libraries = libraries_of(Path::new(CDSL));
        for library in &libraries {
            fs::copy(library, self.at("opt/cdsl").join(library.file_name().unwrap())).unwrap();
        }
        let loader = libraries.iter().find(|path| path.to_string_lossy().contains("/ld-")).unwrap();
        let loader = loader.file_name().unwrap().to_string_lossy();
        fs::copy(CDSL, self.at("opt/cdsl/cdsl")).unwrap();
        let script = format!("#!/bin/sh\nexec /opt/cdsl/{loader} --library-path /opt/cdsl /opt/cdsl/cdsl \"$@\"\n");
        self.write("usr/bin/cdsl", &script);
        fs::set_permissions(self.at("usr/bin/cdsl"), fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Runs a script in it, in a mount namespace of its own; `mounted` says whether node 1's directory is.
    fn script(&self, mounted: bool, inside: bool, script: &str) -> Output {
        let bind = if mounted { "mount --bind \"$1/cluster/node1\" \"$1/cluster/node{nodenum}\"" } else { "true" };
        let enter = if inside { "exec chroot \"$1\" sh -ec \"$2\"" } else { "exec sh -ec \"$2\" sh \"$1\"" };
        let setup = format!("mount -t proc proc \"$1/proc\"\n{bind}\n{enter}\n");
        Command::new("unshare")
            .args(["--mount", "--propagation", "private", "sh", "-ec", &setup, "sh"])
            .arg(&self.root)
            .arg(script)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .env("LC_ALL", "C.UTF-8")
            .output()
            .unwrap()
    }

    /// Runs a script in it that has to end well, and gives all that it said.
    fn run(&self, script: &str) -> String {
        let output = self.script(true, true, script);
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{script}: {}\n{said}", output.status);
        said
    }

    /// Nothing is amiss.
    fn is_well(&self) {
        self.run("cdsl check");
    }

    fn is_cdsl(&self, path: &str) {
        let text = fs::read_link(self.at(path)).unwrap_or_else(|error| panic!("{path} is no link: {error}"));
        assert_eq!(text.to_string_lossy(), format!("/cluster/node{{nodenum}}{path}"));
    }

    fn in_attic(&self, text: &str) -> bool {
        let output = Command::new("grep").args(["-rqxF", text]).arg(self.at("cluster/.cdsl/attic")).status().unwrap();
        output.success()
    }
}

/// The libraries of a program, its loader among them (`ldd(1)`).
fn libraries_of(program: &Path) -> Vec<PathBuf> {
    let output = Command::new("ldd").arg(program).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from).collect()
}

// --- dpkg -------------------------------------------------------------------------------------------------------------

/// A small Debian, unpacked from one that is made once, and a package of the release after it.
fn debian(name: &str) -> Maybe<(Machine, PathBuf)> {
    as_root()?;
    program("mmdebstrap", "mmdebstrap")?;
    let kept = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let tar = kept.join("cdsl-debian-12.tar");
    let apt = kept.join("cdsl-debian-13");
    // The tests of this file run side by side, and one of them makes it.
    static ONCE: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let once = ONCE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if !tar.exists() {
        let new = kept.join("cdsl-debian-12.new.tar");
        let mut command = Command::new("mmdebstrap");
        command.args(["--variant=minbase", "--include=adduser", "bookworm"]).arg(&new);
        need(&mut command)?;
        fs::rename(new, &tar).unwrap();
    }
    let machine = Machine::new(name);
    need(Command::new("tar").arg("--extract").arg("--file").arg(&tar).arg("--directory").arg(&machine.root))?;
    let newer = || -> Option<PathBuf> {
        let mut found = fs::read_dir(&apt).ok()?.flatten().map(|entry| entry.path());
        found.find(|path| path.extension().is_some_and(|extension| extension == "deb"))
    };
    if newer().is_none() {
        for directory in ["lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(apt.join(directory)).unwrap();
        }
        // From wherever the root came from.
        let sources = fs::read_to_string(machine.at("etc/apt/sources.list")).unwrap_or_default();
        let words: Vec<&str> = sources.lines().next().unwrap_or_default().split_whitespace().collect();
        let place = words.iter().find(|word| word.contains("://"));
        let place = place.ok_or_else(|| Without(format!("where packages come from is not told by {sources:?}")))?;
        let keys = "/usr/share/keyrings/debian-archive-keyring.gpg";
        fs::write(apt.join("sources.list"), format!("deb [signed-by={keys}] {place} trixie main\n")).unwrap();
        for words in [&["update"][..], &["download", "adduser"]] {
            let mut command = Command::new("apt-get");
            command.current_dir(&apt);
            for (key, value) in [
                ("Dir::Etc::SourceList", apt.join("sources.list")),
                ("Dir::Etc::SourceParts", PathBuf::from("/nonexistent")),
                ("Dir::State::Lists", apt.join("lists")),
                ("Dir::Cache", apt.join("cache")),
                ("APT::Sandbox::User", PathBuf::from("root")),
            ] {
                command.arg("-o").arg(format!("{key}={}", value.display()));
            }
            need(command.args(words))?;
        }
    }
    drop(once);
    let deb = newer().ok_or_else(|| Without("the newer package was not downloaded".to_owned()))?;
    machine.install_cdsl();
    Ok((machine, deb))
}

impl Machine {
    /// Installs a package with the hooks as they are shipped.
    fn install_hooks_of_dpkg(&self) {
        let work = self.at("tmp/hooks");
        let shipped = |name: &str| fs::read_to_string(Path::new(DISTRO).join("debian").join(name)).unwrap();
        let write = |to: &str, text: &str, mode: u32| {
            let to = work.join(to);
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::write(&to, text).unwrap();
            fs::set_permissions(&to, fs::Permissions::from_mode(mode)).unwrap();
        };
        write("DEBIAN/control", &control("cdsl-hooks", 1), 0o644);
        write("DEBIAN/triggers", &shipped("cdsl.triggers"), 0o644);
        write("DEBIAN/postinst", &shipped("cdsl.postinst"), 0o755);
        write("DEBIAN/prerm", &shipped("cdsl.prerm"), 0o755);
        write("etc/dpkg/dpkg.cfg.d/cdsl", &shipped("cdsl.dpkg.cfg"), 0o644);
        write("usr/lib/ssi/cdsl-before-dpkg", &shipped("cdsl-before-dpkg"), 0o755);
        self.run("dpkg-deb --build /tmp/hooks /tmp/hooks.deb && dpkg --install /tmp/hooks.deb");
    }

    /// A package with two conffiles, a program's file and a directory.
    fn build_deb(&self, version: u32) -> String {
        let place = format!("tmp/sample-{version}");
        self.write(&format!("{place}/DEBIAN/control"), &control("sample", version));
        self.write(&format!("{place}/DEBIAN/conffiles"), "/etc/sample-plain\n/etc/sample-edited\n");
        for file in ["etc/sample-plain", "etc/sample-edited", "usr/lib/sample/part", "usr/share/sample/file"] {
            self.write(&format!("{place}/{file}"), &format!("{file} {version}\n"));
        }
        self.run(&format!("dpkg-deb --build /{place} /tmp/sample-{version}.deb"));
        format!("/tmp/sample-{version}.deb")
    }
}

fn control(name: &str, version: u32) -> String {
    format!(
        "Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: nobody <nobody@localhost>\nDescription: for a test\n"
    )
}

#[test]
fn dpkg_upgrades_a_real_package_whose_conffiles_are_cdsls() {
    made(|| {
        let (machine, deb) = debian("real")?;
        machine.install_hooks_of_dpkg();
        fs::copy(deb, machine.at("tmp/newer.deb")).unwrap();
        let old = machine.read("etc/adduser.conf");
        machine.run("cdsl create /etc/adduser.conf /etc/deluser.conf /usr/sbin/adduser");
        let edited = machine.read("cluster/node1/etc/deluser.conf") + "# mine\n";
        machine.write("cluster/node1/etc/deluser.conf", &edited);
        let second = machine.read("cluster/node2/etc/adduser.conf") + "# node 2's\n";
        machine.write("cluster/node2/etc/adduser.conf", &second);
        // It wants a newer passwd than this release has; what its files become is what is asked here.
        let said = machine.run("dpkg --force-depends --force-confold --install /tmp/newer.deb");
        for path in ["/etc/adduser.conf", "/etc/deluser.conf", "/usr/sbin/adduser"] {
            machine.is_cdsl(path);
        }
        let new = machine.read("cluster/node1/etc/adduser.conf");
        assert_ne!(new, old, "{said}");
        // Who had the old one has the new one, who edited it has what he wrote.
        assert_eq!(machine.read("cluster/template/etc/adduser.conf"), new);
        assert_eq!(machine.read("cluster/node2/etc/adduser.conf"), second);
        assert_eq!(machine.read("cluster/node1/etc/deluser.conf"), edited);
        assert_eq!(machine.read("cluster/node2/usr/sbin/adduser"), machine.read("cluster/node1/usr/sbin/adduser"));
        assert!(!machine.at("etc/adduser.conf.dpkg-new").exists());
        // dpkg itself holds that it has installed what it has.
        assert!(!machine.run("dpkg --verify adduser || true").contains("adduser.conf"));
        machine.is_well();
        Ok(())
    });
}

#[test]
fn dpkg_works_on_this_nodes_copies_as_on_plain_files() {
    made(|| {
        let (machine, _) = debian("built")?;
        machine.install_hooks_of_dpkg();
        let debs: Vec<String> = (1..=4).map(|version| machine.build_deb(version)).collect();
        machine.run(&format!("dpkg --install {}", debs[0]));
        machine.run("cdsl create /etc/sample-plain /etc/sample-edited /usr/lib/sample/part /usr/share/sample");
        machine.write("cluster/node1/etc/sample-edited", "mine\n");
        machine.run(&format!("dpkg --force-confold --install {}", debs[1]));
        for path in ["/etc/sample-plain", "/etc/sample-edited", "/usr/lib/sample/part", "/usr/share/sample"] {
            machine.is_cdsl(path);
        }
        assert_eq!(machine.read("cluster/node1/etc/sample-plain"), "etc/sample-plain 2\n");
        assert_eq!(machine.read("cluster/node2/etc/sample-plain"), "etc/sample-plain 2\n");
        assert_eq!(machine.read("cluster/node1/etc/sample-edited"), "mine\n");
        assert_eq!(machine.read("cluster/node1/etc/sample-edited.dpkg-dist"), "etc/sample-edited 2\n");
        assert_eq!(machine.read("cluster/node1/usr/lib/sample/part"), "usr/lib/sample/part 2\n");
        assert_eq!(machine.read("cluster/node1/usr/share/sample/file"), "usr/share/sample/file 2\n");
        assert!(machine.in_attic("etc/sample-plain 1"), "what copies that follow were is kept");

        // In two steps, as apt does it.
        machine.run(&format!("dpkg --force-confnew --unpack {}", debs[2]));
        machine.run("dpkg --force-confnew --configure --pending");
        assert_eq!(machine.read("cluster/node1/etc/sample-plain"), "etc/sample-plain 3\n");
        assert_eq!(machine.read("cluster/node1/etc/sample-edited"), "etc/sample-edited 3\n");
        assert_eq!(machine.read("cluster/node1/etc/sample-edited.dpkg-old"), "mine\n");

        // What is none any more is dpkg's plain file again.
        machine.run("cdsl remove --purge /etc/sample-plain");
        let diverted = machine.run("dpkg-divert --list");
        assert!(!diverted.contains("sample-plain") && diverted.contains("sample-edited"), "{diverted}");
        machine.run(&format!("dpkg --force-confold --install {}", debs[3]));
        assert_eq!(machine.read("etc/sample-plain"), "etc/sample-plain 4\n");
        assert!(!machine.at("etc/sample-plain").is_symlink());
        let diverted = machine.run("dpkg-divert --list");
        assert!(!diverted.contains("sample-plain") && diverted.contains("sample-edited"), "{diverted}");
        // Back to a machine without a CDSL, also as far as dpkg knows.
        machine.run("cdsl revert --all");
        assert!(!machine.run("dpkg-divert --list").contains("/cluster/"));
        machine.run(&format!("dpkg --force-confnew --install {}", debs[2]));
        assert_eq!(machine.read("usr/lib/sample/part"), "usr/lib/sample/part 3\n");
        machine.run("cdsl create --force /etc/sample-edited");
        machine.run("dpkg --configure --pending; cdsl check --packages --before");
        assert!(machine.run("dpkg-divert --list").contains("sample-edited"));
        // Without this package nothing is diverted.
        let said = machine.run("dpkg --remove cdsl-hooks");
        assert!(!machine.run("dpkg-divert --list").contains("/cluster/"), "{said}");
        Ok(())
    });
}

#[test]
fn dpkg_is_stopped_where_it_would_write_into_nothing() {
    made(|| {
        let (machine, _) = debian("unmounted")?;
        machine.install_hooks_of_dpkg();
        let deb = machine.build_deb(1);
        machine.run(&format!("dpkg --install {deb} && cdsl create /etc/sample-plain"));
        let deb = machine.build_deb(2);
        let output = machine.script(false, true, &format!("dpkg --install {deb}"));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains("cdsl mount"), "{said}");
        assert_eq!(machine.read("cluster/node1/etc/sample-plain"), "etc/sample-plain 1\n");
        assert!(machine.run("dpkg --status sample").contains("Version: 1"));
        Ok(())
    });
}

#[test]
fn what_dpkg_did_without_the_hook_is_put_right_afterwards() {
    made(|| {
        let (machine, _) = debian("late")?;
        let debs: Vec<String> = (1..=2).map(|version| machine.build_deb(version)).collect();
        machine.run(&format!("dpkg --install {}", debs[0]));
        machine.run("cdsl create /etc/sample-plain /etc/sample-edited /usr/lib/sample/part");
        machine.write("cluster/node1/etc/sample-edited", "mine\n");
        machine.run(&format!("dpkg --force-confold --install {}", debs[1]));
        // This is what it does; when a newer dpkg does better, the answer to it can become shorter.
        assert_eq!(machine.read("etc/sample-plain.dpkg-new"), "etc/sample-plain 2\n");
        assert!(!machine.at("usr/lib/sample/part").is_symlink());
        machine.run("cdsl check --repair --packages");
        assert_eq!(machine.read("cluster/node1/etc/sample-plain"), "etc/sample-plain 2\n");
        assert_eq!(machine.read("cluster/node2/etc/sample-plain"), "etc/sample-plain 2\n");
        assert_eq!(machine.read("cluster/node1/etc/sample-edited"), "mine\n");
        assert_eq!(machine.read("etc/sample-edited.dpkg-dist"), "etc/sample-edited 2\n");
        assert_eq!(machine.read("cluster/node1/usr/lib/sample/part"), "usr/lib/sample/part 2\n");
        assert!(machine.in_attic("usr/lib/sample/part 1"));
        machine.is_cdsl("/usr/lib/sample/part");
        assert!(!machine.at("etc/sample-plain.dpkg-new").exists());
        machine.is_well();
        Ok(())
    });
}

// --- rpm --------------------------------------------------------------------------------------------------------------

const SPEC: &str = r"
Name: sample
Version: %{v}
Release: 1
Summary: for a test
License: none
BuildArch: noarch
%description
For a test.
%install
mkdir -p %{buildroot}/etc %{buildroot}/usr/lib/sample %{buildroot}/usr/share/sample
for f in etc/sample-plain etc/sample-edited etc/sample-kept etc/sample-kept-edited usr/lib/sample/part usr/share/sample/file; do
echo $f %{v} >%{buildroot}/$f
done
echo same >%{buildroot}/etc/sample-same
%files
%config /etc/sample-plain
%config /etc/sample-edited
%config(noreplace) /etc/sample-kept
%config(noreplace) /etc/sample-kept-edited
%config(noreplace) /etc/sample-same
/usr/lib/sample/part
%dir /usr/share/sample
/usr/share/sample/file
";

const HOOKS: &str = r"
Name: cdsl-hooks
Version: 1
Release: 1
Summary: for a test
License: none
BuildArch: noarch
%description
For a test.
%files
";

/// A root with a shell, the command, rpm's database and the packages.
fn fedora(name: &str) -> Maybe<Machine> {
    as_root()?;
    program("rpm", "rpm")?;
    program("rpmbuild", "rpm")?;
    let machine = Machine::new(name);
    machine.install_cdsl();
    for directory in ["bin", "lib64", "tmp", "etc", "usr/lib", "dev"] {
        fs::create_dir_all(machine.at(directory)).unwrap();
    }
    for program in ["sh", "cat", "rpm"] {
        let output = need(Command::new("sh").args(["-c", &format!("readlink -f \"$(command -v {program})\"")]))?;
        let found = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
        fs::copy(&found, machine.at("usr/bin").join(program)).unwrap();
        for library in libraries_of(&found) {
            let to = machine.at(&library.to_string_lossy());
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::copy(&library, to).unwrap();
        }
    }
    symlink("../usr/bin/sh", machine.at("bin/sh")).unwrap();
    // Debian's rpm has its database elsewhere.
    machine.write("etc/rpm/macros", "%_dbpath /usr/lib/sysimage/rpm\n");
    need(Command::new("cp").args(["-a", "/usr/lib/rpm"]).arg(machine.at("usr/lib/")))?;
    let build = |file: &str, spec: &str, version: u32| -> Maybe<()> {
        let path = machine.at("tmp").join(file);
        fs::write(&path, spec).unwrap();
        let top = format!("_topdir {}", machine.at("tmp/build").display());
        let mut command = Command::new("rpmbuild");
        command.args(["-bb", "--define", &top, "--define", &format!("v {version}")]).arg(path);
        need(&mut command).map(drop)
    };
    let triggers = fs::read_to_string(Path::new(DISTRO).join("fedora/cdsl-filetriggers.inc")).unwrap();
    build("hooks.spec", &format!("{HOOKS}\n{triggers}"), 1)?;
    for version in 1..=3 {
        build("sample.spec", SPEC, version)?;
    }
    Ok(machine)
}

impl Machine {
    /// rpm from outside, as an installer calls it; its scripts run inside.
    fn rpm(&self, words: &str) -> String {
        let script = format!(
            "cd \"$1/tmp/build/RPMS/noarch\" && rpm --root \"$1\" --dbpath /usr/lib/sysimage/rpm --nodeps {words}"
        );
        let output = self.script(true, false, &script);
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "rpm {words}: {}\n{said}", output.status);
        said
    }
}

const OF_RPM: [&str; 7] = [
    "/etc/sample-plain",
    "/etc/sample-edited",
    "/etc/sample-kept",
    "/etc/sample-kept-edited",
    "/etc/sample-same",
    "/usr/lib/sample/part",
    "/usr/share/sample",
];

#[test]
fn rpm_upgrades_a_package_whose_files_are_cdsls() {
    made(|| {
        let machine = fedora("rpm")?;
        machine.rpm("-i cdsl-hooks-1-1.noarch.rpm sample-1-1.noarch.rpm");

        machine.run(&format!("cdsl create {}", OF_RPM.join(" ")));
        for file in ["sample-edited", "sample-kept-edited"] {
            machine.write(&format!("cluster/node1/etc/{file}"), "mine\n");
        }
        machine.write("cluster/node2/etc/sample-kept", "node 2's\n");
        let said = machine.rpm("-U sample-2-1.noarch.rpm");
        for path in OF_RPM {
            machine.is_cdsl(path);
        }
        let own = |file: &str| machine.read(&format!("cluster/node1/{file}"));
        // As rpm does it with plain files: who edited a %config finds what he wrote aside, a noreplace stays.
        assert_eq!(own("etc/sample-plain"), "etc/sample-plain 2\n", "{said}");
        assert_eq!(own("etc/sample-edited"), "etc/sample-edited 2\n");
        assert!(machine.in_attic("mine"), "{said}");
        assert_eq!(own("etc/sample-kept"), "etc/sample-kept 2\n", "{said}");
        assert_eq!(own("etc/sample-kept-edited"), "mine\n");
        assert_eq!(machine.read("etc/sample-kept-edited.rpmnew"), "etc/sample-kept-edited 2\n");
        assert_eq!(own("etc/sample-same"), "same\n");
        assert_eq!(own("usr/lib/sample/part"), "usr/lib/sample/part 2\n");
        assert_eq!(own("usr/share/sample/file"), "usr/share/sample/file 2\n");
        // The others follow where nobody edited.
        for (copy, content) in [
            ("node2/etc/sample-plain", "etc/sample-plain 2\n"),
            ("template/etc/sample-plain", "etc/sample-plain 2\n"),
            ("node2/usr/lib/sample/part", "usr/lib/sample/part 2\n"),
            ("template/etc/sample-kept", "etc/sample-kept 2\n"),
            ("node2/etc/sample-kept", "node 2's\n"),
        ] {
            assert_eq!(machine.read(&format!("cluster/{copy}")), content, "{copy}: {said}");
        }
        for left in ["etc/sample-plain.rpmsave", "etc/sample-edited.rpmsave", "etc/sample-kept.rpmnew"] {
            assert!(!machine.at(left).is_symlink() && !machine.at(left).exists(), "{left}");
        }
        machine.is_well();
        // And once more, from what the first time left.
        machine.rpm("-U sample-3-1.noarch.rpm");
        assert_eq!(machine.read("cluster/node2/etc/sample-plain"), "etc/sample-plain 3\n");
        assert_eq!(machine.read("cluster/node1/etc/sample-kept"), "etc/sample-kept 3\n");
        assert_eq!(machine.read("cluster/node1/etc/sample-kept-edited"), "mine\n");
        machine.is_well();
        Ok(())
    });
}
