//! The door to files that people edit.

use std::{
    io::Read,
    path::{Path, PathBuf},
};

/// No configuration, policy or attachment is larger than this.
pub const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// No policies folder has more files than this.
const FILES_MAX: usize = 1_000;

/// Reading what operators wrote.
pub trait Files: Send + Sync {
    /// The text of a file.
    ///
    /// # Errors
    /// One line for a person: it is missing, too large, not UTF-8, not readable.
    fn read(&self, path: &Path) -> Result<String, String>;

    /// The `*.toml` files of a folder, sorted by name; hidden files and editors' leavings are passed over.
    ///
    /// # Errors
    /// One line for a person.
    fn policies(&self, folder: &Path) -> Result<Vec<PathBuf>, String>;
}

/// The machine's file system.
#[derive(Clone, Copy, Debug)]
pub struct Disk;

impl Files for Disk {
    fn read(&self, path: &Path) -> Result<String, String> {
        let file = std::fs::File::open(path).map_err(|error| format!("cannot open {}: {error}", path.display()))?;
        let mut text = String::new();
        let size = file
            .take(FILE_BYTES_MAX + 1)
            .read_to_string(&mut text)
            .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        if size as u64 > FILE_BYTES_MAX {
            return Err(format!("{} is larger than {FILE_BYTES_MAX} bytes", path.display()));
        }
        Ok(text)
    }

    fn policies(&self, folder: &Path) -> Result<Vec<PathBuf>, String> {
        let failed = |error: std::io::Error| format!("cannot read the folder {}: {error}", folder.display());
        let mut found = Vec::new();
        for entry in std::fs::read_dir(folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if name.ends_with(".toml") && !name.starts_with(['.', '#']) && path.is_file() {
                found.push(path);
            }
            if found.len() > FILES_MAX {
                return Err(format!("{} has more than {FILES_MAX} policies", folder.display()));
            }
        }
        found.sort();
        Ok(found)
    }
}
