// SPDX-License-Identifier: GPL-2.0-or-later
//! Names of units, and how paths and free text become names (systemd.unit(5), systemd-escape(1)).
//!
//! ```text
//!   getty@tty1.service          var-lib-\x2dx.mount
//!   ─┬─── ─┬── ───┬───          ───────┬──── ──┬──
//!  prefix  │    type               prefix     type       prefix of a path unit: the escaped path
//!       instance
//! ```
//!
//! A name is at most 255 bytes. Before the type's dot stand ASCII letters, digits and `:-_.\@`; the first `@` splits
//! prefix from instance. With nothing behind the `@` the name is a *template*: it is never started itself, but gives
//! its file to all of its instances.

use std::fmt;
use std::hash::Hasher;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Longest unit name in bytes.
pub const NAME_MAX: usize = 255;

/// Longest path the kernel takes, with its ending NUL (`PATH_MAX`).
const PATH_MAX: usize = 4096;
/// Longest name of one file (`NAME_MAX` of the kernel).
const FILE_NAME_MAX: usize = 255;
/// Hexadecimal digits of the hash that ends the name of a path unit whose full name would be too long.
const HASH_DIGITS: usize = 16;
/// Key of that hash. The value is part of the format: the same path has the same name under every init.
const HASH_KEY: [u8; 16] =
    [0xec, 0xf2, 0x37, 0xfb, 0x58, 0x32, 0x4a, 0x32, 0x84, 0x9f, 0x06, 0x9b, 0x0d, 0x21, 0xeb, 0x9a];

/// What kind of thing a unit is: the last part of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UnitType {
    /// Processes that are started and watched: systemd.service(5).
    Service,
    /// A mount point: systemd.mount(5).
    Mount,
    /// Swap space: systemd.swap(5).
    Swap,
    /// Sockets that start a service when they are spoken to: systemd.socket(5).
    Socket,
    /// A name for a set of units, and a point in the order of boot: systemd.target(5).
    Target,
    /// A device that udev tells of: systemd.device(5).
    Device,
    /// A mount made when somebody first looks: systemd.automount(5).
    Automount,
    /// Starts another unit at times: systemd.timer(5).
    Timer,
    /// Starts another unit when a path changes: systemd.path(5).
    Path,
    /// A node in the tree of resource limits: systemd.slice(5).
    Slice,
    /// Processes that somebody else started: systemd.scope(5).
    Scope,
}

impl UnitType {
    /// Every type.
    pub const ALL: [UnitType; 11] = [
        UnitType::Service,
        UnitType::Mount,
        UnitType::Swap,
        UnitType::Socket,
        UnitType::Target,
        UnitType::Device,
        UnitType::Automount,
        UnitType::Timer,
        UnitType::Path,
        UnitType::Slice,
        UnitType::Scope,
    ];

    /// The type as it stands at the end of a name, without the dot.
    pub fn as_str(self) -> &'static str {
        match self {
            UnitType::Service => "service",
            UnitType::Mount => "mount",
            UnitType::Swap => "swap",
            UnitType::Socket => "socket",
            UnitType::Target => "target",
            UnitType::Device => "device",
            UnitType::Automount => "automount",
            UnitType::Timer => "timer",
            UnitType::Path => "path",
            UnitType::Slice => "slice",
            UnitType::Scope => "scope",
        }
    }

    /// The section of a unit file that holds this type's own settings; targets and devices have none.
    pub fn section(self) -> Option<&'static str> {
        match self {
            UnitType::Service => Some("Service"),
            UnitType::Mount => Some("Mount"),
            UnitType::Swap => Some("Swap"),
            UnitType::Socket => Some("Socket"),
            UnitType::Automount => Some("Automount"),
            UnitType::Timer => Some("Timer"),
            UnitType::Path => Some("Path"),
            UnitType::Slice => Some("Slice"),
            UnitType::Scope => Some("Scope"),
            UnitType::Target | UnitType::Device => None,
        }
    }

    /// Whether another unit's name may be an alias of a unit of this type: the types whose names are made from paths,
    /// and slices (from their place in the tree) and scopes, have one name each.
    pub fn may_alias(self) -> bool {
        matches!(
            self,
            UnitType::Service
                | UnitType::Socket
                | UnitType::Target
                | UnitType::Device
                | UnitType::Timer
                | UnitType::Path
        )
    }
}

impl fmt::Display for UnitType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for UnitType {
    type Err = NameError;

    fn from_str(text: &str) -> Result<UnitType, NameError> {
        UnitType::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or_else(|| NameError::Type(text.to_owned()))
    }
}

/// Why a text is no unit name, or why a path or text has none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing was given.
    #[error("a unit name cannot be empty")]
    Empty,
    /// More than [`NAME_MAX`] bytes.
    #[error("the unit name \"{0}\" is longer than {NAME_MAX} bytes")]
    TooLong(String),
    /// The name does not end in a dot and a known type.
    #[error("\"{0}\" does not end in a unit type such as .service")]
    Type(String),
    /// A character that names may not hold.
    #[error("the unit name \"{0}\" holds {1:?}, which unit names may not; see systemd-escape(1)")]
    Character(String, char),
    /// Nothing stands before the `@` or the dot.
    #[error("the unit name \"{0}\" has no prefix")]
    NoPrefix(String),
    /// An instance was asked of a name that is no template.
    #[error("the unit name \"{0}\" is not a template: it has no @ to put an instance behind")]
    NotTemplate(String),
    /// An instance text that may not stand in a name.
    #[error("\"{0}\" cannot be the instance of a unit; escape it first, see systemd-escape(1)")]
    Instance(String),
    /// A path with `..`, with a component longer than a file name may be, or too long.
    #[error("\"{0}\" is not a normal path")]
    Path(String),
    /// An escape that is not `\xNN`, or what it stands for cannot be a text.
    #[error("\"{0}\" holds a broken \\x escape")]
    Escape(String),
    /// The name was made from a path too long for a name and holds only a hash of it.
    #[error("the unit name \"{0}\" stands for a path too long for a name; the path cannot be read from it")]
    Hashed(String),
}

/// The valid name of a unit, a template or an instance.
///
/// Clones share the text.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UnitName {
    text: Arc<str>,
    kind: UnitType,
}

impl UnitName {
    /// Checks `text` and makes a name of it.
    ///
    /// ```
    /// use ssi_unit::name::UnitName;
    /// let name = UnitName::new("getty@tty1.service").unwrap();
    /// assert_eq!((name.prefix(), name.instance()), ("getty", Some("tty1")));
    /// assert!(UnitName::new("getty").is_err());
    /// ```
    pub fn new(text: &str) -> Result<UnitName, NameError> {
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        if text.len() > NAME_MAX {
            return Err(NameError::TooLong(text.to_owned()));
        }
        let Some((stem, suffix)) = text.rsplit_once('.') else {
            return Err(NameError::Type(text.to_owned()));
        };
        let kind: UnitType = suffix.parse().map_err(|_| NameError::Type(text.to_owned()))?;
        if stem.is_empty() || stem.starts_with('@') {
            return Err(NameError::NoPrefix(text.to_owned()));
        }
        if let Some(wrong) = stem.chars().find(|c| !is_name_char(*c) && *c != '@') {
            return Err(NameError::Character(text.to_owned(), wrong));
        }
        Ok(UnitName { text: text.into(), kind })
    }

    /// The whole name.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The type at the end of the name.
    pub fn unit_type(&self) -> UnitType {
        self.kind
    }

    /// What stands before the type's dot (specifier `%N`).
    pub fn stem(&self) -> &str {
        &self.text[..self.text.len() - self.kind.as_str().len() - 1]
    }

    /// What stands before the `@`, or before the type's dot (specifier `%p`).
    pub fn prefix(&self) -> &str {
        let stem = self.stem();
        stem.split_once('@').map_or(stem, |(prefix, _)| prefix)
    }

    /// The instance, still escaped (specifier `%i`); `None` for plain names and templates.
    pub fn instance(&self) -> Option<&str> {
        self.stem().split_once('@').map(|(_, instance)| instance).filter(|instance| !instance.is_empty())
    }

    /// Whether the name has no `@`.
    pub fn is_plain(&self) -> bool {
        !self.stem().contains('@')
    }

    /// Whether the name is a template: nothing behind its `@`.
    pub fn is_template(&self) -> bool {
        self.stem().find('@').is_some_and(|at| at + 1 == self.stem().len())
    }

    /// Whether the name is an instance of a template.
    pub fn is_instance(&self) -> bool {
        self.instance().is_some()
    }

    /// The template of this instance (a template is its own); `None` for plain names.
    pub fn template(&self) -> Option<UnitName> {
        if self.is_plain() {
            return None;
        }
        let text = format!("{}@.{}", self.prefix(), self.kind);
        Some(UnitName { text: text.into(), kind: self.kind })
    }

    /// The instance `instance` of this template; of an instance, its sibling.
    pub fn instantiate(&self, instance: &str) -> Result<UnitName, NameError> {
        if self.is_plain() {
            return Err(NameError::NotTemplate(self.text.to_string()));
        }
        if instance.is_empty() || !instance.chars().all(|c| is_name_char(c) || c == '@') {
            return Err(NameError::Instance(instance.to_owned()));
        }
        UnitName::new(&format!("{}@{instance}.{}", self.prefix(), self.kind))
    }

    /// What a dependency on this name means for `owner`: of a template, the instance named for the owner's own
    /// instance or, when that has none, its prefix; of other names, the name itself.
    pub fn resolve_for(&self, owner: &UnitName) -> Result<UnitName, NameError> {
        if !self.is_template() {
            return Ok(self.clone());
        }
        self.instantiate(owner.instance().unwrap_or_else(|| owner.prefix()))
    }

    /// The same prefix and instance with another type: `cups.socket` of `cups.service`.
    pub fn with_type(&self, kind: UnitType) -> Result<UnitName, NameError> {
        UnitName::new(&format!("{}.{kind}", self.stem()))
    }

    /// The name a path has as a unit of `kind` (mount, automount, swap, device).
    ///
    /// A name that would be too long ends in a hash of itself instead; [`UnitName::to_path`] then cannot give the path.
    pub fn from_path(path: &str, kind: UnitType) -> Result<UnitName, NameError> {
        let text = format!("{}.{kind}", escape_path(path)?);
        if text.len() <= NAME_MAX {
            return UnitName::new(&text);
        }
        // 1 for the dot, 1 for the underscore before the hash. Cutting may split an escape: that is the format.
        let keep = NAME_MAX - kind.as_str().len() - HASH_DIGITS - 2;
        let hash = siphash24(text.as_bytes());
        let digits: String = hash.to_le_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        UnitName::new(&format!("{}_{digits}.{kind}", &text[..keep]))
    }

    /// Whether the name was made from a path too long to be kept in it.
    pub fn is_hashed(&self) -> bool {
        let stem = self.stem().as_bytes();
        self.is_plain()
            && stem.len() > HASH_DIGITS
            && stem[stem.len() - HASH_DIGITS - 1] == b'_'
            && stem[stem.len() - HASH_DIGITS..].iter().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'))
    }

    /// The path that a mount, automount, swap or device unit of this name stands for.
    pub fn to_path(&self) -> Result<String, NameError> {
        if self.is_hashed() {
            return Err(NameError::Hashed(self.text.to_string()));
        }
        unescape_path(self.prefix())
    }

    /// The prefixes, dash and all, whose drop-in folders also hold for this unit, nearest first:
    /// `foo-bar-` and `foo-` for `foo-bar-baz.service`.
    pub fn dash_prefixes(&self) -> Vec<&str> {
        let prefix = self.prefix();
        let mut found = Vec::new();
        let mut end = prefix.len();
        // The last character is left out: `foo-.service` is not its own prefix.
        while let Some(dash) = prefix[..end].rfind('-') {
            if dash == 0 {
                break;
            }
            if dash + 1 < prefix.len() {
                found.push(&prefix[..=dash]);
            }
            end = dash;
        }
        found
    }

    /// Whether the name of a slice is well formed: `-.slice`, or parts between single dashes, and no instance.
    pub fn is_valid_slice(&self) -> bool {
        let stem = self.stem();
        self.kind == UnitType::Slice
            && self.is_plain()
            && (stem == "-" || !(stem.starts_with('-') || stem.ends_with('-') || stem.contains("--")))
    }

    /// The slice a slice is in: `a.slice` for `a-b.slice`, `-.slice` for `a.slice`; `None` for `-.slice` and for
    /// what is no well-formed slice.
    pub fn parent_slice(&self) -> Option<UnitName> {
        if !self.is_valid_slice() || self.stem() == "-" {
            return None;
        }
        let parent = self.stem().rsplit_once('-').map_or("-", |(parent, _)| parent);
        Some(UnitName { text: format!("{parent}.slice").into(), kind: UnitType::Slice })
    }
}

impl fmt::Display for UnitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for UnitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

impl FromStr for UnitName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<UnitName, NameError> {
        UnitName::new(text)
    }
}

impl AsRef<str> for UnitName {
    fn as_ref(&self) -> &str {
        &self.text
    }
}

impl AsRef<Path> for UnitName {
    fn as_ref(&self) -> &Path {
        Path::new(self.as_str())
    }
}

impl PartialEq<str> for UnitName {
    fn eq(&self, other: &str) -> bool {
        &*self.text == other
    }
}

impl PartialEq<&str> for UnitName {
    fn eq(&self, other: &&str) -> bool {
        &*self.text == *other
    }
}

impl Serialize for UnitName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for UnitName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<UnitName, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        UnitName::new(&text).map_err(serde::de::Error::custom)
    }
}

/// Whether `c` may stand in a prefix or instance without being escaped (instances may also hold `@`).
fn is_name_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, ':' | '-' | '_' | '.' | '\\')
}

/// Escapes any bytes so that they can be an instance or a prefix: `/` becomes `-`, all but letters, digits and
/// `:_.` become `\xNN`, and so does a dot at the start.
pub fn escape(text: &[u8]) -> String {
    let mut escaped = String::with_capacity(text.len());
    for (index, &byte) in text.iter().enumerate() {
        match byte {
            b'/' => escaped.push('-'),
            b'.' if index == 0 => escaped.push_str("\\x2e"),
            b'-' | b'\\' => escaped.push_str(&format!("\\x{byte:02x}")),
            _ if is_name_char(char::from(byte)) => escaped.push(char::from(byte)),
            _ => escaped.push_str(&format!("\\x{byte:02x}")),
        }
    }
    escaped
}

/// Takes [`escape`] back. A path need not be UTF-8, so bytes come out.
pub fn unescape_bytes(text: &str) -> Result<Vec<u8>, NameError> {
    let broken = || NameError::Escape(text.to_owned());
    let mut bytes = text.bytes();
    let mut plain = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        plain.push(match byte {
            b'-' => b'/',
            b'\\' => {
                if bytes.next() != Some(b'x') {
                    return Err(broken());
                }
                let mut digit = || bytes.next().and_then(|c| char::from(c).to_digit(16)).ok_or_else(broken);
                let value = (digit()? << 4) | digit()?;
                match u8::try_from(value) {
                    // No text of the system can hold a NUL.
                    Ok(0) | Err(_) => return Err(broken()),
                    Ok(value) => value,
                }
            }
            other => other,
        });
    }
    Ok(plain)
}

/// Takes [`escape`] back where the result must be text.
pub fn unescape(text: &str) -> Result<String, NameError> {
    String::from_utf8(unescape_bytes(text)?).map_err(|_| NameError::Escape(text.to_owned()))
}

/// Escapes a path: the slashes at its ends go, double slashes and `.` components go, the root becomes `-`.
pub fn escape_path(path: &str) -> Result<String, NameError> {
    let mut parts = Vec::new();
    for part in path.split('/').filter(|part| !part.is_empty() && *part != ".") {
        if part == ".." || part.len() > FILE_NAME_MAX {
            return Err(NameError::Path(path.to_owned()));
        }
        parts.push(part);
    }
    let normal = parts.join("/");
    // A relative path that is nothing but dots has no place to stand for.
    let only_dots = normal.is_empty() && path.starts_with('.');
    if normal.len() >= PATH_MAX - 1 || only_dots || normal.contains('\0') {
        return Err(NameError::Path(path.to_owned()));
    }
    Ok(if normal.is_empty() { "-".to_owned() } else { escape(normal.as_bytes()) })
}

/// Takes [`escape_path`] back; the result starts with a slash. Refuses what does not unescape to a normal path.
pub fn unescape_path_bytes(text: &str) -> Result<Vec<u8>, NameError> {
    if text == "-" {
        return Ok(b"/".to_vec());
    }
    let path = unescape_bytes(text)?;
    let normal = |part: &[u8]| !matches!(part, b"" | b"." | b"..") && part.len() <= FILE_NAME_MAX;
    if text.is_empty() || path.len() >= PATH_MAX - 1 || !path.split(|byte| *byte == b'/').all(normal) {
        return Err(NameError::Path(String::from_utf8_lossy(&path).into_owned()));
    }
    Ok([b"/", path.as_slice()].concat())
}

/// As [`unescape_path_bytes`], where the result must be text.
pub fn unescape_path(text: &str) -> Result<String, NameError> {
    String::from_utf8(unescape_path_bytes(text)?).map_err(|_| NameError::Escape(text.to_owned()))
}

/// SipHash-2-4 of `bytes` under [`HASH_KEY`].
#[allow(deprecated, reason = "the standard library's one hasher that is SipHash-2-4 for good, which the format asks")]
pub(crate) fn siphash24(bytes: &[u8]) -> u64 {
    let half =
        |from: usize| HASH_KEY[from..from + 8].iter().rev().fold(0u64, |value, byte| (value << 8) | u64::from(*byte));
    let mut hasher = std::hash::SipHasher::new_with_keys(half(0), half(8));
    hasher.write(bytes);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> UnitName {
        UnitName::new(text).unwrap()
    }

    #[test]
    fn parts_of_names() {
        let instance = name("foo-bar@a@b.c.service");
        assert_eq!(instance.stem(), "foo-bar@a@b.c");
        assert_eq!(instance.prefix(), "foo-bar");
        assert_eq!(instance.instance(), Some("a@b.c"));
        assert_eq!(instance.template(), Some(name("foo-bar@.service")));
        assert_eq!(instance.dash_prefixes(), ["foo-"]);
        assert!(name("foo-bar@.service").is_template() && !name("foo-bar@.service").is_instance());
        assert!(name("a.service").is_plain() && name("a.service").template().is_none());
        assert_eq!(name("a-b-c.socket").dash_prefixes(), ["a-b-", "a-"]);
        assert_eq!(name("a-b-.socket").dash_prefixes(), ["a-"]);
        assert_eq!(name("-.mount").dash_prefixes(), [""; 0]);
        assert_eq!(name("x@.service").instantiate("1").unwrap(), "x@1.service");
        assert_eq!(name("x@2.service").instantiate("1").unwrap(), "x@1.service");
        assert!(name("x@.service").instantiate("a/b").is_err());
        assert!(name("x@.service").instantiate(&"a".repeat(300)).is_err());
        assert_eq!(name("x@.service").resolve_for(&name("b@1.service")).unwrap(), "x@1.service");
        assert_eq!(name("x@.service").resolve_for(&name("b.service")).unwrap(), "x@b.service");
        assert_eq!(name("x@2.service").with_type(UnitType::Socket).unwrap(), "x@2.socket");
    }

    #[test]
    fn what_is_no_name() {
        for wrong in ["", ".", ".service", "@.service", "@x.service", "a", "a.", "a.b", "a b.service", "ä.service"] {
            assert!(UnitName::new(wrong).is_err(), "{wrong}");
        }
        assert!(UnitName::new(&format!("{}.service", "a".repeat(247))).is_ok());
        assert!(UnitName::new(&format!("{}.service", "a".repeat(248))).is_err());
    }

    #[test]
    fn paths_and_their_names() {
        for (path, unit) in [
            ("/", "-.mount"),
            ("/home", "home.mount"),
            ("//var//lib/./x-y/", "var-lib-x\\x2dy.mount"),
            ("/.dot/.x", "\\x2edot-.x.mount"),
            ("/ä", "\\xc3\\xa4.mount"),
        ] {
            assert_eq!(UnitName::from_path(path, UnitType::Mount).unwrap(), unit);
        }
        assert_eq!(name("var-lib-x\\x2dy.mount").to_path().unwrap(), "/var/lib/x-y");
        assert_eq!(name("-.mount").to_path().unwrap(), "/");
        assert!(UnitName::from_path("/a/../b", UnitType::Mount).is_err());
        assert!(UnitName::from_path("/a\0b", UnitType::Mount).is_err());
        for wrong in ["-a.mount", "a-.mount", "a--b.mount", "a\\x2fb\\.mount", "a-..-b.mount"] {
            assert!(name(wrong).to_path().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_path_too_long_for_a_name_is_hashed() {
        let path = format!("/{}", vec!["waldo"; 64].join("/"));
        let unit = UnitName::from_path(&path, UnitType::Mount).unwrap();
        assert_eq!(unit.as_str().len(), NAME_MAX);
        assert!(unit.is_hashed());
        assert!(matches!(unit.to_path(), Err(NameError::Hashed(_))));
    }

    #[test]
    fn slices_nest_by_dashes() {
        assert_eq!(name("a-b.slice").parent_slice(), Some(name("a.slice")));
        assert_eq!(name("a.slice").parent_slice(), Some(name("-.slice")));
        assert_eq!(name("-.slice").parent_slice(), None);
        assert!(!name("a--b.slice").is_valid_slice() && !name("a@b.slice").is_valid_slice());
    }
}
