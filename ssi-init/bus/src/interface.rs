// SPDX-License-Identifier: GPL-2.0-or-later
//! What an interface has, as tables: calls are checked against them, and introspection is written from them.

/// Who may call a method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Whoever reaches the manager.
    Everybody,
    /// It changes something: root.
    Change,
    /// It ends the machine, and nobody can ever be allowed to but root.
    Privileged,
}

/// Name and signature of an argument.
pub(crate) type Argument = (&'static str, &'static str);

/// A method.
#[derive(Debug)]
pub(crate) struct Method {
    pub(crate) name: &'static str,
    pub(crate) takes: &'static [Argument],
    pub(crate) gives: &'static [Argument],
    pub(crate) access: Access,
    /// There is no answer.
    pub(crate) silent: bool,
}

impl Method {
    pub(crate) const fn everybody(name: &'static str, takes: &'static [Argument], gives: &'static [Argument]) -> Self {
        Self { name, takes, gives, access: Access::Everybody, silent: false }
    }

    pub(crate) const fn change(name: &'static str, takes: &'static [Argument], gives: &'static [Argument]) -> Self {
        Self { name, takes, gives, access: Access::Change, silent: false }
    }

    pub(crate) const fn privileged(name: &'static str, takes: &'static [Argument]) -> Self {
        Self { name, takes, gives: &[], access: Access::Privileged, silent: false }
    }

    pub(crate) const fn silent(self) -> Self {
        Self { silent: true, ..self }
    }

    /// The signature of what it takes.
    pub(crate) fn signature(&self) -> String {
        self.takes.iter().map(|(_, signature)| *signature).collect()
    }
}

/// What clients are told when a property changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Emits {
    /// The new value.
    Change,
    /// That there is a new value.
    Invalidation,
    /// It never changes.
    Const,
    /// Nothing.
    Nothing,
}

impl Emits {
    /// The word of the annotation `org.freedesktop.DBus.Property.EmitsChangedSignal`.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Emits::Change => "true",
            Emits::Invalidation => "invalidates",
            Emits::Const => "const",
            Emits::Nothing => "false",
        }
    }
}

/// A property.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Property {
    pub(crate) name: &'static str,
    pub(crate) signature: &'static str,
    pub(crate) emits: Emits,
    /// Root may set it.
    pub(crate) writable: bool,
}

impl Property {
    pub(crate) const fn new(name: &'static str, signature: &'static str, emits: Emits) -> Self {
        Self { name, signature, emits, writable: false }
    }

    pub(crate) const fn writable(name: &'static str, signature: &'static str) -> Self {
        Self { name, signature, emits: Emits::Nothing, writable: true }
    }
}

/// A signal.
#[derive(Debug)]
pub(crate) struct Signal {
    pub(crate) name: &'static str,
    pub(crate) carries: &'static [Argument],
}

/// An interface.
#[derive(Debug)]
pub(crate) struct Interface {
    pub(crate) name: &'static str,
    pub(crate) methods: Vec<&'static Method>,
    pub(crate) properties: Vec<Property>,
    pub(crate) signals: &'static [Signal],
}
