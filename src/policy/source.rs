//! A policy's text together with the files it names: all that is needed to check it, now or after a restart.
//!
//! The last good text is kept in the state. The SSH key and the cloud-init file it names may be gone or changed by then,
//! so their contents are kept with it, by the path as it was written.

use super::{
    fault::{At, Complaint, Findings},
    raw::{self, Raw, RawInstance, SshKey},
    tree::{self, FILE_BYTES_MAX, Quote, Syntax},
};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;

/// A policy's text and what it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The file's path, for people.
    pub file: String,
    /// All that stands in it.
    pub text: String,
    /// What stands in the files it names, by the path as written.
    pub attachments: BTreeMap<String, String>,
    /// Why a file it names could not be read, by the path as written. Empty in what is kept as good.
    pub unread: BTreeMap<String, String>,
}

/// Reads whatever files the text names through `read`, which resolves their paths. What cannot be read becomes a fault
/// of the check, at the key that names it.
pub fn gather(file: &str, text: &str, read: &mut dyn FnMut(&str) -> Result<String, String>) -> Source {
    let mut source =
        Source { attachments: BTreeMap::new(), unread: BTreeMap::new(), file: file.into(), text: text.into() };
    let (raw, ..) = read_raw(&source);
    for path in named_files(&raw.instance) {
        attach(&path, read, &mut source.attachments, &mut source.unread);
    }
    source
}

/// Reads one named file into one of both maps.
pub(crate) fn attach(
    path: &str,
    read: &mut dyn FnMut(&str) -> Result<String, String>,
    attachments: &mut BTreeMap<String, String>,
    unread: &mut BTreeMap<String, String>,
) {
    match read(path) {
        Ok(text) if text.len() > FILE_BYTES_MAX => {
            unread.insert(path.to_owned(), format!("it has more than {FILE_BYTES_MAX} bytes"));
        }
        Ok(text) => {
            attachments.insert(path.to_owned(), text);
        }
        Err(reason) => {
            unread.insert(path.to_owned(), reason);
        }
    }
}

/// The paths that an `[instance]` names.
pub(crate) fn named_files(instance: &RawInstance) -> Vec<String> {
    let key = instance.ssh_key.as_ref().and_then(|key| match &key.value {
        SshKey::File(path) => Some(path.clone()),
        SshKey::Text(_) => None,
    });
    key.into_iter().chain(instance.cloud_init.as_ref().map(|path| path.value.clone())).collect()
}

/// The first half of a check: the file alone, key by key.
pub(crate) fn read_raw(source: &Source) -> (Raw, Findings) {
    let mut findings = Findings::default();
    let (root, syntax) = tree::parse(&source.file, &source.text, Quote::Freely, &mut findings);
    let raw = raw::read(&root, &mut findings);
    match syntax {
        Syntax::Sound => {}
        Syntax::Broken => findings.forgive_missing(),
    }
    (raw, findings)
}

/// The contents of the files an `[instance]` names.
pub(crate) struct Attached<'s> {
    pub attachments: &'s BTreeMap<String, String>,
    pub unread: &'s BTreeMap<String, String>,
}

impl Attached<'_> {
    fn text(&self, at: &At<()>, path: &str, findings: &mut Findings) -> Option<String> {
        if let Some(text) = self.attachments.get(path) {
            return Some(text.clone());
        }
        let reason = self.unread.get(path).map_or("nobody read it", String::as_str);
        let fact = format!("cannot be read ({reason})");
        findings.fault(
            at,
            fact,
            "VMs would be made without it",
            "mend the path, which is relative to this file, or the file",
        );
        None
    }

    /// The SSH key's text.
    pub fn ssh_key(&self, key: &At<SshKey>, findings: &mut Findings) -> Option<String> {
        match &key.value {
            SshKey::Text(text) => Some(text.clone()),
            SshKey::File(path) => {
                let text = self.text(&key.mark(), path, findings)?;
                raw::public_key(&text)
                    .map_err(|Complaint { fact, why, remedy }| findings.fault(key, format!("{fact} file"), why, remedy))
                    .ok()
            }
        }
    }

    /// The cloud-init text.
    pub fn cloud_init(&self, path: &At<String>, findings: &mut Findings) -> Option<String> {
        let text = self.text(&path.mark(), &path.value, findings)?;
        if !text.starts_with('#') {
            let why = "cloud-init ignores what does not begin with its mark";
            findings.fault(path, "is not cloud-init's", why, "begin the file with #cloud-config or #!");
            return None;
        }
        Some(text)
    }
}

/// What a policy is known by: SHA-256 in hex of its text (as `sha256sum` tells), and with attachments of all of them.
pub fn digest(source: &Source) -> String {
    let Source { file: _, text, attachments, unread: _ } = source;
    let mut hasher = Sha256::new();
    hasher.update(text.as_bytes());
    for (path, attachment) in attachments {
        for part in [path, attachment] {
            hasher.update([0]);
            hasher.update(part.len().to_be_bytes());
            hasher.update(part.as_bytes());
        }
    }
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_of_the_text_and_of_what_it_names() {
        let plain = gather("f", "abc", &mut |_| Err("no".into()));
        assert_eq!(digest(&plain), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        let text = "[instance]\nssh_key = { file = \"k.pub\" }\n";
        let with = |key: &str| digest(&gather("f", text, &mut |_| Ok(key.to_owned())));
        assert_ne!(with("a"), with("b"));
    }

    #[test]
    fn named_files_are_gathered_by_the_path_as_written() {
        let text = "[instance]\nssh_key = { file = \"../k.pub\" }\ncloud_init = \"gone.yaml\"\n";
        let source =
            gather("f", text, &mut |path| if path == "../k.pub" { Ok("key".into()) } else { Err("gone".into()) });
        assert_eq!(source.attachments, BTreeMap::from([("../k.pub".to_owned(), "key".to_owned())]));
        assert_eq!(source.unread, BTreeMap::from([("gone.yaml".to_owned(), "gone".to_owned())]));
    }
}
