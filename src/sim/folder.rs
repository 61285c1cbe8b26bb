//! The door to files in a rehearsal: a folder of policies that exists only in memory.

use crate::io::files::Files;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Where the policies of a rehearsal lie.
pub const POLICIES: &str = "/policies";

/// Policy files by path, and what they name.
#[derive(Debug, Default)]
pub struct Folder {
    policies: Mutex<BTreeMap<PathBuf, String>>,
    attachments: Mutex<BTreeMap<PathBuf, String>>,
}

/// The path of a policy's file.
fn file(name: &str) -> PathBuf {
    Path::new(POLICIES).join(format!("{name}.toml"))
}

impl Folder {
    /// With these policies: their files' names, without `.toml`, and texts.
    pub fn of<'a>(policies: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let policies = policies.into_iter().map(|(name, text)| (file(name), text.to_owned())).collect();
        Self { policies: Mutex::new(policies), ..Self::default() }
    }

    fn files(&self) -> MutexGuard<'_, BTreeMap<PathBuf, String>> {
        self.policies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn beside(&self) -> MutexGuard<'_, BTreeMap<PathBuf, String>> {
        self.attachments.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A file that is no policy is written, by the path as a policy names it.
    pub fn attach(&self, named: &str, text: &str) {
        self.beside().insert(Path::new(POLICIES).join(named), text.to_owned());
    }

    /// A file is written.
    pub fn write(&self, name: &str, text: &str) {
        self.files().insert(file(name), text.to_owned());
    }

    /// A file is removed.
    pub fn remove(&self, name: &str) {
        self.files().remove(&file(name));
    }
}

impl Files for Folder {
    fn read(&self, path: &Path) -> Result<String, String> {
        let text = self.files().get(path).cloned().or_else(|| self.beside().get(path).cloned());
        text.ok_or_else(|| format!("cannot open {}: no such file", path.display()))
    }

    fn policies(&self, folder: &Path) -> Result<Vec<PathBuf>, String> {
        let is_policy = |path: &&PathBuf| path.starts_with(folder) && path.extension().is_some_and(|end| end == "toml");
        Ok(self.files().keys().filter(is_policy).cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_listed_and_read_until_it_is_removed() {
        let folder = Folder::of([("train", "a")]);
        folder.write("serve", "b");
        folder.attach("key.pub", "c");
        let listed = folder.policies(Path::new(POLICIES)).unwrap();
        assert_eq!(listed, [file("serve"), file("train")]);
        assert_eq!(folder.read(&file("train")), Ok("a".to_owned()));
        folder.attach("../key.pub", "c");
        assert_eq!(folder.read(&Path::new(POLICIES).join("../key.pub")), Ok("c".to_owned()));
        assert_eq!(folder.policies(Path::new(POLICIES)).unwrap().len(), 2, "what is named is no policy");
        folder.remove("train");
        assert_eq!(folder.read(&file("train")), Err("cannot open /policies/train.toml: no such file".to_owned()));
    }
}
