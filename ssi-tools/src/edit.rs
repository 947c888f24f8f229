// SPDX-License-Identifier: GPL-2.0-or-later
//! Changing the text of `cluster.toml` without disturbing what people wrote in it: comments, order and spacing stay.
//!
//! Pure: text in, text out. Whether the result is a good configuration is for `Config::parse` to say.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ssi_cluster::NodeId;
use toml_edit::{Array, ArrayOfTables, DocumentMut, InlineTable, Item, Table, Value, value};

/// A node to be written into the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewNode {
    /// Its number.
    pub id: NodeId,
    /// Its name.
    pub name: String,
    /// Its addresses, a link each.
    pub addresses: Vec<IpAddr>,
    /// The MAC address of one of its interfaces.
    pub mac: Option<String>,
    /// Its machine id.
    pub machine_id: Option<String>,
    /// Context variables of the site's own.
    pub context: BTreeMap<String, String>,
}

/// Why the text cannot be changed.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    /// It is no TOML.
    #[error("it is not TOML: {0}")]
    NotToml(#[from] toml_edit::TomlError),
    /// `node` is there, but is no list of nodes.
    #[error("'node' in it is not a list of nodes; write each node as a [[node]] section")]
    NoNodeList,
    /// The node to be taken out is not in it.
    #[error("it has no [[node]] with id = {0}")]
    NoSuchNode(NodeId),
}

/// The lowest number that is not among those ever used.
pub fn free_number(used: &BTreeSet<NodeId>) -> Option<NodeId> {
    (1..=NodeId::MAX).filter_map(NodeId::new).find(|id| !used.contains(id))
}

/// The text with a `[[node]]` section more, after the others.
///
/// # Errors
/// [`EditError`] when the text cannot be understood.
pub fn add_node(text: &str, node: &NewNode) -> Result<String, EditError> {
    let mut document: DocumentMut = text.parse()?;
    match document.entry("node").or_insert_with(|| Item::ArrayOfTables(ArrayOfTables::new())) {
        Item::ArrayOfTables(tables) => {
            let mut table = Table::new();
            table.decor_mut().set_prefix(if text.is_empty() { "" } else { "\n" });
            for (key, content) in fields(node) {
                table.insert(key, value(content));
            }
            tables.push(table);
        }
        Item::Value(Value::Array(array)) => {
            array.push(Value::InlineTable(fields(node).into_iter().collect::<InlineTable>()));
        }
        _ => return Err(EditError::NoNodeList),
    }
    Ok(document.to_string())
}

fn fields(node: &NewNode) -> Vec<(&'static str, Value)> {
    let mut fields = vec![("id", Value::from(i64::from(node.id.get()))), ("name", Value::from(node.name.as_str()))];
    match node.addresses.as_slice() {
        [one] => fields.push(("address", Value::from(one.to_string()))),
        several => fields.push(("addresses", several.iter().map(IpAddr::to_string).collect::<Array>().into())),
    }
    fields.extend(node.mac.as_deref().map(|mac| ("mac", mac.into())));
    fields.extend(node.machine_id.as_deref().map(|id| ("machine_id", id.into())));
    if !node.context.is_empty() {
        let context: InlineTable =
            node.context.iter().map(|(key, content)| (key.as_str(), Value::from(content.as_str()))).collect();
        fields.push(("context", context.into()));
    }
    fields
}

/// The text without a node. A comment right above its section goes with it; one that an empty line sets apart stays.
///
/// # Errors
/// [`EditError`] when the text cannot be understood or the node is not in it.
pub fn remove_node(text: &str, id: NodeId) -> Result<String, EditError> {
    let mut document: DocumentMut = text.parse()?;
    let is_it = |item: Option<&Item>| item.and_then(Item::as_integer) == Some(i64::from(id.get()));
    let missing = || EditError::NoSuchNode(id);
    match document.get_mut("node") {
        Some(Item::ArrayOfTables(tables)) => {
            let at = tables.iter().position(|t| is_it(t.get("id"))).ok_or_else(missing)?;
            let removed = tables.get(at).map(|t| (t.position(), prefix_of(t)));
            tables.remove(at);
            if tables.is_empty() {
                document.remove("node");
            }
            if let Some((position, prefix)) = removed {
                put_before_next(&mut document, position, apart(&prefix));
            }
        }
        Some(Item::Value(Value::Array(array))) => {
            let of_value = |v: &Value| v.as_inline_table().and_then(|t| t.get("id")).and_then(Value::as_integer);
            let at = array.iter().position(|v| of_value(v) == Some(i64::from(id.get()))).ok_or_else(missing)?;
            array.remove(at);
        }
        Some(_) => return Err(EditError::NoNodeList),
        None => return Err(missing()),
    }
    Ok(document.to_string())
}

/// What stands above a section.
fn prefix_of(table: &Table) -> String {
    table.decor().prefix().and_then(|p| p.as_str()).unwrap_or_default().to_owned()
}

/// The part of what stands above a section that an empty line sets apart from it; empty if no comment is in it.
fn apart(prefix: &str) -> &str {
    let mut end = 0;
    let mut at = 0;
    for line in prefix.split_inclusive('\n') {
        at += line.len();
        if line.trim().is_empty() {
            end = at;
        }
    }
    let kept = &prefix[..end];
    if kept.contains('#') { kept.trim_end_matches([' ', '\t', '\n', '\r']) } else { "" }
}

/// Puts a comment above the section that follows a place, or at the end.
fn put_before_next(document: &mut DocumentMut, position: Option<isize>, comment: &str) {
    if comment.is_empty() {
        return;
    }
    let mut later: Vec<&mut Table> = Vec::new();
    for (_, item) in document.iter_mut() {
        match item {
            Item::Table(table) => later.push(table),
            Item::ArrayOfTables(tables) => later.extend(tables.iter_mut()),
            _ => {}
        }
    }
    let next = later.into_iter().filter(|t| t.position() > position).min_by_key(|t| t.position());
    match next {
        Some(table) => {
            let prefix = format!("{comment}\n{}", prefix_of(table));
            table.decor_mut().set_prefix(prefix);
        }
        None => {
            let trailing = format!("{comment}\n{}", document.trailing().as_str().unwrap_or_default());
            document.set_trailing(trailing);
        }
    }
}

/// What the first node's file is made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewCluster {
    /// The cluster's name.
    pub name: String,
    /// The engine's name.
    pub engine: &'static str,
    /// Its first node.
    pub first: NewNode,
}

/// The text of a new cluster's file, with comments that explain it.
pub fn new_file(cluster: &NewCluster) -> String {
    let quote = |text: &str| Value::from(text).to_string();
    let mut text = format!(
        "\
# The cluster that this machine is a node of. The same file is on every node; see cluster.toml(5).
# 'ssi node add' and 'ssi node remove' change it on all nodes at once and keep these comments.

name = {name}

[membership]
# Who tells which machines are there: \"corosync\" over the network, or \"solo\" for one machine alone.
engine = {engine}

# The nodes. A number is given once and never to another machine. A machine finds its own section by its
# machine id, product UUID or MAC address, or by ssi.node=N on its kernel's command line.
",
        name = quote(&cluster.name),
        engine = quote(cluster.engine),
    );
    text.push_str("\n[[node]]\n");
    for (key, content) in fields(&cluster.first) {
        text.push_str(&format!("{key} = {}\n", content.to_string().trim()));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use ssi_cluster::config::Config;
    use std::path::Path;

    const FILE: &str = r#"# Our cluster.
name = "alpha"   # short

[membership]
engine = "corosync"
token_ms = 1500  # the switch is slow

# Nodes of room 1.

# the old one
[[node]]
id = 1
name = "node1"
address = "192.0.2.11"  # rack 3
context = { role = "db" }

[[node]]
name = "node2"
id = 2
addresses = ["192.0.2.12"]
mac = "52:54:00:00:00:02"

[node.context]
role = "db" # still

# The end.
"#;

    fn id(n: u32) -> NodeId {
        NodeId::new(n).unwrap()
    }

    fn node(n: u32) -> NewNode {
        NewNode {
            id: id(n),
            name: format!("node{n}"),
            addresses: vec!["192.0.2.77".parse().unwrap()],
            mac: Some("52:54:00:00:00:77".into()),
            machine_id: None,
            context: [("role".to_owned(), "web".to_owned())].into(),
        }
    }

    fn parsed(text: &str) -> Config {
        Config::parse(Path::new("cluster.toml"), text.as_bytes()).unwrap_or_else(|e| panic!("{e}\n{text}"))
    }

    #[test]
    fn the_lowest_free_number_is_taken() {
        assert_eq!(free_number(&[id(1), id(2), id(4)].into()), Some(id(3)));
        assert_eq!(free_number(&(1..=NodeId::MAX).filter_map(NodeId::new).collect()), None);
    }

    #[test]
    fn adding_changes_no_line_that_was_there() {
        let text = add_node(FILE, &node(3)).unwrap();
        let added = r#"
[[node]]
id = 3
name = "node3"
address = "192.0.2.77"
mac = "52:54:00:00:00:77"
context = { role = "web" }
"#;
        assert_eq!(text, FILE.replace("\n# The end.\n", &format!("{added}\n# The end.\n")));
        assert!(parsed(&text).nodes.contains_key(&id(3)));
    }

    #[test]
    fn removing_keeps_what_belongs_to_others() {
        let text = remove_node(FILE, id(1)).unwrap();
        assert!(text.contains("# Nodes of room 1.\n\n[[node]]\nname = \"node2\""), "{text}");
        assert!(!text.contains("the old one") && !text.contains("rack 3"), "{text}");
        assert!(text.contains("token_ms = 1500  # the switch is slow") && text.ends_with("\n# The end.\n"), "{text}");
        let text = remove_node(FILE, id(2)).unwrap();
        assert_eq!(text, FILE.split("\n[[node]]\nname").next().unwrap().to_owned() + "\n# The end.\n");
        assert!(matches!(remove_node(FILE, id(9)), Err(EditError::NoSuchNode(_))));
    }

    #[test]
    fn inline_nodes_are_edited_too() {
        let text = "name = \"a\"\nnode = [{ id = 1, name = \"n1\", address = \"192.0.2.1\" }]\n";
        let more = add_node(text, &node(2)).unwrap();
        assert!(more.contains("id = 2, name = \"node2\""), "{more}");
        assert_eq!(remove_node(&more, id(2)).unwrap(), text);
        assert!(matches!(add_node("node = 3", &node(2)), Err(EditError::NoNodeList)));
    }

    #[test]
    fn a_new_file_is_a_configuration() {
        for engine in ["corosync", "solo"] {
            let text = new_file(&NewCluster { name: "alpha".into(), engine, first: node(1) });
            let config = parsed(&text);
            assert_eq!(config.name, "alpha");
            assert_eq!(config.nodes[&id(1)].name, "node1");
        }
    }

    proptest! {
        #[test]
        fn what_is_added_is_read_back_and_removing_it_undoes_it(
            n in 3u32..=NodeId::MAX,
            name in "[a-z][a-z0-9-]{0,12}[a-z0-9]",
            host in 100u8..250,
            second in any::<bool>(),
            role in ".{0,20}".prop_filter("the file has rules for it", |r| !r.contains(['{', '}', '/']) && !r.chars().any(char::is_control) && !matches!(r.as_str(), "" | "." | "..")),
        ) {
            let mut addresses: Vec<IpAddr> = vec![IpAddr::from([192, 0, 2, host])];
            let mut base = FILE.to_owned();
            // Every node has as many links as the others.
            if second {
                addresses.push(IpAddr::from([198, 51, 100, host]));
                base = base
                    .replace(r#"address = "192.0.2.11""#, r#"addresses = ["192.0.2.11", "198.51.100.11"]"#)
                    .replace(r#"addresses = ["192.0.2.12"]"#, r#"addresses = ["192.0.2.12", "198.51.100.12"]"#);
            }
            let context: BTreeMap<String, String> = [("role".to_owned(), role)].into();
            let new = NewNode { id: id(n), name: name.clone(), addresses: addresses.clone(), mac: None, machine_id: None, context: context.clone() };
            let text = add_node(&base, &new).unwrap();
            let config = parsed(&text);
            let read = &config.nodes[&id(n)];
            prop_assert_eq!(&read.name, &name);
            prop_assert_eq!(&read.addresses, &addresses);
            prop_assert_eq!(&read.context, &context);
            prop_assert_eq!(remove_node(&text, id(n)).unwrap(), base);
        }

        #[test]
        fn no_text_makes_it_fall_over(text in ".{0,200}") {
            let _ = add_node(&text, &node(3));
            let _ = remove_node(&text, id(3));
        }
    }
}
