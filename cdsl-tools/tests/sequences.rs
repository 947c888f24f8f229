// SPDX-License-Identifier: GPL-2.0-or-later
//! Random trees, random commands in random order, beside a model that is a map from path and node to content.

mod support;

use std::collections::BTreeMap;

use proptest::prelude::*;
use support::Tree;

/// Names that have trouble in them, and must not make any.
const NAMES: [&str; 8] =
    ["plain", "with blank", "line\nend", "{nodenum", "{x}", "quote\"'$(", "-rf", "\u{e4}\u{1f600}"];

#[derive(Clone, Debug)]
enum Act {
    Create(usize, bool),
    Own(usize, u32),
    Remove(usize, u32, bool),
    AddNode,
    Write(usize, u32, u8),
    Revert,
}

fn act() -> impl Strategy<Value = Act> {
    let file = 0..NAMES.len();
    prop_oneof![
        4 => (file.clone(), any::<bool>()).prop_map(|(f, each)| Act::Create(f, each)),
        2 => (file.clone(), 1u32..4).prop_map(|(f, n)| Act::Own(f, n)),
        2 => (file.clone(), 1u32..4, any::<bool>()).prop_map(|(f, n, p)| Act::Remove(f, n, p)),
        1 => Just(Act::AddNode),
        4 => (file, 1u32..5, any::<u8>()).prop_map(|(f, n, text)| Act::Write(f, n, text)),
        1 => Just(Act::Revert),
    ]
}

/// What each node reads at a file's path.
#[derive(Clone, Debug)]
enum File {
    Plain(String),
    /// Content by node; those that are not in it share the template's. `each`: nobody shares, the template is for new
    /// nodes.
    Cdsl {
        each: bool,
        own: BTreeMap<u32, String>,
        template: String,
    },
}

struct Model {
    nodes: u32,
    files: Vec<File>,
    /// Files with copies that were kept when they were made plain.
    kept: Vec<bool>,
}

impl Model {
    fn read(&self, file: usize, node: u32) -> String {
        match &self.files[file] {
            File::Plain(text) => text.clone(),
            File::Cdsl { own, template, .. } => own.get(&node).unwrap_or(template).clone(),
        }
    }
}

fn path(file: usize) -> String {
    format!("/srv/{}", NAMES[file])
}

fn run(acts: &[Act]) {
    let tree = Tree::new(3);
    let mut model = Model { nodes: 3, files: Vec::new(), kept: vec![false; NAMES.len()] };
    for file in 0..NAMES.len() {
        tree.write(&path(file), &format!("content {file}"));
        model.files.push(File::Plain(format!("content {file}")));
    }
    for act in acts {
        match act {
            Act::Create(file, each) => {
                let words = if *each { vec!["create"] } else { vec!["create", "--default"] };
                let at = path(*file);
                let plain = matches!(model.files[*file], File::Plain(_));
                if plain && model.kept[*file] {
                    // What was kept of the nodes' own is in the way, and nothing is changed.
                    tree.fails(&[&words[..], &[&at]].concat(), 4);
                    continue;
                }
                tree.done(&[&words[..], &[&at]].concat());
                if let File::Plain(text) = model.files[*file].clone() {
                    let own =
                        if *each { (1..=model.nodes).map(|n| (n, text.clone())).collect() } else { BTreeMap::new() };
                    model.files[*file] = File::Cdsl { each: *each, own, template: text };
                }
            }
            Act::Own(file, node) => {
                let node_text = node.to_string();
                let words = ["own", "--node", &node_text, &path(*file)].map(str::to_owned);
                let words: Vec<&str> = words.iter().map(String::as_str).collect();
                match &mut model.files[*file] {
                    File::Plain(_) if !model.kept[*file] => drop(tree.fails(&words, 4)),
                    File::Plain(_) => {}
                    File::Cdsl { own, template, .. } => {
                        tree.done(&words);
                        own.entry(*node).or_insert_with(|| template.clone());
                    }
                }
            }
            Act::Remove(file, node, purge) => {
                let (at, node_text) = (path(*file), node.to_string());
                let mut words = vec!["remove", "--from", &node_text, &at];
                if *purge {
                    words.push("--purge");
                }
                match model.files[*file].clone() {
                    File::Plain(_) if model.kept[*file] && *purge => {
                        tree.done(&words);
                        model.kept[*file] = false;
                    }
                    File::Plain(_) => drop(tree.fails(&words, 4)),
                    File::Cdsl { each, own, .. } => {
                        tree.done(&words);
                        let text = model.read(*file, *node);
                        let others = own.keys().filter(|n| *n != node).count() > 0 || each || own.contains_key(node);
                        model.kept[*file] = !purge && others;
                        model.files[*file] = File::Plain(text);
                    }
                }
            }
            Act::AddNode => {
                if model.nodes < 5 {
                    model.nodes += 1;
                    tree.configure(model.nodes);
                    let number = model.nodes.to_string();
                    tree.done(&["node", "add", &number]);
                    for file in &mut model.files {
                        if let File::Cdsl { each: true, own, template } = file {
                            own.insert(model.nodes, template.clone());
                        }
                    }
                }
            }
            Act::Write(file, node, text) => {
                let node = (*node).min(model.nodes);
                let text = format!("written {text}");
                let at = match &mut model.files[*file] {
                    File::Plain(old) => {
                        old.clone_from(&text);
                        path(*file)
                    }
                    File::Cdsl { own, template, .. } => match own.get_mut(&node) {
                        Some(old) => {
                            old.clone_from(&text);
                            format!("/cluster/node{node}{}", path(*file))
                        }
                        None => {
                            template.clone_from(&text);
                            format!("/cluster/template{}", path(*file))
                        }
                    },
                };
                std::fs::write(tree.at(&at), text).unwrap();
            }
            Act::Revert => {
                tree.done(&["revert", "--all"]);
                for file in 0..NAMES.len() {
                    if let File::Cdsl { each, own, .. } = model.files[file].clone() {
                        let text = model.read(file, 1);
                        model.kept[file] = each || !own.is_empty();
                        model.files[file] = File::Plain(text);
                    }
                }
            }
        }
        for file in 0..NAMES.len() {
            let link = std::fs::symlink_metadata(tree.at(&path(file))).unwrap().is_symlink();
            assert_eq!(link, matches!(model.files[file], File::Cdsl { .. }), "{act:?}: {}", path(file));
            for node in 1..=model.nodes {
                let read = tree.read(node, &path(file));
                assert_eq!(
                    read.as_deref(),
                    Some(model.read(file, node).as_str()),
                    "{act:?}: node {node}, {}",
                    path(file)
                );
            }
        }
        assert_eq!(tree.litter(), Vec::<std::path::PathBuf>::new(), "{act:?}");
    }
    // Back to a tree without any, with nothing lost on the way.
    tree.done(&["revert", "--all"]);
    for file in 0..NAMES.len() {
        assert_eq!(std::fs::read_to_string(tree.at(&path(file))).unwrap(), model.read(file, 1));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn the_tree_is_what_the_model_says(acts in proptest::collection::vec(act(), 1..14)) {
        run(&acts);
    }
}
