// SPDX-License-Identifier: GPL-2.0-or-later
//! The part of a file system that unit files are looked for in.
//!
//! What loads and installs units sees files through [`Files`] only: [`RootFiles`] is the real thing, [`MemoryFiles`] a
//! tree in memory for tests, dry runs and replays. Paths are always absolute and as the unit files themselves see them:
//! below another root, `/etc/…` is that root's `/etc/…`, and so is the target of an absolute link.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Most links followed on the way to one file, as the kernel has it (path_resolution(7)).
const LINKS_MAX: u32 = 40;

/// What a name in a directory stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// A file with content.
    Regular,
    /// A directory.
    Directory,
    /// A symbolic link.
    Link,
    /// A device, socket or FIFO.
    Other,
}

/// One name in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirEntry {
    /// The name.
    pub name: OsString,
    /// What it stands for; links are not followed.
    pub kind: FileKind,
}

/// What is known of a file, links followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileFacts {
    /// What it is.
    pub kind: FileKind,
    /// Length in bytes.
    pub length: u64,
    /// It is /dev/null or a device like it: how units are masked.
    pub is_null_device: bool,
    /// When it was last changed.
    pub modified: SystemTime,
}

impl FileFacts {
    /// Whether a unit file like this masks its unit: nothing in it.
    pub fn is_mask(&self) -> bool {
        self.is_null_device || (self.kind == FileKind::Regular && self.length == 0)
    }
}

/// A tree of files to read from.
pub trait Files {
    /// The names in a directory, in any order, without `.` and `..`.
    fn list(&self, directory: &Path) -> io::Result<Vec<DirEntry>>;

    /// All of a file, links followed.
    fn read(&self, file: &Path) -> io::Result<Vec<u8>>;

    /// The text of a symbolic link; an error when it is none. Its directory must be free of links: see
    /// [`Files::resolve`].
    fn read_link(&self, link: &Path) -> io::Result<PathBuf>;

    /// What a path leads to, links followed.
    fn facts(&self, path: &Path) -> io::Result<FileFacts>;

    /// The path without links, `.` and `..`; its end may be missing (`may_miss`), and then what follows is only
    /// tidied. With `keep_last` a link at the end stays.
    fn resolve(&self, path: &Path, keep_last: bool, may_miss: bool) -> io::Result<PathBuf> {
        let mut resolved = PathBuf::from("/");
        let mut ahead: Vec<OsString> = Vec::new();
        push_components(&mut ahead, path);
        let mut links = 0;
        let mut missing = false;
        while let Some(name) = ahead.pop() {
            if name == ".." {
                resolved.pop();
                continue;
            }
            let next = resolved.join(&name);
            if missing || (keep_last && ahead.is_empty()) {
                resolved = next;
                continue;
            }
            match self.read_link(&next) {
                Ok(target) => {
                    links += 1;
                    if links > LINKS_MAX {
                        return Err(io::Error::from_raw_os_error(rustix::io::Errno::LOOP.raw_os_error()));
                    }
                    if target.is_absolute() {
                        resolved = PathBuf::from("/");
                    }
                    push_components(&mut ahead, &target);
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound && may_miss => {
                    missing = true;
                    resolved = next;
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(error),
                // Not a link, or something below what is no directory: the caller meets that when it opens it.
                Err(_) => resolved = next,
            }
        }
        Ok(resolved)
    }
}

/// Puts the components of `path` on the stack, the first one on top.
fn push_components(stack: &mut Vec<OsString>, path: &Path) {
    let start = stack.len();
    for component in path.components() {
        match component {
            Component::Normal(name) => stack.push(name.to_owned()),
            Component::ParentDir => stack.push("..".into()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    stack[start..].reverse();
}

/// The files of this machine, or of another system below a directory.
///
/// Nothing is cached, and nothing outside of the root is read: links are followed here, not by the kernel, unless the
/// root is `/`.
#[derive(Debug, Clone)]
pub struct RootFiles {
    root: PathBuf,
}

impl RootFiles {
    /// The files of the running system.
    pub fn system() -> RootFiles {
        RootFiles { root: PathBuf::from("/") }
    }

    /// The files of the system below `root`.
    pub fn below(root: impl Into<PathBuf>) -> RootFiles {
        RootFiles { root: root.into() }
    }

    /// Where the system lies.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where `path` is on this machine, its last component not followed.
    fn place(&self, path: &Path) -> PathBuf {
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// Where `path` is on this machine, all links followed within the root.
    fn place_followed(&self, path: &Path) -> io::Result<PathBuf> {
        if self.root == Path::new("/") {
            return Ok(path.to_owned());
        }
        Ok(self.place(&self.resolve(path, false, false)?))
    }
}

impl Files for RootFiles {
    fn list(&self, directory: &Path) -> io::Result<Vec<DirEntry>> {
        let mut entries = Vec::new();
        for entry in std::fs::read_dir(self.place_followed(directory)?)? {
            let entry = entry?;
            entries.push(DirEntry { name: entry.file_name(), kind: kind_of(entry.file_type()?) });
        }
        Ok(entries)
    }

    fn read(&self, file: &Path) -> io::Result<Vec<u8>> {
        std::fs::read(self.place_followed(file)?)
    }

    fn read_link(&self, link: &Path) -> io::Result<PathBuf> {
        // The directory must be free of links, and it is: `resolve` asks for one component after the other.
        std::fs::read_link(self.place(link))
    }

    fn facts(&self, path: &Path) -> io::Result<FileFacts> {
        let metadata = std::fs::metadata(self.place_followed(path)?)?;
        let kind = kind_of(metadata.file_type());
        // Minor 3 of major 1 is /dev/null; an inaccessible node (0, 0) of a container counts too.
        let device = metadata.rdev();
        let is_null_device = metadata.file_type().is_char_device()
            && matches!((rustix::fs::major(device), rustix::fs::minor(device)), (1, 3) | (0, 0));
        let modified = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
        Ok(FileFacts { kind, length: metadata.len(), is_null_device, modified })
    }
}

fn kind_of(kind: std::fs::FileType) -> FileKind {
    if kind.is_file() {
        FileKind::Regular
    } else if kind.is_dir() {
        FileKind::Directory
    } else if kind.is_symlink() {
        FileKind::Link
    } else {
        FileKind::Other
    }
}

/// What a path of [`MemoryFiles`] holds.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Node {
    File(Vec<u8>),
    Link(PathBuf),
    Directory,
    NullDevice,
}

/// A tree in memory. Directories come into being with what is put into them.
#[derive(Debug, Clone, Default)]
pub struct MemoryFiles {
    nodes: BTreeMap<PathBuf, Node>,
}

impl MemoryFiles {
    /// An empty tree with /dev/null.
    pub fn new() -> MemoryFiles {
        let mut files = MemoryFiles::default();
        files.put("/dev/null", Node::NullDevice);
        files
    }

    fn put(&mut self, path: impl AsRef<Path>, node: Node) -> &mut MemoryFiles {
        let path = path.as_ref();
        for parent in path.ancestors().skip(1) {
            self.nodes.entry(parent.to_owned()).or_insert(Node::Directory);
        }
        self.nodes.insert(path.to_owned(), node);
        self
    }

    /// Writes a file.
    pub fn file(&mut self, path: impl AsRef<Path>, content: impl Into<Vec<u8>>) -> &mut MemoryFiles {
        self.put(path, Node::File(content.into()))
    }

    /// Makes a symbolic link.
    pub fn link(&mut self, path: impl AsRef<Path>, target: impl Into<PathBuf>) -> &mut MemoryFiles {
        self.put(path, Node::Link(target.into()))
    }

    /// Makes a directory.
    pub fn directory(&mut self, path: impl AsRef<Path>) -> &mut MemoryFiles {
        self.put(path, Node::Directory)
    }

    /// Removes a path and all that is below it.
    pub fn remove(&mut self, path: impl AsRef<Path>) -> &mut MemoryFiles {
        self.nodes.retain(|found, _| !found.starts_with(path.as_ref()));
        self
    }

    /// Every path that is no directory, in order.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.nodes.iter().filter(|(_, node)| **node != Node::Directory).map(|(path, _)| path.as_path())
    }

    fn node(&self, path: &Path) -> io::Result<&Node> {
        let resolved = self.resolve(path, false, false)?;
        self.nodes.get(&resolved).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }
}

impl Files for MemoryFiles {
    fn list(&self, directory: &Path) -> io::Result<Vec<DirEntry>> {
        let directory = self.resolve(directory, false, false)?;
        match self.nodes.get(&directory) {
            Some(Node::Directory) => {}
            Some(_) => return Err(io::ErrorKind::NotADirectory.into()),
            None => return Err(io::ErrorKind::NotFound.into()),
        }
        // The map is sorted by components, so what is below a directory follows it without a gap.
        let below = self.nodes.range(directory.clone()..).skip(1);
        let below = below.take_while(|(path, _)| path.starts_with(&directory));
        let children = below.filter(|(path, _)| path.parent() == Some(&directory));
        Ok(children
            .filter_map(|(path, node)| {
                let kind = match node {
                    Node::File(_) => FileKind::Regular,
                    Node::Link(_) => FileKind::Link,
                    Node::Directory => FileKind::Directory,
                    Node::NullDevice => FileKind::Other,
                };
                path.file_name().map(|name| DirEntry { name: name.to_owned(), kind })
            })
            .collect())
    }

    fn read(&self, file: &Path) -> io::Result<Vec<u8>> {
        match self.node(file)? {
            Node::File(content) => Ok(content.clone()),
            Node::NullDevice => Ok(Vec::new()),
            Node::Directory => Err(io::ErrorKind::IsADirectory.into()),
            Node::Link(_) => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn read_link(&self, link: &Path) -> io::Result<PathBuf> {
        match self.nodes.get(link) {
            Some(Node::Link(target)) => Ok(target.clone()),
            Some(_) => Err(io::ErrorKind::InvalidInput.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn facts(&self, path: &Path) -> io::Result<FileFacts> {
        let (kind, length) = match self.node(path)? {
            Node::File(content) => (FileKind::Regular, content.len() as u64),
            Node::Directory => (FileKind::Directory, 0),
            Node::NullDevice => (FileKind::Other, 0),
            Node::Link(_) => return Err(io::ErrorKind::NotFound.into()),
        };
        let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(1);
        Ok(FileFacts { kind, length, is_null_device: kind == FileKind::Other, modified })
    }
}

/// Whether a link's text is that of a mask, whatever /dev/null is here.
pub fn is_mask_target(target: &Path) -> bool {
    target.as_os_str().as_bytes() == b"/dev/null"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_stay_inside_the_tree() {
        let mut files = MemoryFiles::new();
        files.file("/usr/lib/x/a", "1").link("/lib", "usr/lib").link("/e/abs", "/lib/x/a").link("/e/up", "../lib/x/a");
        files.link("/e/gone", "/nowhere/./a/../b").link("/e/loop", "loop");
        assert_eq!(files.resolve("/lib/x/a".as_ref(), false, false).unwrap(), Path::new("/usr/lib/x/a"));
        assert_eq!(files.read("/e/abs".as_ref()).unwrap(), b"1");
        assert_eq!(files.read("/e/up".as_ref()).unwrap(), b"1");
        assert_eq!(files.resolve("/e/gone".as_ref(), false, true).unwrap(), Path::new("/nowhere/b"));
        assert!(files.resolve("/e/gone".as_ref(), false, false).is_err());
        assert!(files.resolve("/e/loop".as_ref(), false, true).is_err());
        assert_eq!(files.list("/lib/x".as_ref()).unwrap().len(), 1);
        assert!(files.facts("/dev/null".as_ref()).unwrap().is_mask());
    }

    #[test]
    fn a_real_tree_below_a_directory_behaves_alike() {
        let root = std::env::temp_dir().join(format!("ssi-unit-files-{}", std::process::id()));
        std::fs::create_dir_all(root.join("usr/lib/x")).unwrap();
        std::fs::write(root.join("usr/lib/x/a"), "1").unwrap();
        std::os::unix::fs::symlink("/usr/lib", root.join("lib")).unwrap();
        std::os::unix::fs::symlink("/lib/x/a", root.join("b")).unwrap();
        let files = RootFiles::below(&root);
        assert_eq!(files.read("/b".as_ref()).unwrap(), b"1");
        assert_eq!(files.list("/lib/x".as_ref()).unwrap()[0].name, "a");
        assert_eq!(files.facts("/lib/x/a".as_ref()).unwrap().length, 1);
        assert!(files.read("/lib/x/none".as_ref()).is_err());
        std::fs::remove_dir_all(root).unwrap();
    }
}
