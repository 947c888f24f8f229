// SPDX-License-Identifier: GPL-2.0-or-later
//! Single fields of `cluster.toml`: a key is known, is there, and has a value of the right type; if not, the mistake is
//! noted at its place and the field is read as if it were not there.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ops::{Range, RangeInclusive};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::mistake::{Notebook, nearest};

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) span: Range<usize>,
}

/// The known keys that misspelt ones stand for.
pub(super) type Meant = BTreeSet<&'static str>;

/// What the section of a node is called.
pub(super) const NODE: &str = "[[node]]";

/// The text, and what was found wrong in it so far.
pub(super) struct Reader<'t> {
    pub(super) notebook: Notebook<'t>,
    pub(super) text: &'t str,
}

/// A table of the file: what to call it, where its header is, what is in it.
pub(super) struct Section<'d, 'i> {
    pub(super) title: &'static str,
    pub(super) header: Range<usize>,
    pub(super) table: &'d DeTable<'i>,
}

impl<'d, 'i> Section<'d, 'i> {
    pub(super) fn get(&self, key: &str) -> Option<&'d Spanned<DeValue<'i>>> {
        self.table.get(key)
    }
}

impl Reader<'_> {
    /// Notes each key of a section that is not among the `known` ones. Gives the known ones that were most likely meant:
    /// that they are missing need not be told as well.
    pub(super) fn unknown_keys<'k>(&mut self, section: &Section<'_, '_>, known: &[&'k str]) -> BTreeSet<&'k str> {
        let mut meant = BTreeSet::new();
        for (key, _) in section.table {
            let name: &str = key.get_ref();
            if known.contains(&name) {
                continue;
            }
            let right = match nearest(name, known) {
                Some(near) => {
                    meant.insert(near);
                    format!("did you mean {near}?")
                }
                None => format!("the keys here are {}", known.join(", ")),
            };
            self.notebook.wrong(key.span(), format!("{} has no key of this name", section.title), right);
        }
        meant
    }

    /// The table at `key`, which is there.
    pub(super) fn table<'d, 'i>(
        &mut self,
        section: &Section<'d, 'i>,
        key: &str,
        title: &'static str,
    ) -> Option<Section<'d, 'i>> {
        let value = section.get(key)?;
        match value.get_ref() {
            DeValue::Table(table) => Some(Section { title, header: value.span(), table }),
            DeValue::Array(items) if self.text.get(value.span()).is_some_and(|t| t.starts_with("[[")) => {
                let second = items.get(1).map_or(value.span(), Spanned::span);
                self.notebook.wrong(
                    second,
                    format!("there is only one {key}"),
                    format!("write [{key}], with single brackets, once"),
                );
                None
            }
            other => {
                let what = format!("{key} must be a table, this is {}", kind(other));
                self.notebook.wrong(
                    value.span(),
                    what,
                    format!("write {key} = {{ .. }}, or [{key}] on a line of its own"),
                );
                None
            }
        }
    }

    /// The string at `key`; a missing key is noted.
    pub(super) fn required_string<'i>(
        &mut self,
        section: &Section<'_, 'i>,
        key: &str,
        meant: &Meant,
        add: &str,
    ) -> Option<At<Cow<'i, str>>> {
        if section.get(key).is_none() && !meant.contains(key) {
            let subject = if section.title == NODE { "this node" } else { section.title };
            self.notebook.wrong(section.header.clone(), format!("{subject} has no {key}"), add);
        }
        self.string(section, key)
    }

    /// The string at `key`, if it is there and is one.
    pub(super) fn string<'i>(&mut self, section: &Section<'_, 'i>, key: &str) -> Option<At<Cow<'i, str>>> {
        self.as_string(section.get(key)?, key)
    }

    pub(super) fn as_string<'i>(&mut self, value: &Spanned<DeValue<'i>>, key: &str) -> Option<At<Cow<'i, str>>> {
        if let DeValue::String(text) = value.get_ref() {
            return Some(At { value: text.clone(), span: value.span() });
        }
        let written = self.text.get(value.span()).unwrap_or_default();
        let right = match value.get_ref() {
            DeValue::Array(_) | DeValue::Table(_) => "give one value in quotes".to_owned(),
            _ => format!("put it in quotes: \"{written}\""),
        };
        self.notebook.wrong(value.span(), format!("{key} must be a string, this is {}", kind(value.get_ref())), right);
        None
    }

    /// The strings at `key`, which may hold one or a list; `None` stands for what is not a string.
    pub(super) fn strings<'i>(&mut self, section: &Section<'_, 'i>, key: &str) -> Vec<At<Option<Cow<'i, str>>>> {
        let Some(value) = section.get(key) else { return Vec::new() };
        let (items, called) = match value.get_ref() {
            DeValue::Array(items) => (&items[..], format!("each of {key}")),
            _ => (std::slice::from_ref(value), key.to_owned()),
        };
        let read = items.iter().map(|item| {
            let text = self.as_string(item, &called);
            At { value: text.map(|t| t.value), span: item.span() }
        });
        read.collect()
    }

    /// The number at `key`, if it is there and in the range.
    pub(super) fn number(
        &mut self,
        section: &Section<'_, '_>,
        key: &str,
        range: RangeInclusive<u32>,
        unit: &str,
    ) -> Option<u32> {
        let value = section.get(key)?;
        let wanted = format!("{unit} from {} to {}", range.start(), range.end());
        let number = self.whole_number(value, key, &wanted)?;
        match u32::try_from(number) {
            Ok(number) if range.contains(&number) => Some(number),
            _ => {
                self.notebook.wrong(value.span(), format!("{key} is out of range"), format!("give {wanted}"));
                None
            }
        }
    }

    /// A whole number, however large: one that no integer type holds becomes the largest.
    pub(super) fn whole_number(&mut self, value: &Spanned<DeValue<'_>>, called: &str, wanted: &str) -> Option<i64> {
        match value.get_ref() {
            DeValue::Integer(number) => {
                let edge = if number.as_str().starts_with('-') { i64::MIN } else { i64::MAX };
                Some(i64::from_str_radix(number.as_str(), number.radix()).unwrap_or(edge))
            }
            DeValue::String(text) if text.parse::<i64>().is_ok() => {
                let what = format!("{called} must be a whole number, this is a string");
                self.notebook.wrong(value.span(), what, format!("leave out the quotes: {text}"));
                None
            }
            other => {
                let what = format!("{called} must be a whole number, this is {}", kind(other));
                self.notebook.wrong(value.span(), what, format!("give {wanted}"));
                None
            }
        }
    }

    /// The value with its place, or its mistake noted there.
    pub(super) fn checked<T>(
        &mut self,
        text: &At<impl AsRef<str>>,
        value: Result<T, (impl Into<String>, impl Into<String>)>,
    ) -> Option<At<T>> {
        match value {
            Ok(value) => Some(At { value, span: text.span.clone() }),
            Err((what, right)) => {
                self.notebook.wrong_value(text.span.clone(), text.value.as_ref(), what, right);
                None
            }
        }
    }
}

/// What a value is, for messages.
pub(super) fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
