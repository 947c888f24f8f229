// SPDX-License-Identifier: GPL-2.0-or-later
//! Secrets handed to a service: systemd.exec(5), "Credentials".

use super::exec::unescape;
use super::{Outcome, Problem, Reader, value};
use crate::config::ExecConfig;
use crate::config::exec::{Credential, CredentialSource};

/// Whether `text` can be the name of a credential: a file name of ASCII without blanks at its ends or a colon.
fn is_credential(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 255
        && !matches!(text, "." | "..")
        && text.bytes().all(|byte| (byte.is_ascii_graphic() || byte == b' ') && !matches!(byte, b'/' | b':'))
}

/// Puts a secret in the place of one of the same name and origin, or behind the others.
fn put_credential(exec: &mut ExecConfig, credential: Credential) {
    // A secret may be told both ways: a file wins at run time, and the text in the unit is for when it is missing.
    let literal = |source: &CredentialSource| matches!(source, CredentialSource::Literal(_));
    let same = |known: &Credential| known.id == credential.id && literal(&known.source) == literal(&credential.source);
    match exec.credentials.iter().position(same) {
        Some(index) => exec.credentials[index] = credential,
        None => exec.credentials.push(credential),
    }
}

/// `SetCredential=NAME:TEXT`.
pub(super) fn set(exec: &mut ExecConfig, value: &str, encrypted: bool, reader: &Reader<'_>) -> Outcome {
    if value.is_empty() {
        exec.credentials.retain(|known| !matches!(known.source, CredentialSource::Literal(_)));
        return Ok(());
    }
    let pair = value.split_once(':').filter(|(_, text)| !text.is_empty());
    let (id, text) = pair.ok_or_else(|| reader.bad(value, "a name and a secret, with a colon between"))?;
    let id = credential_id(id, reader)?;
    // The secret itself is never put into a message.
    let wrong = || Problem::Ignored(format!("{}={id}: the secret cannot be read, ignoring", reader.key()));
    let secret = if encrypted { value::base64(text) } else { unescape(text) }.ok_or_else(wrong)?;
    put_credential(exec, Credential { id, source: CredentialSource::Literal(secret), encrypted });
    Ok(())
}

/// `LoadCredential=NAME:PATH`.
pub(super) fn load(exec: &mut ExecConfig, value: &str, encrypted: bool, reader: &Reader<'_>) -> Outcome {
    if value.is_empty() {
        exec.credentials.retain(|known| !matches!(known.source, CredentialSource::Path(_)));
        return Ok(());
    }
    let (id, source) = value.split_once(':').unwrap_or((value, ""));
    let id = credential_id(id, reader)?;
    let source = if source.is_empty() { id.clone() } else { reader.text(source)? };
    let is_path = source.starts_with('/') && source == value::simple_path(&source) && value::is_normal_path(&source);
    if !is_path && !is_credential(&source) {
        return Err(reader.bad(&source, "an absolute path, nor the name of a credential"));
    }
    put_credential(exec, Credential { id, source: CredentialSource::Path(source), encrypted });
    Ok(())
}

fn credential_id(id: &str, reader: &Reader<'_>) -> Result<String, Problem> {
    let id = reader.text(id)?;
    if is_credential(&id) { Ok(id) } else { Err(reader.bad(&id, "the name of a credential")) }
}

/// `ImportCredential=PATTERN`.
pub(super) fn import(exec: &mut ExecConfig, value: &str, reader: &Reader<'_>) -> Outcome {
    if value.is_empty() {
        exec.credentials.retain(|known| known.source != CredentialSource::Import);
        return Ok(());
    }
    let id = reader.text(value)?;
    if !is_credential(id.trim_end_matches('*')) || id.trim_end_matches('*').contains('*') {
        return Err(reader.bad(&id, "the name of a credential, perhaps with a * behind it"));
    }
    put_credential(exec, Credential { id, source: CredentialSource::Import, encrypted: false });
    Ok(())
}
