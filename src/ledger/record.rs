//! What the journal says: one [`Record`] for each thing that was meant, done, answered or seen.
//!
//! A record is an internally tagged JSON object with a fixed order of fields: its *canonical encoding*, which a golden test
//! holds still. Nouns are their canonical text and money is decimal text. A record is never changed or removed, but for
//! those that only tell a story ([`Record::PRUNABLE`]); a kind that this code does not know is damage, not something to
//! skip, for it may be an intent.

mod about;
mod story;

use super::{
    fleet::Standing,
    levers::Scope,
    spend::Tally,
    text::{AccountText, Decimal, Line, LocationText, RatesText, ShapeText, Text},
};
use crate::{
    model::{
        AccountName, FleetName, HostnodeId, HourlyRate, InstanceId, MarketplaceName, PriceType, Shape, Timestamp, Usd,
        VmName,
        offer::{BidAnswer, Location, Rates},
        reason::{Interruption, Teardown},
        refusal::RefusalKind,
    },
    policy::terms::Mode,
    settings::AccountLimits,
};
use serde::{Deserialize, Serialize};
use serde_with::{FromInto, serde_as};
use std::collections::{BTreeMap, BTreeSet};

labels! {
    /// A readable answer to a write.
    pub enum Answer {
        /// It was done.
        Done = "done",
        /// It was not.
        Refused = "refused",
    }
}

labels! {
    /// What proved that an instance is gone.
    pub enum Ending {
        /// Our delete was acknowledged, and the next complete list lacked it.
        Deleted = "deleted",
        /// Several lists in a row lacked it, and asked for by id it is gone.
        NotFound = "not_found",
        /// Many lists in a row lacked it, where nothing can be asked for by id.
        Unlisted = "unlisted",
    }
}

labels! {
    /// What changed an instance's standing.
    pub enum Cause {
        /// It is on its way up.
        Starting = "starting",
        /// It runs for the first time.
        Started = "started",
        /// It runs again.
        CameBack = "came_back",
        /// A higher bid.
        Outbid = "outbid",
        /// We stopped it.
        StoppedByUs = "stopped_by_us",
        /// It stopped, and not by us.
        Stopped = "stopped",
        /// Lists lack it, and it is not proven gone.
        Vanished = "vanished",
        /// The marketplace's word for what it does is not one we know, or says that it is going.
        UnknownStatus = "unknown_status",
    }
}

impl Cause {
    /// What interrupted it, where something did that was not our doing.
    pub const fn interruption(self) -> Option<Interruption> {
        match self {
            Self::Outbid => Some(Interruption::Outbid),
            Self::Stopped => Some(Interruption::Stopped),
            Self::Vanished => Some(Interruption::Vanished),
            Self::Starting | Self::Started | Self::CameBack | Self::StoppedByUs | Self::UnknownStatus => None,
        }
    }
}

/// A decision to make a VM, with all that must be known of it should nothing else be left.
#[serde_as]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// The key under which it is looked for; never used before.
    #[serde_as(as = "Text")]
    pub name: VmName,
    /// Whose it is.
    #[serde_as(as = "Text")]
    pub fleet: FleetName,
    /// Where.
    #[serde_as(as = "Text")]
    pub marketplace: MarketplaceName,
    /// Who pays.
    #[serde_as(as = "Text")]
    pub account: AccountName,
    /// On which machine.
    #[serde_as(as = "Text")]
    pub hostnode: HostnodeId,
    /// In which place.
    #[serde_as(as = "FromInto<LocationText>")]
    pub location: Location,
    /// What, in the marketplace's grain.
    #[serde_as(as = "FromInto<ShapeText>")]
    pub shape: Shape,
    /// How it is paid for.
    #[serde_as(as = "Text")]
    pub price_type: PriceType,
    /// For spot: the bid.
    #[serde_as(as = "Option<Decimal>")]
    pub bid: Option<HourlyRate>,
    /// All that it costs per hour.
    #[serde_as(as = "FromInto<RatesText>")]
    pub agreed: Rates,
    /// What the same VM costs on demand.
    #[serde_as(as = "FromInto<RatesText>")]
    pub on_demand: Rates,
    /// Operating system.
    #[serde_as(as = "Line")]
    pub image: String,
    /// Outside port to inside port.
    #[serde_as(as = "BTreeMap<Text, _>")]
    pub ports: BTreeMap<u16, u16>,
    /// The member that it replaces.
    #[serde_as(as = "Option<Text>")]
    pub replaces: Option<VmName>,
    /// Why this one, one line.
    #[serde_as(as = "Line")]
    pub why: String,
}

/// One thing that was meant, done, answered or seen.
#[serde_as]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Record {
    /// The journal begins; or the prefix changed. The epoch is drawn once.
    Created {
        /// Of VM names.
        prefix: String,
        /// Part of every name of this journal.
        epoch: String,
    },

    /// A VM is to be made; nothing was sent yet.
    DeployIntended(Box<Intent>),
    /// It was made.
    Deployed {
        /// Which.
        #[serde_as(as = "Text")]
        name: VmName,
        /// The vendor's id.
        #[serde_as(as = "Text")]
        id: InstanceId,
        /// What the marketplace says it costs.
        #[serde_as(as = "Option<FromInto<RatesText>>")]
        quoted: Option<Rates>,
        /// Where it can be reached.
        #[serde_as(as = "Option<Line>")]
        address: Option<String>,
        /// Outside port to inside port, as granted.
        #[serde_as(as = "BTreeMap<Text, _>")]
        ports: BTreeMap<u16, u16>,
    },
    /// A readable no: it was not made.
    DeployRefused {
        /// Which.
        #[serde_as(as = "Text")]
        name: VmName,
        /// The group of the refusal.
        #[serde_as(as = "Text")]
        refusal: RefusalKind,
        /// What was said.
        #[serde_as(as = "Line")]
        detail: String,
    },
    /// Nobody knows whether it was made.
    DeployInDoubt {
        /// Which.
        #[serde_as(as = "Text")]
        name: VmName,
        /// What went wrong.
        #[serde_as(as = "Line")]
        detail: String,
    },
    /// It was seen under its intent's name.
    Adopted {
        /// Which.
        #[serde_as(as = "Text")]
        name: VmName,
        /// The vendor's id.
        #[serde_as(as = "Text")]
        id: InstanceId,
    },
    /// It was looked for long enough and is given up; its money stays reserved for the late window.
    Abandoned {
        /// Which.
        #[serde_as(as = "Text")]
        name: VmName,
    },
    /// A VM turned up under a name that was given up, or beside the one that has it.
    Late {
        /// Under which name.
        #[serde_as(as = "Text")]
        name: VmName,
        /// Whose name that is.
        #[serde_as(as = "Text")]
        fleet: FleetName,
        /// Where.
        #[serde_as(as = "Text")]
        marketplace: MarketplaceName,
        /// Who pays.
        #[serde_as(as = "Text")]
        account: AccountName,
        /// The vendor's id.
        #[serde_as(as = "Text")]
        id: InstanceId,
        /// How many GPUs it has.
        gpus: u32,
        /// What it is billed or was to cost at most, whichever is more.
        #[serde_as(as = "Decimal")]
        rate: HourlyRate,
    },

    /// A VM of ours is to be deleted; nothing was sent yet.
    DeleteIntended {
        /// Which.
        #[serde_as(as = "Text")]
        name: VmName,
        /// The vendor's id: a late VM shares its name with another.
        #[serde_as(as = "Text")]
        id: InstanceId,
        /// Why.
        #[serde_as(as = "Text")]
        reason: Teardown,
        /// Why, one line.
        #[serde_as(as = "Line")]
        why: String,
    },
    /// The delete was answered.
    DeleteSettled {
        /// Which.
        #[serde_as(as = "Text")]
        name: VmName,
        /// The vendor's id.
        #[serde_as(as = "Text")]
        id: InstanceId,
        /// How.
        #[serde_as(as = "Text")]
        answer: Answer,
        /// What was said.
        #[serde_as(as = "Line")]
        detail: String,
    },
    /// Nobody knows whether the delete was done.
    DeleteInDoubt {
        /// Which.
        #[serde_as(as = "Text")]
        name: VmName,
        /// The vendor's id.
        #[serde_as(as = "Text")]
        id: InstanceId,
        /// What went wrong.
        #[serde_as(as = "Line")]
        detail: String,
    },
    /// It is proven gone.
    Gone {
        /// Which.
        #[serde_as(as = "Text")]
        name: VmName,
        /// The vendor's id.
        #[serde_as(as = "Text")]
        id: InstanceId,
        /// What proved it.
        #[serde_as(as = "Text")]
        how: Ending,
    },

    /// An outbid VM's bid is to be raised (a write, for asking may move it); nothing was sent yet.
    RebidIntended {
        /// Which.
        #[serde_as(as = "Text")]
        name: VmName,
        /// The bid in force.
        #[serde_as(as = "Decimal")]
        from: HourlyRate,
        /// The bid to be.
        #[serde_as(as = "Decimal")]
        to: HourlyRate,
        /// Why, one line.
        #[serde_as(as = "Line")]
        why: String,
    },
    /// The rebid was answered.
    RebidSettled {
        /// Which.
        #[serde_as(as = "Text")]
        name: VmName,
        /// How.
        #[serde_as(as = "Text")]
        answer: BidAnswer,
        /// What was said.
        #[serde_as(as = "Line")]
        detail: String,
    },
    /// The rebid was turned away for a reason that is not the bid: it may be tried again.
    RebidNotMade {
        /// Which.
        #[serde_as(as = "Text")]
        name: VmName,
        /// What was said.
        #[serde_as(as = "Line")]
        detail: String,
    },
    /// Nobody knows which bid is in force: the higher counts.
    RebidInDoubt {
        /// Which.
        #[serde_as(as = "Text")]
        name: VmName,
        /// What went wrong.
        #[serde_as(as = "Line")]
        detail: String,
    },

    /// A VM is to be started; nothing was sent yet.
    StartIntended {
        /// Which.
        #[serde_as(as = "Text")]
        name: VmName,
        /// Why, one line.
        #[serde_as(as = "Line")]
        why: String,
    },
    /// The start was answered.
    StartSettled {
        /// Which.
        #[serde_as(as = "Text")]
        name: VmName,
        /// How.
        #[serde_as(as = "Text")]
        answer: Answer,
        /// What was said.
        #[serde_as(as = "Line")]
        detail: String,
    },
    /// The start was turned away for a reason that is not the VM: it may be tried again.
    StartNotMade {
        /// Which.
        #[serde_as(as = "Text")]
        name: VmName,
        /// What was said.
        #[serde_as(as = "Line")]
        detail: String,
    },
    /// Nobody knows whether it was started.
    StartInDoubt {
        /// Which.
        #[serde_as(as = "Text")]
        name: VmName,
        /// What went wrong.
        #[serde_as(as = "Line")]
        detail: String,
    },

    /// A VM is to be stopped, its GPU given back; nothing was sent yet.
    StopIntended {
        /// Which.
        #[serde_as(as = "Text")]
        name: VmName,
        /// Why.
        #[serde_as(as = "Text")]
        reason: Teardown,
        /// Why, one line.
        #[serde_as(as = "Line")]
        why: String,
    },
    /// The stop was answered.
    StopSettled {
        /// Which.
        #[serde_as(as = "Text")]
        name: VmName,
        /// How.
        #[serde_as(as = "Text")]
        answer: Answer,
        /// What was said.
        #[serde_as(as = "Line")]
        detail: String,
    },
    /// Nobody knows whether it was stopped.
    StopInDoubt {
        /// Which.
        #[serde_as(as = "Text")]
        name: VmName,
        /// What went wrong.
        #[serde_as(as = "Line")]
        detail: String,
    },

    /// A VM was seen to stand differently from before.
    Standing {
        /// Which.
        #[serde_as(as = "Text")]
        name: VmName,
        /// What it counted as.
        #[serde_as(as = "Text")]
        from: Standing,
        /// What it counts as.
        #[serde_as(as = "Text")]
        to: Standing,
        /// What changed it.
        #[serde_as(as = "Text")]
        cause: Cause,
    },

    /// The operator set a target.
    TargetSet {
        /// Whose.
        #[serde_as(as = "Text")]
        fleet: FleetName,
        /// How many GPUs.
        gpus: u32,
        /// Until when; `None`: until it is cleared.
        #[serde_as(as = "Option<Text>")]
        until: Option<Timestamp>,
    },
    /// The operator's target ends.
    TargetCleared {
        /// Whose.
        #[serde_as(as = "Text")]
        fleet: FleetName,
    },
    /// The operator paused.
    Paused {
        /// What.
        #[serde_as(as = "Text")]
        scope: Scope,
    },
    /// The operator resumed.
    Resumed {
        /// What.
        #[serde_as(as = "Text")]
        scope: Scope,
    },
    /// The operator evacuates.
    Evacuating {
        /// Whose VMs.
        #[serde_as(as = "Text")]
        fleet: FleetName,
    },
    /// The operator let a held edit pass.
    Applied {
        /// Whose.
        #[serde_as(as = "Text")]
        fleet: FleetName,
        /// Of the text that may pass.
        digest: String,
    },
    /// The operator wants a VM left alone, but for money.
    Protected {
        /// Which.
        #[serde_as(as = "Text")]
        name: VmName,
        /// Until when; `None`: for good.
        #[serde_as(as = "Option<Text>")]
        until: Option<Timestamp>,
    },

    /// The operator made a stray ours.
    StrayAdopted {
        /// The vendor's id.
        #[serde_as(as = "Text")]
        id: InstanceId,
        /// What it is and costs, as far as the market shows.
        vm: Box<Intent>,
    },
    /// The operator has a stray deleted; nothing was sent yet.
    StrayDeleteIntended {
        /// After which fleet it is named.
        #[serde_as(as = "Text")]
        fleet: FleetName,
        /// Where.
        #[serde_as(as = "Text")]
        marketplace: MarketplaceName,
        /// Under which name.
        #[serde_as(as = "Text")]
        name: VmName,
        /// The vendor's id.
        #[serde_as(as = "Text")]
        id: InstanceId,
    },
    /// The delete of a stray was answered.
    StrayDeleteSettled {
        /// After which fleet it is named.
        #[serde_as(as = "Text")]
        fleet: FleetName,
        /// Under which name.
        #[serde_as(as = "Text")]
        name: VmName,
        /// The vendor's id.
        #[serde_as(as = "Text")]
        id: InstanceId,
        /// How.
        #[serde_as(as = "Text")]
        answer: Answer,
        /// What was said.
        #[serde_as(as = "Line")]
        detail: String,
    },
    /// Nobody knows whether the stray was deleted: while it is listed, it is there.
    StrayDeleteInDoubt {
        /// After which fleet it is named.
        #[serde_as(as = "Text")]
        fleet: FleetName,
        /// Under which name.
        #[serde_as(as = "Text")]
        name: VmName,
        /// The vendor's id.
        #[serde_as(as = "Text")]
        id: InstanceId,
        /// What went wrong.
        #[serde_as(as = "Line")]
        detail: String,
    },

    /// A policy's text came into force.
    PolicyInForce {
        /// Whose.
        #[serde_as(as = "Text")]
        fleet: FleetName,
        /// The file.
        file: String,
        /// Of the text and what it refers to.
        digest: String,
        /// The text itself.
        text: String,
        /// The files it refers to, by the path written in it.
        attachments: BTreeMap<String, String>,
        /// What it was checked against, as its writer keeps it: a text means what it meant when it came into force.
        context: String,
    },
    /// A policy's file is gone: its fleet is left as it is.
    PolicyGone {
        /// Whose.
        #[serde_as(as = "Text")]
        fleet: FleetName,
    },
    /// Limits over all fleets came into force.
    LimitsInForce {
        /// Per hour.
        #[serde_as(as = "Option<Decimal>")]
        max_hourly_rate: Option<HourlyRate>,
        /// Per account.
        #[serde_as(as = "Decimal")]
        balance_floor: Usd,
        /// Over every policy's own.
        #[serde_as(as = "Text")]
        mode: Mode,
        /// `[accounts]`, where there is something to say; not told by the first journals.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        #[serde_as(as = "BTreeMap<Text, FromInto<AccountText>>")]
        accounts: BTreeMap<AccountName, AccountLimits>,
    },

    /// A deploy on a hostnode failed.
    HostFailed {
        /// Who would have paid.
        #[serde_as(as = "Text")]
        account: AccountName,
        /// Which.
        #[serde_as(as = "Text")]
        hostnode: HostnodeId,
        /// How.
        #[serde_as(as = "Text")]
        refusal: RefusalKind,
        /// The fleet's `cooldown_up`; it doubles with each failure in a row.
        cooldown_ms: u64,
    },

    /// An edit of a policy would tear down too much: until `apply`, or until the text changes, it is not in force. That is told,
    /// so that a restart does not judge it anew.
    EditHeld {
        /// Whose.
        #[serde_as(as = "Text")]
        fleet: FleetName,
        /// The SHA-256 of the text that is held; `None`: the edit was taken back.
        digest: Option<String>,
    },
    /// An edit of the limits over all fleets would tear down too much: until `apply` for these fleets, or until limits come
    /// into force (the same again, where it was taken back), it is not in force. Told for the same reason.
    LimitsHeld {
        /// What it is known by.
        digest: String,
        /// Of which it would let too much go.
        #[serde_as(as = "BTreeSet<Text>")]
        fleets: BTreeSet<FleetName>,
    },

    /// Somebody set the machine's clock. What was remembered by it moves with it; see `ledger::moved`.
    ClockSet {
        /// Milliseconds that it was set forwards; 0: it was set back, and nothing remembered lies in the future any more.
        forwards_ms: u64,
    },

    /// More or fewer GPUs than before are missing from a fleet's target.
    Missing {
        /// Whose.
        #[serde_as(as = "Text")]
        fleet: FleetName,
        /// How many.
        gpus: u32,
        /// How many serve on demand.
        on_demand: u32,
    },

    /// What all fleets cost so far: totals, so that only the newest matters.
    Accrued {
        /// The moment up to which it is counted.
        #[serde_as(as = "Text")]
        until: Timestamp,
        /// By fleet.
        #[serde_as(as = "BTreeMap<Text, _>")]
        fleets: BTreeMap<FleetName, Tally>,
        /// The same, by the account that pays; not told by the first journals.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        #[serde_as(as = "BTreeMap<Text, _>")]
        accounts: BTreeMap<AccountName, Tally>,
    },

    /// What one tick decided, and why. Not folded.
    Decision {
        /// What `explain` calls it.
        id: String,
        /// Whose.
        #[serde_as(as = "Option<Text>")]
        fleet: Option<FleetName>,
        /// What caused the tick.
        #[serde_as(as = "Line")]
        cause: String,
        /// What was seen and weighed, as JSON text.
        report: String,
        /// What was to be done, as JSON text.
        actions: String,
        /// The rows of the recording that show what it was made on; not told by the first journals, nor without one.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        rounds: Vec<u64>,
    },
    /// Something worth telling. Not folded.
    Event {
        /// Whose.
        #[serde_as(as = "Option<Text>")]
        fleet: Option<FleetName>,
        /// The VM, hostnode, marketplace or file it is about.
        #[serde_as(as = "Option<Line>")]
        subject: Option<String>,
        /// What happened, a word.
        #[serde_as(as = "Line")]
        what: String,
        /// One line.
        #[serde_as(as = "Line")]
        detail: String,
    },
}

impl Record {
    /// The canonical encoding.
    ///
    /// # Errors
    /// One line for a person, should a value not be one that JSON can say.
    pub fn encode(&self) -> Result<String, String> {
        serde_json::to_string(self).map_err(|error| error.to_string())
    }

    /// Reads the canonical encoding.
    ///
    /// # Errors
    /// One line for a person: what is missing or not understood.
    pub fn decode(body: &str) -> Result<Self, String> {
        serde_json::from_str(body).map_err(|error| error.to_string())
    }
}
