//! What the rehearsal's daemon is told where nobody tells it anything: settings of one marketplace, and a policy.
//!
//! No limit on money, on demand as soon as nothing can be had by bid, and otherwise what every policy begins with. They are
//! texts, as an operator would write them, for they are checked like an operator's and printed before a play.

use crate::{
    model::{
        GpuModel,
        catalogue::{self, Vocabulary},
    },
    sim::trace::load::Pool,
};
use std::{collections::BTreeSet, fmt::Write as _};

/// The marketplace of the settings.
pub(super) const MARKETPLACE: &str = "trace";
/// The variable that holds its token.
pub(super) const TOKEN_VARIABLE: &str = "TOKEN";
/// What a pool's model is called where its name can be no model's.
const NAMELESS: &str = "unnamed";

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

/// The settings and the policy for a target and these pools; `delivery` is the share of the target's GPU-hours to aim for, as
/// it is written, such as `0.999`.
pub fn built_in(target_gpus: u32, pools: &[Pool], delivery: &str) -> Texts {
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
