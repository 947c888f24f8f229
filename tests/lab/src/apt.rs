// SPDX-License-Identifier: GPL-2.0-or-later
//! The machine's own package sources, read and turned into what the lab asks for: the same mirror
//! with another suite, and lines for building a guest's root. Pure, but for [`Sources::of_this_machine`].
//!
//! Both of apt's formats are read (sources.list(5)): one line a source, and deb822 stanzas. No crate
//! on offer reads both without apt's library, and four fields are all that is wanted.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

/// One place packages come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Source {
    uri: String,
    suite: String,
    components: Vec<String>,
    signed_by: Option<String>,
}

/// All of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Sources(Vec<Source>);

impl Sources {
    /// Those this machine's apt uses.
    pub(crate) fn of_this_machine() -> Result<Self> {
        let mut sources = Self::default();
        let list = Path::new("/etc/apt/sources.list");
        if list.exists() {
            sources.read_lines(&fs::read_to_string(list).context("reading /etc/apt/sources.list")?);
        }
        for entry in fs::read_dir("/etc/apt/sources.list.d").into_iter().flatten().flatten() {
            let path = entry.path();
            let read = || fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()));
            match path.extension().and_then(|end| end.to_str()) {
                Some("list") => sources.read_lines(&read()?),
                Some("sources") => sources.read_stanzas(&read()?),
                _ => {}
            }
        }
        Ok(sources)
    }

    /// Adds what a file of the one-line format says.
    fn read_lines(&mut self, text: &str) {
        for line in text.lines().map(|line| line.split('#').next().unwrap_or_default().trim()) {
            let Some(rest) = line.strip_prefix("deb ").map(str::trim) else { continue };
            let (options, rest) = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
                Some((options, rest)) => (options, rest),
                None => ("", rest),
            };
            let mut words = rest.split_whitespace().map(str::to_owned);
            let (Some(uri), Some(suite)) = (words.next(), words.next()) else { continue };
            let signed_by = options.split_whitespace().find_map(|option| option.strip_prefix("signed-by="));
            self.0.push(Source { uri, suite, components: words.collect(), signed_by: signed_by.map(str::to_owned) });
        }
    }

    /// Adds what a deb822 file says.
    fn read_stanzas(&mut self, text: &str) {
        for stanza in text.split("\n\n") {
            let mut fields: Vec<(String, String)> = Vec::new();
            for line in stanza.lines().filter(|line| !line.starts_with('#')) {
                if let (true, Some((_, value))) = (line.starts_with([' ', '\t']), fields.last_mut()) {
                    value.push('\n');
                    value.push_str(line.trim());
                } else if let Some((name, value)) = line.split_once(':') {
                    fields.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
                }
            }
            let field = |wanted: &str| fields.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
            let words = |wanted: &str| field(wanted).unwrap_or_default().split_whitespace().map(str::to_owned);
            let off = field("enabled")
                .is_some_and(|value| matches!(value.to_ascii_lowercase().as_str(), "no" | "false" | "0"));
            if off || !words("types").any(|kind| kind == "deb") {
                continue;
            }
            // A key written into the stanza itself is no path.
            let signed_by = field("signed-by").filter(|value| value.starts_with('/')).map(str::to_owned);
            for uri in words("uris") {
                for suite in words("suites") {
                    self.0.push(Source {
                        uri: uri.clone(),
                        suite,
                        components: words("components").collect(),
                        signed_by: signed_by.clone(),
                    });
                }
            }
        }
    }

    /// The distribution's own sources of a release, as against others' that use its name.
    fn own(&self, release: &str) -> impl Iterator<Item = &Source> + use<'_> {
        let suites = ["", "-updates", "-security", "/updates"].map(|end| format!("{release}{end}"));
        self.0.iter().filter(move |source| {
            suites.contains(&source.suite) && source.components.iter().any(|component| component == "main")
        })
    }

    /// The release's main source.
    fn main(&self, release: &str) -> Option<&Source> {
        self.own(release).find(|source| source.suite == release)
    }

    /// A `.sources` file for the release's backports, from the mirror of its main source.
    pub(crate) fn backports(&self, release: &str) -> Option<String> {
        let Source { uri, signed_by, .. } = self.main(release)?;
        let mut text = format!("Types: deb\nURIs: {uri}\nSuites: {release}-backports\nComponents: main\n");
        if let Some(key) = signed_by {
            text.push_str(&format!("Signed-By: {key}\n"));
        }
        Some(text)
    }

    /// Lines of the one-line format with the release's packages, main component only; a machine of
    /// another release lends its mirror.
    pub(crate) fn lines(&self, release: &str, own_release: &str) -> Vec<String> {
        let line = |source: &Source, suite: &str| {
            let key = source.signed_by.as_ref().map(|key| format!("[signed-by={key}] ")).unwrap_or_default();
            format!("deb {key}{} {suite} main", source.uri)
        };
        let own: Vec<_> = self.own(release).map(|source| line(source, &source.suite)).collect();
        if own.is_empty() {
            return self.main(own_release).map(|source| line(source, release)).into_iter().collect();
        }
        own
    }
}

/// The release this machine runs, such as "bookworm".
pub(crate) fn release_of_this_machine() -> Result<String> {
    let text = fs::read_to_string("/etc/os-release").context("reading /etc/os-release")?;
    let name = text.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    name.map(|name| name.trim_matches('"').to_owned())
        .context("/etc/os-release has no VERSION_CODENAME: the lab installs packages on Debian only")
}

#[cfg(test)]
mod tests {
    use super::*;

    const STANZAS: &str = "Types: deb deb-src\n# a remark\nURIs: http://mirror.example/debian\nSuites: bookworm bookworm-updates\nComponents: main contrib\nSigned-By: /usr/share/keyrings/k.gpg\n\n\
        Types: deb\nURIs: http://mirror.example/debian-security\nSuites: bookworm-security\nComponents: main\n\n\
        Types: deb\nURIs: http://other.example/x\nSuites: bookworm\nComponents: stable\nSigned-By:\n -----BEGIN\n .\n\n\
        Enabled: no\nTypes: deb\nURIs: http://off.example/x\nSuites: bookworm\nComponents: main\n";

    fn stanzas() -> Sources {
        let mut sources = Sources::default();
        sources.read_stanzas(STANZAS);
        sources
    }

    #[test]
    fn only_the_distributions_own_are_taken() {
        assert_eq!(
            stanzas().lines("bookworm", "bookworm"),
            [
                "deb [signed-by=/usr/share/keyrings/k.gpg] http://mirror.example/debian bookworm main",
                "deb [signed-by=/usr/share/keyrings/k.gpg] http://mirror.example/debian bookworm-updates main",
                "deb http://mirror.example/debian-security bookworm-security main",
            ]
        );
    }

    #[test]
    fn backports_come_from_the_same_mirror() {
        let text = stanzas().backports("bookworm").unwrap_or_default();
        assert!(text.contains("URIs: http://mirror.example/debian\nSuites: bookworm-backports\n"), "{text}");
        assert!(text.contains("Signed-By: /usr/share/keyrings/k.gpg\n"), "{text}");
        assert_eq!(stanzas().backports("trixie"), None);
    }

    #[test]
    fn the_old_format_is_read_too() {
        let mut sources = Sources::default();
        sources.read_lines("# deb http://a b main\ndeb [arch=amd64 signed-by=/k.gpg] http://m.example/debian bookworm main # x\ndeb-src http://m bookworm main\n");
        assert_eq!(
            sources.lines("bookworm", "bookworm"),
            ["deb [signed-by=/k.gpg] http://m.example/debian bookworm main"]
        );
    }

    #[test]
    fn another_release_lends_its_mirror() {
        assert_eq!(
            stanzas().lines("trixie", "bookworm"),
            ["deb [signed-by=/usr/share/keyrings/k.gpg] http://mirror.example/debian trixie main"]
        );
    }
}
