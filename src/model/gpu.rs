//! GPU models, by the name the market knows them by.
//!
//! TensorDock v0's spelling is the canonical one: lower-case `<family><model>-<pcie|sxmN|nvlink>-<N>gb`, for example
//! `geforcertx4090-pcie-24gb` (documented). What other vendors call a model, and what a policy may say for short, is in
//! the [`catalogue`](super::catalogue).

use std::{fmt, str::FromStr, sync::Arc};

/// A GPU model's canonical name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GpuModel(Arc<str>);

/// A text that cannot be a GPU model.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a GPU model: lower-case letters, digits and `-`, such as geforcertx4090-pcie-24gb")]
pub struct NotAGpuModel(String);

/// Longest model name, in bytes; the longest seen has 26 (recorded).
const MODEL_BYTES_MAX: usize = 64;

impl GpuModel {
    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Video memory per GPU in GB, where the name tells.
    pub fn vram_gb(&self) -> Option<u32> {
        self.0.rsplit('-').next()?.strip_suffix("gb")?.parse().ok()
    }
}

impl fmt::Display for GpuModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for GpuModel {
    type Err = NotAGpuModel;
    fn from_str(text: &str) -> Result<Self, NotAGpuModel> {
        let lower = text.to_ascii_lowercase();
        let valid = !lower.is_empty()
            && lower.len() <= MODEL_BYTES_MAX
            && lower.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        if valid { Ok(Self(lower.into())) } else { Err(NotAGpuModel(text.chars().take(MODEL_BYTES_MAX).collect())) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_tells_the_memory() {
        assert_eq!("geforcertx4090-pcie-24gb".parse::<GpuModel>().unwrap().vram_gb(), Some(24));
        assert_eq!("H100-SXM5-80GB".parse::<GpuModel>().unwrap().as_str(), "h100-sxm5-80gb");
        assert_eq!("mystery".parse::<GpuModel>().unwrap().vram_gb(), None);
        assert!("RTX 4090".parse::<GpuModel>().is_err());
    }
}
