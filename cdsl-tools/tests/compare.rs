// SPDX-License-Identifier: GPL-2.0-or-later
//! The comparison of inventory and tree, on trees in memory: one pass through sorted streams finds just what looking up
//! each path would.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::ffi::OsStr;

use proptest::prelude::*;

use cdsl_tools::check::compare::{Detail, Item, Looks, Side, Walk, What, compare, usual_attributes};
use cdsl_tools::check::finding::Whose;
use cdsl_tools::inventory::{Entry, Kind, Mode};
use cdsl_tools::layout::{self, Variable};
use cdsl_tools::path::TreePath;

/// A tree in memory.
struct Kept {
    items: Vec<(Item, Looks)>,
    at: usize,
}

fn looks() -> Looks {
    Looks { uid: 0, gid: 0, perm: 0o644, attributes: BTreeMap::new() }
}

impl Kept {
    /// The directories on the way are there too.
    fn new(things: &BTreeMap<TreePath, What>) -> Self {
        let mut all = BTreeMap::new();
        for (path, what) in things {
            let above = std::iter::successors(path.parent(), TreePath::parent).filter(|path| !path.is_root());
            all.extend(above.map(|path| (path, What::Thing(Some(Kind::Directory)))));
            all.insert(path.clone(), what.clone());
        }
        let items = all.into_iter().map(|(path, what)| (Item { path, what }, looks())).collect();
        Self { items, at: 0 }
    }
}

impl Walk for Kept {
    type Error = Infallible;

    fn peek(&mut self) -> Result<Option<&Item>, Infallible> {
        Ok(self.items.get(self.at).map(|(item, _)| item))
    }

    fn skip(&mut self) {
        if let Some((item, _)) = self.items.get(self.at) {
            let below = self.items[self.at..].iter().take_while(|(other, _)| other.path.starts_with(&item.path));
            self.at += below.count();
        }
    }

    fn enter(&mut self) -> Result<(), Infallible> {
        self.at += 1;
        Ok(())
    }

    fn looks(&mut self) -> Result<Option<Looks>, Infallible> {
        Ok(self.items.get(self.at).map(|(_, looks)| looks.clone()))
    }
}

fn entry(path: &TreePath, mode: Mode, kept: bool) -> Entry {
    let made = jiff::Timestamp::UNIX_EPOCH;
    let (path, var, kind) = (path.clone(), Variable::nodenum(), Kind::File);
    Entry { path, var, mode, kind, uid: 0, gid: 0, perm: 0o644, made, origin: "command".to_owned(), kept }
}

/// What is found, as `word path whose`.
fn found(entries: &BTreeMap<TreePath, Entry>, tree: Kept, sides: Vec<(Whose, Kept)>) -> BTreeSet<String> {
    let entries = entries.values().cloned().map(Ok);
    let sides = sides.into_iter().map(|(whose, walk)| Side::new(whose, walk, true)).collect();
    let mut all = BTreeSet::new();
    let ended = compare(entries, tree, sides, Detail::default(), &mut |finding| {
        let whose = finding.whose().map(ToString::to_string).unwrap_or_default();
        assert!(all.insert(format!("{} {} {whose}", finding.word(), finding.path())), "{finding} was told twice");
    });
    assert!(ended.is_ok());
    all
}

const FILE: What = What::Thing(Some(Kind::File));

/// Paths of one and two parts, none inside another's file.
fn paths() -> impl Strategy<Value = TreePath> {
    ("[a-c]", proptest::option::of("[a-c!-]{1,2}")).prop_map(|(first, second)| {
        // A directory's name is never a file's here.
        let first = if second.is_some() { format!("{first}-") } else { first };
        let path = TreePath::root().join(OsStr::new(&first));
        second.map_or(path.clone(), |second| path.join(OsStr::new(&second)))
    })
}

#[derive(Clone, Debug)]
enum At {
    Nothing,
    Ours,
    Other,
    File,
}

/// The inventory (mode, kept), the tree, and the copies of each side.
type Case = (BTreeMap<TreePath, (u8, bool)>, BTreeMap<TreePath, At>, Vec<BTreeSet<TreePath>>);

fn case() -> impl Strategy<Value = Case> {
    let at = prop_oneof![Just(At::Nothing), Just(At::Ours), Just(At::Other), Just(At::File)];
    (
        proptest::collection::btree_map(paths(), (0u8..3, proptest::bool::weighted(0.2)), 0..6),
        proptest::collection::btree_map(paths(), at, 0..6),
        proptest::collection::vec(proptest::collection::btree_set(paths(), 0..6), 3),
    )
}

proptest! {
    /// One pass through streams finds what looking up each path finds.
    #[test]
    fn it_finds_what_looking_everything_up_finds((inventory, tree, copies) in case()) {
        let node = |value: &str| Whose::Value(Variable::nodenum(), value.to_owned());
        let whose = [node("1"), node("2"), Whose::Template];
        let mode = |mode: u8| match mode { 0 => Mode::Each, 1 => Mode::Only("2".to_owned()), _ => Mode::Default };
        let entries: BTreeMap<TreePath, Entry> =
            inventory.iter().map(|(path, (m, kept))| (path.clone(), entry(path, mode(*m), *kept))).collect();
        let what = |path: &TreePath, at: &At| match at {
            At::Nothing => None,
            At::Ours => Some(What::Link(layout::link_text(&Variable::nodenum(), path))),
            At::Other => Some(What::Link(b"elsewhere".to_vec())),
            At::File => Some(FILE),
        };
        let things: BTreeMap<TreePath, What> =
            tree.iter().filter_map(|(path, at)| Some((path.clone(), what(path, at)?))).collect();
        let sides = whose.iter().zip(&copies).map(|(whose, copies)| {
            (whose.clone(), Kept::new(&copies.iter().map(|path| (path.clone(), FILE)).collect()))
        });

        let mut expected = BTreeSet::new();
        let mut expect = |word: &str, path: &TreePath, whose: String| {
            let _ = expected.insert(format!("{word} {path} {whose}"));
        };
        let none = String::new;
        for (path, entry) in &entries {
            match (things.get(path), entry.kept) {
                (None, false) => expect("link-missing", path, none()),
                (Some(What::Thing(_)), false) => expect("link-replaced", path, none()),
                (Some(What::Link(text)), false) if *text == b"elsewhere" => expect("link-elsewhere", path, none()),
                (Some(What::Link(text)), true) if *text != b"elsewhere" => expect("link-unknown", path, none()),
                _ => {}
            }
        }
        for (path, what) in &things {
            if matches!(what, What::Link(text) if *text != b"elsewhere") && !entries.contains_key(path) {
                expect("link-unknown", path, none());
            }
        }
        for (whose, copies) in whose.iter().zip(&copies) {
            for (path, entry) in entries.iter().filter(|(path, entry)| !entry.kept && !copies.contains(path)) {
                let needed = match (&entry.mode, whose) {
                    (Mode::Only(_), whose) => *whose == node("2"),
                    _ => true,
                };
                if needed {
                    expect("copy-missing", path, whose.to_string());
                }
            }
            for path in copies {
                let belongs = entries.get(path).is_some_and(|entry| {
                    entry.kept || !matches!(entry.mode, Mode::Only(_)) || *whose == node("2")
                });
                // A directory that leads to no entry is told as a whole.
                let top = std::iter::successors(Some(path.clone()), TreePath::parent)
                    .filter(|above| !above.is_root() && !entries.keys().any(|entry| entry.starts_with(above)))
                    .last();
                match top {
                    Some(top) => expect("orphan", &whose.copy_of(&top), none()),
                    None if !belongs => expect("orphan", &whose.copy_of(path), none()),
                    None => {}
                }
            }
        }
        prop_assert_eq!(found(&entries, Kept::new(&things), sides.collect()), expected);
    }
}

#[test]
fn what_most_copies_have_is_right_and_the_template_where_none_do() {
    let with = |value: &[u8]| Looks { attributes: [("user.x".to_owned(), value.to_vec())].into(), ..looks() };
    let node = |value: &str| Whose::Value(Variable::nodenum(), value.to_owned());
    let usual = |seen: &[(Whose, Looks)]| usual_attributes(seen).and_then(|found| found.get("user.x").cloned());
    let template = (Whose::Template, with(b"t"));
    assert_eq!(usual(&[]), None);
    assert_eq!(usual(&[(node("1"), with(b"a")), template.clone()]), Some(b"t".to_vec()));
    assert_eq!(usual(&[(node("1"), with(b"a")), (node("2"), with(b"a")), template]), Some(b"a".to_vec()));
}
