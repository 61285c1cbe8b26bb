//! Secrets: where they come from, and that they never show.
//!
//! A secret is named in the settings, never written there: a systemd credential, an environment variable or a file. Its
//! value is never quoted, not even where it is wrong.

use crate::policy::{
    fault::{At, Complaint, Findings},
    section::Section,
    tree::Value,
    value,
};
use secrecy::SecretString;
use std::{collections::BTreeMap, path::Path};

/// No credential is longer, in bytes.
const SECRET_BYTES_MAX: usize = 4_096;
/// Where systemd puts the credentials of a unit.
const CREDENTIALS_DIRECTORY: &str = "CREDENTIALS_DIRECTORY";

/// Where a secret comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// A systemd credential of this name.
    Credential(String),
    /// An environment variable.
    Env(String),
    /// A file, relative to the settings.
    File(String),
}

const HOW: &str = "write { credential = \"…\" } for a systemd credential, { env = \"…\" } or { file = \"…\" }, and replace the secret";

/// Reads where a secret comes from. The secret itself, written there, is refused and not shown.
pub fn read(section: &mut Section<'_>, key: &'static str, findings: &mut Findings) -> Option<At<SecretSource>> {
    let path = section.path(key);
    let entry = section.entry(key, findings)?;
    let node = &entry.node;
    match &node.value {
        Value::Table(_) => {}
        Value::Broken => return None,
        _ => {
            let why = "whoever reads the configuration would have it";
            findings.fault_at(&node.place, &path, "***", Complaint::new("is a secret in plain sight", why, HOW));
            return None;
        }
    }
    let mut table = Section::table(path.clone(), "{a secret}", node, findings);
    let credential = table.read("credential", findings, credential_name);
    let env = table.read("env", findings, value::line);
    let file = table.read("file", findings, value::line);
    let said = ["credential", "env", "file"].into_iter().filter(|source| table.has(source)).count();
    table.finish(findings);
    let at = |value| At { key: path.clone(), place: node.place.clone(), text: node.text.clone(), value };
    if said != 1 {
        let fact = if said == 0 { "names no source" } else { "names more than one source" };
        findings.fault_at(&node.place, &path, "", Complaint::new(fact, "a secret comes from one place", HOW));
        return None;
    }
    let credential = credential.map(|name| at(SecretSource::Credential(name.value)));
    let env = env.map(|name| at(SecretSource::Env(name.value)));
    credential.or(env).or(file.map(|path| at(SecretSource::File(path.value))))
}

fn credential_name(node: &crate::policy::tree::Node) -> Result<String, Complaint> {
    let name = value::line(node)?;
    if name.contains('/') || name == ".." || name == "." {
        let why = "a credential is a name, not a path";
        return Err(Complaint::new(
            "is not a credential's name",
            why,
            "name it as in LoadCredential=, or use { file = \"…\" }",
        ));
    }
    Ok(name)
}

/// Looks a secret up.
///
/// # Errors
/// When it is not there or cannot be one.
pub fn resolve(
    source: &SecretSource,
    folder: &Path,
    environment: &BTreeMap<String, String>,
    read: &mut dyn FnMut(&Path) -> Result<String, String>,
) -> Result<SecretString, Complaint> {
    let cannot = |reason: String, remedy: &str| {
        Complaint::new(format!("cannot be read ({reason})"), "without it nobody is let in", remedy)
    };
    let text = match source {
        SecretSource::Credential(name) => match environment.get(CREDENTIALS_DIRECTORY) {
            Some(directory) => read(&Path::new(directory).join(name))
                .map_err(|reason| cannot(reason, "add LoadCredential= or SetCredentialEncrypted= to the unit"))?,
            None => {
                let remedy = "start it under systemd with LoadCredential=, or use { file = \"…\" } or { env = \"…\" }";
                return Err(cannot(format!("{CREDENTIALS_DIRECTORY} is not set"), remedy));
            }
        },
        SecretSource::Env(name) => match environment.get(name) {
            Some(value) => value.clone(),
            None => return Err(cannot(format!("{name} is not set"), "set the variable")),
        },
        SecretSource::File(path) => {
            read(&folder.join(path)).map_err(|reason| cannot(reason, "mend the path or the file's owner and mode"))?
        }
    };
    let secret = text.trim();
    let refuse = |fact: &str| Err(Complaint::new(fact, "it cannot be a credential", "write the secret alone into it"));
    if secret.is_empty() {
        return refuse("leads to an empty text");
    }
    if secret.len() > SECRET_BYTES_MAX {
        return refuse("leads to a text that is too long");
    }
    if secret.chars().any(char::is_control) {
        return refuse("leads to more than one line");
    }
    Ok(SecretString::from(secret.to_owned()))
}
