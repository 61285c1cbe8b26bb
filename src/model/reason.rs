//! Whys. Every decision names one of these, and each is a word in metrics, journal and JSON.

labels! {
    /// Why part of a target is not met. Source: CONTRACT section 4.
    pub enum Blocked {
        /// The fleet's `max_hourly_rate`.
        RateLimit = "rate_limit",
        /// `[limits] max_hourly_rate`, over all fleets.
        GlobalRateLimit = "global_rate_limit",
        /// The account's floor.
        BalanceFloor = "balance_floor",
        /// Nobody could read the balance, or it is older than five minutes.
        BalanceUnknown = "balance_unknown",
        /// Above the floor, but not for `min_runway`.
        Runway = "runway",
        /// A spend budget of the day or month.
        Budget = "budget",
        /// Nothing eligible is offered.
        NoOffers = "no_offers",
        /// `max_gpus_per_hostnode` or `max_share_per_location`.
        Spread = "spread",
        /// What is left of the target is smaller than the smallest VM.
        Shape = "shape",
        /// The operator paused it.
        Paused = "paused",
        /// Observe mode never changes anything.
        Observe = "observe",
        /// The market was not seen, not completely, or too long ago.
        StaleMarket = "stale_market",
        /// The marketplace does not take the credentials.
        Unauthorized = "unauthorized",
        /// The marketplace asked us to wait.
        Throttled = "throttled",
        /// Cooling down after failures or a recent scale-up.
        Cooldown = "cooldown",
        /// Unanswered deploys may still turn up.
        InDoubt = "in_doubt",
        /// The policy on disk does not load.
        PolicyInvalid = "policy_invalid",
        /// An edit waits for `apply`.
        HeldEdit = "held_edit",
    }
}

labels! {
    /// Why a hostnode is not a candidate.
    pub enum Rejected {
        /// Not listed, or offline.
        Offline = "offline",
        /// None of the policy's models is there.
        ModelNotWanted = "model_not_wanted",
        /// Fewer GPUs free than the smallest VM has.
        NotEnoughGpus = "not_enough_gpus",
        /// Too few vCPUs, RAM or disk.
        NotEnoughResources = "not_enough_resources",
        /// The hostnode's own limits.
        HostRestriction = "host_restriction",
        /// Too few free outside ports.
        NoFreePorts = "no_free_ports",
        /// Its uptime is below `min_uptime`, or unknown while one is asked for.
        UptimeBelowMin = "uptime_below_min",
        /// Not in `countries`.
        CountryNotAllowed = "country_not_allowed",
        /// In `deny`.
        Denied = "denied",
        /// Dearer than `max_price` allows.
        PriceAboveCap = "price_above_cap",
        /// It takes no bids, and the policy wants nothing else.
        NoSpot = "no_spot",
        /// No bid within the cap was accepted.
        BidRefused = "bid_refused",
        /// Failed lately.
        Cooldown = "cooldown",
        /// Failed three times in a row.
        Quarantined = "quarantined",
        /// Enough of the fleet is there already.
        HostnodeFull = "hostnode_full",
        /// Enough of the fleet is in that place already.
        LocationFull = "location_full",
        /// The marketplace is not one of the policy's.
        MarketplaceNotWanted = "marketplace_not_wanted",
        /// The marketplace makes no VMs as the policy's `[instance]` wants them.
        InstanceNotOffered = "instance_not_offered",
    }
}

labels! {
    /// Why an instance is let go.
    pub enum Teardown {
        /// Billed more than agreed.
        Overbilled = "overbilled",
        /// Turned up after its intent had been abandoned.
        Late = "late",
        /// Over the fleet's `max_hourly_rate`.
        RateLimit = "rate_limit",
        /// Over `[limits] max_hourly_rate`.
        GlobalRateLimit = "global_rate_limit",
        /// The account would be empty within `min_runway`.
        BalanceFloor = "balance_floor",
        /// The operator evacuates.
        Evacuate = "evacuate",
        /// More than the target.
        Target = "target",
        /// Outbid, and no bid within the cap is accepted.
        Outbid = "outbid",
        /// Its machine is gone; the delete makes sure.
        Lost = "lost",
        /// A replacement runs.
        Replaced = "replaced",
        /// The operator deleted it.
        Operator = "operator",
        /// Stopped for longer than `stopped_max_age`.
        StoppedTooLong = "stopped_too_long",
    }
}

labels! {
    /// What interrupted an instance, not by our doing.
    pub enum Interruption {
        /// A higher bid.
        Outbid = "outbid",
        /// It disappeared.
        Vanished = "vanished",
        /// It stopped by itself.
        Stopped = "stopped",
    }
}

labels! {
    /// One step of a plan, as `plan --json` names it.
    pub enum ActionKind {
        /// Ask about a bid: a read.
        Ask = "ask",
        /// Make a VM.
        Deploy = "deploy",
        /// Raise an outbid VM's bid.
        Rebid = "rebid",
        /// Start a stopped VM.
        Start = "start",
        /// Stop a VM, giving its GPU back.
        Stop = "stop",
        /// Delete a VM.
        Delete = "delete",
        /// Deploy a VM that replaces another.
        Replace = "replace",
        /// Take a VM that turned up under its intent's name.
        Adopt = "adopt",
        /// Give up looking for an unanswered deploy.
        Abandon = "abandon",
    }
}
