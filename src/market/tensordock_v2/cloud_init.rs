//! cloud-init as TensorDock v2 takes it: in parts, not as the text it is everywhere else.
//!
//! A policy names a cloud-config, which is YAML; v2 takes commands, packages, whether to update and upgrade, and files as
//! members of its own (documented; the files recorded by clients). What of the text has no such part is told, and then
//! nothing is sent: a VM without its cloud-init is worse than none. Words stay as they were written: `0644` is a file's
//! mode and not a number, `yes` is true, as cloud-init itself reads them.

use serde::{Deserialize, Deserializer, de};
use serde_json::{Value, json};
use std::fmt;

/// No longer text is read: user data is limited to 16 KiB by the clouds that cloud-init comes from.
const TEXT_BYTES_MAX: usize = 256 * 1024;
/// What marks a cloud-config.
const MARK: &str = "#cloud-config";

/// All parts that v2 takes; `None` and empty lists are not sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CloudInit {
    /// Shell commands, run at the end of the first boot.
    #[serde(deserialize_with = "commands")]
    pub runcmd: Vec<String>,
    /// Packages to install.
    pub packages: Vec<String>,
    /// Update the list of packages first. The vendor's default is false.
    pub package_update: Option<bool>,
    /// Upgrade what is installed. The vendor's default is false.
    pub package_upgrade: Option<bool>,
    /// Files to write.
    pub write_files: Vec<WrittenFile>,
}

/// A file to write.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WrittenFile {
    /// Where.
    pub path: String,
    /// What is in it.
    #[serde(default)]
    pub content: String,
    /// `user:group`.
    #[serde(default)]
    pub owner: Option<String>,
    /// The mode in octal digits, such as `0644`.
    #[serde(default)]
    pub permissions: Option<String>,
}

/// Why a text cannot be sent as v2's parts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    /// It is another kind of user data, such as a shell script.
    #[error("cloud_init is not a cloud-config, the one kind that TensorDock v2 takes: it does not begin with {MARK}")]
    NotACloudConfig,
    /// It is longer than anybody's.
    #[error("cloud_init has more than {TEXT_BYTES_MAX} bytes")]
    TooLong,
    /// It does not parse, or says what v2 has no word for.
    #[error(
        "cloud_init has more than TensorDock v2 takes (runcmd, packages, package_update, package_upgrade, write_files): {0}"
    )]
    NotSaid(String),
}

impl CloudInit {
    /// A cloud-config's parts. The mark in its first line may be missing where what follows is one.
    ///
    /// # Errors
    /// What of it v2 does not take.
    pub fn of_cloud_config(text: &str) -> Result<Self, NotTaken> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(NotTaken::TooLong);
        }
        let first = text.lines().next().unwrap_or_default().trim_end();
        let is_other = first.starts_with("#!") || first.starts_with("#include") || first.starts_with("Content-Type:");
        if is_other || (first.starts_with("#cloud-") && first != MARK) || first.starts_with("## template") {
            return Err(NotTaken::NotACloudConfig);
        }
        let options = serde_saphyr::options! { with_snippet: false };
        let parts: Option<Self> = serde_saphyr::from_str_with_options(text, options)
            .map_err(|error| NotTaken::NotSaid(crate::market::json::shown(&error.to_string())))?;
        Ok(parts.unwrap_or_default())
    }

    /// Whether it asks for nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// As v2 takes it.
    pub fn to_json(&self) -> Value {
        let Self { runcmd, packages, package_update, package_upgrade, write_files } = self;
        let mut parts = serde_json::Map::new();
        if !runcmd.is_empty() {
            parts.insert("runcmd".into(), json!(runcmd));
        }
        if !packages.is_empty() {
            parts.insert("packages".into(), json!(packages));
        }
        if let Some(update) = package_update {
            parts.insert("package_update".into(), json!(update));
        }
        if let Some(upgrade) = package_upgrade {
            parts.insert("package_upgrade".into(), json!(upgrade));
        }
        if !write_files.is_empty() {
            let files: Vec<Value> = write_files.iter().map(WrittenFile::to_json).collect();
            parts.insert("write_files".into(), Value::Array(files));
        }
        Value::Object(parts)
    }
}

impl WrittenFile {
    fn to_json(&self) -> Value {
        let Self { path, content, owner, permissions } = self;
        let mut file = json!({"path": path, "content": content});
        if let Some(owner) = owner {
            file["owner"] = json!(owner);
        }
        if let Some(permissions) = permissions {
            file["permissions"] = json!(permissions);
        }
        file
    }
}

/// A command: text for the shell, or a list of words that the shell is not to look into.
struct Command(String);

impl<'de> Deserialize<'de> for Command {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Written;
        impl<'de> de::Visitor<'de> for Written {
            type Value = Command;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a command as text, or as a list of words")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Command, E> {
                Ok(Command(text.to_owned()))
            }
            fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<Command, A::Error> {
                let mut words = Vec::new();
                while let Some(word) = seq.next_element::<String>()? {
                    words.push(quoted(&word));
                }
                Ok(Command(words.join(" ")))
            }
        }
        deserializer.deserialize_any(Written)
    }
}

/// As cloud-init itself makes a line of a list: each word in single quotes.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

fn commands<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let commands: Vec<Command> = Vec::deserialize(deserializer)?;
    Ok(commands.into_iter().map(|Command(line)| line).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(text: &str, expected: Value) {
        assert_eq!(CloudInit::of_cloud_config(text).unwrap().to_json(), expected);
    }

    #[track_caller]
    fn refused(text: &str) -> String {
        CloudInit::of_cloud_config(text).unwrap_err().to_string()
    }

    #[test]
    fn every_part_that_v2_takes_is_said() {
        check(
            "#cloud-config\n\
             package_update: yes\n\
             package_upgrade: false\n\
             packages: [curl, \"git\"]\n\
             runcmd:\n  - echo 'Hello World'\n  - [sh, -c, \"echo it's $HOME\", 7]\n  - |\n    apt-get update\n    \
             apt-get install -y nginx\n\
             write_files:\n  - path: /etc/motd\n    permissions: 0644\n    owner: root:root\n    content: |\n      hello\n  \
             - {path: /empty}\n",
            json!({
                "package_update": true,
                "package_upgrade": false,
                "packages": ["curl", "git"],
                "runcmd": [
                    "echo 'Hello World'",
                    r"'sh' '-c' 'echo it'\''s $HOME' '7'",
                    "apt-get update\napt-get install -y nginx\n",
                ],
                "write_files": [
                    {"path": "/etc/motd", "permissions": "0644", "owner": "root:root", "content": "hello\n"},
                    {"path": "/empty", "content": ""},
                ],
            }),
        );
    }

    #[test]
    fn a_text_without_the_mark_is_read_and_nothing_asks_for_nothing() {
        check("runcmd:\n  - true-ish\n", json!({"runcmd": ["true-ish"]}));
        for text in ["", "#cloud-config\n", "# only a comment\n", "{}"] {
            assert!(CloudInit::of_cloud_config(text).unwrap().is_empty(), "{text}");
        }
    }

    #[test]
    fn what_v2_has_no_part_for_is_told_and_not_dropped() {
        let told = refused("#cloud-config\nusers:\n  - name: me\n");
        assert!(told.starts_with("cloud_init has more than TensorDock v2 takes") && told.contains("users"), "{told}");
        for text in [
            "write_files:\n  - {path: /a, content: aGk=, encoding: b64}\n",
            "write_files:\n  - {content: nowhere}\n",
            "packages:\n  - [nginx, 1.18]\n",
            "runcmd:\n  - {a: b}\n",
            "runcmd: true\n",
            "runcmd:\n  - true\n",
            "package_update: sometimes\n",
            "- a list\n",
            "runcmd: [half\n",
            "runcmd: [a]\nruncmd: [b]\n",
        ] {
            refused(text);
        }
        for text in ["#!/bin/sh\ntrue\n", "#cloud-boothook\ntrue\n", "#include\nhttp://a\n", "## template: jinja\n"] {
            assert!(refused(text).contains("not a cloud-config"), "{text}");
        }
        assert!(refused(&" ".repeat(TEXT_BYTES_MAX + 1)).contains("more than 262144 bytes"));
    }

    #[test]
    fn a_text_that_unfolds_without_end_is_refused() {
        let mut text = "a: &a [x, x, x, x, x, x, x, x, x]\n".to_owned();
        for (of, name) in ('a'..'h').zip('b'..'i') {
            let alias = format!("*{of}");
            text.push_str(&format!("{name}: &{name} [{}]\n", [alias.as_str(); 9].join(", ")));
        }
        text.push_str("runcmd: *h\n");
        refused(&text);
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "(?s)(#cloud-config\n)?[ -~\n]{0,200}") {
            let _ = CloudInit::of_cloud_config(&text);
        }
    }
}
