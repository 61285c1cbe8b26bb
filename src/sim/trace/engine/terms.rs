//! What the rehearsal's daemon is told where nobody tells it anything: settings of one marketplace, and a policy.
//!
//! No limit on money, on demand as soon as nothing can be had by bid, and otherwise what every policy begins with. They are
//! texts, as an operator would write them, for they are checked like an operator's and printed before a play.

use crate::{
    model::{
        GpuModel, Usd,
        catalogue::{self, Vocabulary},
    },
    policy::terms::PPM,
    sim::trace::load::Pool,
};
use std::{
    collections::BTreeSet,
    fmt::{self, Write as _},
    str::FromStr,
};

/// The marketplace of the settings.
pub(super) const MARKETPLACE: &str = "trace";
/// The variable that holds its token.
pub(super) const TOKEN_VARIABLE: &str = "TOKEN";
/// What a pool's model is called where its name can be no model's.
const NAMELESS: &str = "unnamed";

/// The share of the target's GPU-hours that the built-in policy aims for: above 0 and at most 1, in millionths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivery(Usd);

/// A text is no such share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a share above 0 and at most 1 is needed, with at most six decimals, such as 0.999")]
pub struct NotDelivery;

impl FromStr for Delivery {
    type Err = NotDelivery;
    fn from_str(text: &str) -> Result<Self, NotDelivery> {
        // Six decimals of a whole are read as those of a dollar are.
        let share: Usd = text.parse().map_err(|_| NotDelivery)?;
        let is_within = u64::try_from(share.micros()).is_ok_and(|ppm| (1..=PPM).contains(&ppm));
        if is_within { Ok(Self(share)) } else { Err(NotDelivery) }
    }
}

impl fmt::Display for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(share) = self;
        write!(f, "{share}")
    }
}

/// The texts of a rehearsal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Texts {
    /// `spotscale.toml`.
    pub settings: String,
    /// The one policy.
    pub policy: String,
}

/// What the house calls a pool's GPUs. Names may be hidden, so any will do.
pub(super) fn model(pool: &Pool) -> Option<GpuModel> {
    let named = catalogue::canonical(Vocabulary::Trace, &pool.gpu_model);
    named.or_else(|_| catalogue::canonical(Vocabulary::Trace, NAMELESS)).ok()
}

/// The settings and the policy for a target and these pools.
pub fn built_in(target_gpus: u32, pools: &[Pool], delivery: Delivery) -> Texts {
    let settings = format!(
        "# The one marketplace of a rehearsal: no request leaves this process.\n\
         policies = \"/policies\"\n\n\
         [marketplaces.{MARKETPLACE}]\n\
         api   = \"trace\"\n\
         token = {{ env = \"{TOKEN_VARIABLE}\" }}\n\
         requests_per_second = 100\n"
    );
    let models: BTreeSet<GpuModel> = pools.iter().filter_map(model).collect();
    let named: Vec<String> = models.iter().map(|model| format!("\"{model}\"")).collect();
    // A VM that is larger than the target is never launched.
    let sizes = || pools.iter().map(|pool| pool.gpu_count).filter(|gpus| *gpus <= target_gpus);
    let least = sizes().min().unwrap_or(1);
    let most = sizes().max().unwrap_or(1);
    let mut policy = format!(
        "fleet           = \"rehearsal\"\n\
         target_gpus     = {target_gpus}\n\
         max_hourly_rate = 1000000.00   # no limit on money\n\
         balance_floor   = 0.00\n\
         models          = [{}]\n",
        named.join(", ")
    );
    if models.len() > 1 {
        policy.push_str("preference      = \"value\"      # a GPU is a GPU\n");
    }
    let _ = write!(
        policy,
        "\n[instance]\n\
         gpus = {{ min = {least}, max = {most} }}   # the sizes that there are\n\n\
         [spot]\n\
         delivery = {delivery}\n\
         rebid    = false   # what is outbid is gone\n\n\
         [on_demand]\n\
         use   = \"fallback\"\n\
         after = \"0s\"       # at once\n"
    );
    Texts { settings, policy }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_above_nothing_and_at_most_the_whole_and_has_six_decimals() {
        for (text, shown) in [("0.999", "0.999"), ("1", "1.00"), ("0.000001", "0.000001"), ("1e-3", "0.001")] {
            let delivery: Delivery = text.parse().unwrap();
            assert_eq!(delivery.to_string(), shown);
        }
        for text in ["0", "1.000001", "-0.5", "0.0000001", "x", "", "0.5\nrebid = true", "1e9"] {
            assert_eq!(text.parse::<Delivery>(), Err(NotDelivery), "{text}");
        }
    }
}
