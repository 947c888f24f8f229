// SPDX-License-Identifier: GPL-2.0-or-later
//! Specifiers: `%i`, `%n`, `%H` and their like in the values of settings.
//!
//! What a specifier stands for comes from three places: the unit's name, the machine ([`Host`]), and where the
//! manager keeps things ([`Directories`]). [`Specifiers`] holds all three and replaces without any further look at
//! the system, so that a unit loads the same in a test as at boot. The table is that of systemd.unit(5),
//! "Specifiers".
//!
//! Not every setting takes every specifier: lists of unit names have those that cannot spoil a name
//! ([`Table::Name`]), all others the whole table ([`Table::Full`]).

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::environment;
use crate::name::{self, UnitName};

/// Which specifiers a setting takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    /// Lists of unit names: the name's parts as they are escaped, and what is true of the whole machine.
    Name,
    /// Everything else.
    Full,
}

/// Why a text's specifiers cannot be replaced.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpecifierError {
    /// A letter or digit that means nothing here.
    #[error("unknown specifier %{0}; a percent sign is written %%")]
    Unknown(char),
    /// The machine does not have what is asked for.
    #[error("specifier %{0} has no value here: {1}")]
    NoValue(char, &'static str),
    /// The unit's name cannot be unescaped.
    #[error("specifier %{0}: {1}")]
    Name(char, name::NameError),
    /// The result is too long.
    #[error("the text is longer than {0} bytes once its specifiers are replaced")]
    TooLong(usize),
    /// The result is not text where text is needed.
    #[error("the text is not UTF-8 once its specifiers are replaced")]
    NotUtf8,
}

/// What is known of the machine, read once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// `%m`: 32 hexadecimal digits, machine-id(5).
    pub machine_id: Option<String>,
    /// `%b`: 32 hexadecimal digits.
    pub boot_id: Option<String>,
    /// `%H`; `%l` is what stands before the first dot.
    pub host_name: String,
    /// `%q`, machine-info(5); without one `%l` is used.
    pub pretty_host_name: Option<String>,
    /// `%v`, as `uname -r`.
    pub kernel_release: String,
    /// `%a`, in systemd's words: `x86-64`, `arm64`.
    pub architecture: String,
    /// os-release(5), for `%o %w %W %M %A %B`; `None` when there is no such file.
    pub os_release: Option<environment::Environment>,
    /// `%u`: the manager's user.
    pub user_name: String,
    /// `%U`
    pub user_id: u32,
    /// `%g`: the manager's group.
    pub group_name: String,
    /// `%G`
    pub group_id: u32,
    /// `%h`
    pub home: String,
    /// `%s`
    pub shell: String,
    /// Where the manager keeps things.
    pub directories: Directories,
}

/// Where a manager keeps things, for `%C %E %L %S %t %T %V`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Directories {
    /// `%t`
    pub runtime: String,
    /// `%S`
    pub state: String,
    /// `%C`
    pub cache: String,
    /// `%L`
    pub logs: String,
    /// `%E`
    pub configuration: String,
    /// `%T`
    pub temporary: String,
    /// `%V`
    pub persistent_temporary: String,
    /// `%R`: the manager's own control group, empty at the root of the tree.
    pub control_group: String,
}

impl Default for Directories {
    /// Those of the system's manager, file-hierarchy(7).
    fn default() -> Directories {
        Directories {
            runtime: "/run".to_owned(),
            state: "/var/lib".to_owned(),
            cache: "/var/cache".to_owned(),
            logs: "/var/log".to_owned(),
            configuration: "/etc".to_owned(),
            temporary: "/tmp".to_owned(),
            persistent_temporary: "/var/tmp".to_owned(),
            control_group: String::new(),
        }
    }
}

impl Host {
    /// Reads what this machine says of itself; files are looked for under `root`.
    ///
    /// What is missing stays empty: a unit that asks for it is told so when it is loaded.
    #[must_use]
    pub fn read(root: &Path) -> Host {
        let file = |path: &str| std::fs::read(root.join(path)).ok();
        let word =
            |path: &str| file(path).and_then(|text| String::from_utf8(text).ok()).map(|text| text.trim().to_owned());
        let assignments = |path: &str| -> Option<environment::Environment> {
            let entries = environment::parse_file(&file(path)?).ok()?;
            Some(entries.into_iter().map(|entry| (entry.name, entry.value)).collect())
        };
        let id = |text: String| -> Option<String> {
            let digits: String = text.chars().filter(|c| *c != '-').collect::<String>().to_ascii_lowercase();
            let valid = digits.len() == 32 && digits.bytes().all(|c| c.is_ascii_hexdigit());
            (valid && digits.bytes().any(|c| c != b'0')).then_some(digits)
        };
        let uname = rustix::system::uname();
        let os_release = assignments("etc/os-release").or_else(|| assignments("usr/lib/os-release"));
        let node = uname.nodename().to_string_lossy().into_owned();
        let host_name = match node.as_str() {
            "" | "(none)" => {
                os_release.as_ref().and_then(|os| os.get("DEFAULT_HOSTNAME")).unwrap_or("localhost").to_owned()
            }
            _ => node,
        };
        let shell = if root.join("bin/bash").exists() { "/bin/bash" } else { "/bin/sh" };
        Host {
            machine_id: word("etc/machine-id").and_then(id),
            boot_id: std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
                .ok()
                .map(|id| id.trim().to_owned())
                .and_then(id),
            host_name,
            pretty_host_name: assignments("etc/machine-info")
                .and_then(|info| info.get("PRETTY_HOSTNAME").map(str::to_owned))
                .filter(|name| !name.is_empty()),
            kernel_release: uname.release().to_string_lossy().into_owned(),
            architecture: architecture(&uname.machine().to_string_lossy()).to_owned(),
            os_release,
            // The manager of the system runs as root, and the name service must not be asked before it is started.
            user_name: "root".to_owned(),
            user_id: 0,
            group_name: "root".to_owned(),
            group_id: 0,
            home: "/root".to_owned(),
            shell: shell.to_owned(),
            directories: Directories::default(),
        }
    }

    /// `%l`: the host name up to its first dot.
    #[must_use]
    pub fn short_host_name(&self) -> &str {
        self.host_name.split('.').next().unwrap_or_default()
    }
}

/// The name that systemd.unit(5), `ConditionArchitecture=`, has for what `uname -m` says.
#[must_use]
pub fn architecture(machine: &str) -> &str {
    match machine {
        "x86_64" => "x86-64",
        "i386" | "i486" | "i586" | "i686" => "x86",
        "aarch64" => "arm64",
        "aarch64_be" => "arm64-be",
        "ppc64le" => "ppc64-le",
        "ppcle" => "ppc-le",
        "mips64" => "mips64",
        "sh5" => "sh64",
        "loongarch64" => "loongarch64",
        "sh2" | "sh2a" | "sh3" | "sh4" | "sh4a" => "sh",
        big if big.starts_with("armv") && big.ends_with('b') => "arm-be",
        arm if arm.starts_with("armv") => "arm",
        "parisc" => "parisc",
        "parisc64" => "parisc64",
        same => same,
    }
}

/// What the specifiers of one unit stand for.
#[derive(Clone, Copy, Debug)]
pub struct Specifiers<'a> {
    /// The machine.
    pub host: &'a Host,
    /// The unit's name, an instance's with its instance.
    pub name: &'a UnitName,
    /// `%y`: the unit's file, all links followed; `None` when it has none.
    pub fragment: Option<&'a Path>,
    /// The slice the unit is in, for the deprecated `%c` and `%r`; `None` for `system.slice`.
    pub slice: Option<&'a UnitName>,
}

/// The longest name after replacing, in bytes.
pub const NAME_MAX: usize = 255;
/// The longest path after replacing, in bytes.
pub const PATH_MAX: usize = 4095;
/// The longest text after replacing, in bytes.
pub const TEXT_MAX: usize = 1024 * 1024;

impl<'a> Specifiers<'a> {
    /// The specifiers of a unit of which only the name is known.
    #[must_use]
    pub fn of(host: &'a Host, name: &'a UnitName) -> Specifiers<'a> {
        Specifiers { host, name, fragment: None, slice: None }
    }

    /// Replaces in a name or list of names.
    ///
    /// # Errors
    /// [`SpecifierError`]; systemd.unit(5) has such a setting ignored.
    pub fn name(&self, text: &str) -> Result<String, SpecifierError> {
        self.text_within(text, Table::Name, NAME_MAX)
    }

    /// Replaces in a text.
    ///
    /// # Errors
    /// [`SpecifierError`]
    pub fn text(&self, text: &str) -> Result<String, SpecifierError> {
        self.text_within(text, Table::Full, TEXT_MAX)
    }

    /// Replaces in a path.
    ///
    /// # Errors
    /// [`SpecifierError`]
    pub fn path(&self, text: &str) -> Result<String, SpecifierError> {
        self.text_within(text, Table::Full, PATH_MAX)
    }

    fn text_within(&self, text: &str, table: Table, limit: usize) -> Result<String, SpecifierError> {
        String::from_utf8(self.bytes(text.as_bytes(), table, limit)?).map_err(|_| SpecifierError::NotUtf8)
    }

    /// Replaces in any bytes; the result is at most `limit` long.
    ///
    /// A percent sign before anything but a letter, a digit or another percent sign stands for itself.
    ///
    /// # Errors
    /// [`SpecifierError`]
    pub fn bytes(&self, text: &[u8], table: Table, limit: usize) -> Result<Vec<u8>, SpecifierError> {
        let mut replaced = Vec::with_capacity(text.len());
        let mut bytes = text.iter().copied();
        while let Some(byte) = bytes.next() {
            match (byte, if byte == b'%' { bytes.next() } else { None }) {
                (b'%', Some(b'%') | None) => replaced.push(b'%'),
                (b'%', Some(letter)) if letter.is_ascii_alphanumeric() => {
                    replaced.extend(self.value(char::from(letter), table)?);
                }
                (b'%', Some(other)) => replaced.extend([b'%', other]),
                (ordinary, _) => replaced.push(ordinary),
            }
            if replaced.len() > limit {
                return Err(SpecifierError::TooLong(limit));
            }
        }
        Ok(replaced)
    }

    fn value(&self, letter: char, table: Table) -> Result<Vec<u8>, SpecifierError> {
        if let Some(value) = self.common(letter)? {
            return Ok(value.into_bytes());
        }
        match table {
            Table::Name => Err(SpecifierError::Unknown(letter)),
            Table::Full => self.full(letter),
        }
    }

    /// What both tables have.
    fn common(&self, letter: char) -> Result<Option<String>, SpecifierError> {
        let (name, host) = (self.name, self.host);
        let need = |value: &Option<String>, why| value.clone().ok_or(SpecifierError::NoValue(letter, why));
        let os = |field: &str| match &host.os_release {
            Some(os) => Ok(os.get(field).unwrap_or_default().to_owned()),
            None => Err(SpecifierError::NoValue(letter, "there is no os-release file")),
        };
        Ok(Some(match letter {
            'i' => name.instance().unwrap_or_default().to_owned(),
            'j' => self.last_component().to_owned(),
            'n' => name.as_str().to_owned(),
            'N' => name.stem().to_owned(),
            'p' => name.prefix().to_owned(),
            'a' => host.architecture.clone(),
            'b' => need(&host.boot_id, "the kernel gives no boot id")?,
            'm' => need(&host.machine_id, "/etc/machine-id is missing or not set")?,
            'H' => host.host_name.clone(),
            'l' => host.short_host_name().to_owned(),
            'q' => host.pretty_host_name.clone().unwrap_or_else(|| host.short_host_name().to_owned()),
            'v' => host.kernel_release.clone(),
            'o' => os("ID")?,
            'w' => os("VERSION_ID")?,
            'W' => os("VARIANT_ID")?,
            'B' => os("BUILD_ID")?,
            'M' => os("IMAGE_ID")?,
            'A' => os("IMAGE_VERSION")?,
            'u' => host.user_name.clone(),
            'U' => host.user_id.to_string(),
            'g' => host.group_name.clone(),
            'G' => host.group_id.to_string(),
            _ => return Ok(None),
        }))
    }

    fn full(&self, letter: char) -> Result<Vec<u8>, SpecifierError> {
        let directories = &self.host.directories;
        let unescape = |text: &str| name::unescape_bytes(text).map_err(|error| SpecifierError::Name(letter, error));
        Ok(match letter {
            'I' => unescape(self.name.instance().unwrap_or_default())?,
            'J' => unescape(self.last_component())?,
            'P' => unescape(self.name.prefix())?,
            'f' => match self.name.instance() {
                Some(instance) => name::unescape_path(instance),
                None => self.name.to_path(),
            }
            .map_err(|error| SpecifierError::Name(letter, error))?
            .into_bytes(),
            'y' => path_bytes(self.fragment(letter)?),
            'Y' => path_bytes(self.fragment(letter)?.parent().unwrap_or(Path::new("/"))),
            'c' => {
                let mut path = self.slice_path();
                path.push(self.name.as_str());
                path_bytes(&path)
            }
            'r' => path_bytes(&self.slice_path()),
            'R' => directories.control_group.clone().into_bytes(),
            'C' => directories.cache.clone().into_bytes(),
            'E' => directories.configuration.clone().into_bytes(),
            'L' => directories.logs.clone().into_bytes(),
            'S' => directories.state.clone().into_bytes(),
            't' => directories.runtime.clone().into_bytes(),
            'd' => format!("{}/credentials/{}", directories.runtime, self.name).into_bytes(),
            'T' => directories.temporary.clone().into_bytes(),
            'V' => directories.persistent_temporary.clone().into_bytes(),
            'h' => self.host.home.clone().into_bytes(),
            's' => self.host.shell.clone().into_bytes(),
            unknown => return Err(SpecifierError::Unknown(unknown)),
        })
    }

    fn last_component(&self) -> &str {
        let prefix = self.name.prefix();
        prefix.rsplit_once('-').map_or(prefix, |(_, last)| last)
    }

    fn fragment(&self, letter: char) -> Result<&Path, SpecifierError> {
        self.fragment.ok_or(SpecifierError::NoValue(letter, "the unit has no file"))
    }

    /// The unit's slice in the control-group tree: `a-b.slice` lies in `a.slice`.
    fn slice_path(&self) -> PathBuf {
        let mut chain = Vec::new();
        let mut next = self.slice.cloned().or_else(|| UnitName::new("system.slice").ok());
        while let Some(slice) = next {
            next = slice.parent_slice();
            if slice.stem() != "-" {
                chain.push(slice);
            }
        }
        let mut path = PathBuf::from(format!("{}/", self.host.directories.control_group));
        path.extend(chain.iter().rev().map(UnitName::as_str));
        path
    }
}

fn path_bytes(path: &Path) -> Vec<u8> {
    use std::os::unix::ffi::OsStrExt;
    path.as_os_str().as_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn host() -> Host {
        Host {
            machine_id: Some("0123456789abcdef0123456789abcdef".to_owned()),
            host_name: "alpha.example.org".to_owned(),
            architecture: "x86-64".to_owned(),
            os_release: Some([("ID", "debian"), ("VERSION_ID", "12")].into_iter().collect()),
            user_name: "root".to_owned(),
            home: "/root".to_owned(),
            ..Host::default()
        }
    }

    fn replace(unit: &str, text: &str) -> Result<String, SpecifierError> {
        let (host, name) = (host(), UnitName::new(unit).unwrap());
        let fragment = PathBuf::from("/usr/lib/systemd/system/x.service");
        Specifiers { fragment: Some(&fragment), ..Specifiers::of(&host, &name) }.text(text)
    }

    #[test]
    fn parts_of_the_name() {
        let unit = r"foo-b\x2dr@a-b\x2dc.service";
        let all =
            r"foo-b\x2dr@a-b\x2dc.service|foo-b\x2dr@a-b\x2dc|foo-b\x2dr|foo/b-r|a-b\x2dc|a/b-c|b\x2dr|b-r|/a/b-c";
        assert_eq!(replace(unit, "%n|%N|%p|%P|%i|%I|%j|%J|%f").unwrap(), all);
        assert_eq!(replace("dev-sda1.swap", "%f %i.").unwrap(), "/dev/sda1 .");
    }

    #[test]
    fn the_machine_and_the_directories() {
        assert_eq!(
            replace("a.service", "%H %l %q %a %o%w%W").unwrap(),
            "alpha.example.org alpha alpha x86-64 debian12"
        );
        assert_eq!(
            replace("a.service", "%t %S %C %L %E %T %V %d").unwrap(),
            "/run /var/lib /var/cache /var/log /etc /tmp /var/tmp /run/credentials/a.service"
        );
        assert_eq!(replace("a.service", "%y %Y").unwrap(), "/usr/lib/systemd/system/x.service /usr/lib/systemd/system");
        assert_eq!(replace("a.service", "%c %r").unwrap(), "/system.slice/a.service /system.slice");
    }

    #[test]
    fn percent_signs_that_are_none() {
        assert_eq!(replace("a.service", "100%% %- 5%").unwrap(), "100% %- 5%");
        assert_eq!(replace("a.service", "%z"), Err(SpecifierError::Unknown('z')));
        assert!(matches!(replace("a.service", "%b"), Err(SpecifierError::NoValue('b', _))));
    }

    #[test]
    fn names_take_fewer() {
        let (host, name) = (host(), UnitName::new("a@b.service").unwrap());
        let specifiers = Specifiers::of(&host, &name);
        assert_eq!(specifiers.name("x-%i.socket").unwrap(), "x-b.socket");
        assert_eq!(specifiers.name("%t"), Err(SpecifierError::Unknown('t')));
        assert_eq!(specifiers.name(&"x".repeat(300)), Err(SpecifierError::TooLong(255)));
    }

    #[test]
    fn this_machine_can_be_read() {
        let host = Host::read(Path::new("/"));
        assert!(!host.host_name.is_empty() && !host.kernel_release.is_empty());
        assert_eq!(host.boot_id.map(|id| id.len()), Some(32));
    }

    proptest! {
        #[test]
        fn no_bytes_upset_it(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let (host, name) = (host(), UnitName::new("a@b.service").unwrap());
            let _ = Specifiers::of(&host, &name).bytes(&bytes, Table::Full, TEXT_MAX);
        }
    }
}
