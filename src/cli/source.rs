//! Where an answer comes from: the running daemon where it answers, else one look of our own.
//!
//! Both give the same views. Without a daemon the state is opened read-only (one that does not exist yet is empty and is
//! not made), the marketplaces are only read, and looking keeps to a time box.

use super::{
    Context,
    args::Asking,
    client::Client,
    config,
    daemon::{self, Making},
    failure::Failure,
    probe, reach,
};
use crate::{
    admin::{
        history::{self, Wanted},
        show,
        views::{DecisionView, DecisionsView, InstanceView, InstancesView, OffersView, PlanView, WhyNotView},
        why_not,
    },
    engine::{Cause, Role, Status, what_if},
    io::{
        clock::{Clock, SystemClock},
        files::{Disk, Files},
        store::{Overlay, SqliteStore},
    },
    model::{FleetName, HostnodeId, MarketplaceName, Timestamp, time},
    plan::{Plan, Situation},
    policy::{self, Policy},
    settings::Settings,
};
use serde::Serialize;
use serde_json::json;
use std::{path::Path, sync::Arc, time::Duration};

/// What a policy file asks, as it goes to a daemon or to the check.
///
/// # Errors
/// When the file cannot be read.
pub fn gathered(file: &Path) -> Result<policy::Source, Failure> {
    let text = Disk.read(file).map_err(Failure::wrong)?;
    let folder = file.parent().unwrap_or(Path::new(""));
    Ok(policy::gather(&file.display().to_string(), &text, &mut |path| Disk.read(&folder.join(path))))
}

/// Who answers.
#[derive(Debug)]
pub enum Source {
    /// The running daemon.
    Daemon {
        /// It.
        client: Client,
        /// How long it may take.
        within: Duration,
    },
    /// Ourselves.
    Offline(Box<Offline>),
}

/// The state and the credentials, without a daemon.
#[derive(Debug)]
pub struct Offline {
    settings: Settings,
    within: Duration,
}

impl Source {
    /// The daemon, if it answers and may be asked.
    ///
    /// # Errors
    /// When a daemon was named and does not answer, or the settings are wrong.
    pub async fn open(context: &Context, asking: &Asking) -> Result<Self, Failure> {
        let within = asking.within;
        if asking.offline {
            return Ok(Self::Offline(Box::new(Offline { settings: config::complete(context)?, within })));
        }
        let client = reach::daemon(context, &asking.reach)?;
        if asking.reach.url.is_some() || client.answers().await {
            return Ok(Self::Daemon { client, within });
        }
        Ok(Self::Offline(Box::new(Offline { settings: config::complete(context)?, within })))
    }

    /// What would be done now.
    ///
    /// # Errors
    /// When it cannot be asked; so for all of these.
    pub async fn plan(&self, context: &Context, fleet: Option<&FleetName>) -> Result<PlanView, Failure> {
        match self {
            Self::Daemon { client, within } => Ok(client.view("plan", of(fleet), *within).await?),
            Self::Offline(offline) => {
                let looked = offline.look(None).await?;
                let (situation, plan) = offline.seen(context, &looked, fleet)?;
                Ok(show::plan(situation, plan, fleet))
            }
        }
    }

    /// What would be done now were a policy file in force.
    ///
    /// # Errors
    /// See [`Source::plan`]; every fault of the file.
    pub async fn plan_of(&self, context: &Context, file: &Path) -> Result<PlanView, Failure> {
        let source = gathered(file)?;
        let settings = config::check(context).ok().and_then(|checked| checked.draft);
        let checked = settings.map(|draft| policy::check(&source, &draft.context));
        if let Some(checked) = &checked {
            if !checked.faults.is_empty() {
                return Err(config::faulty(&checked.faults));
            }
            for warning in config::lines(&checked.warnings) {
                context.warn(&warning);
            }
        }
        let edit = checked.and_then(|checked| checked.policy);
        match self {
            Self::Daemon { client, within } => {
                let body = json!({ "policy": source.text, "file": source.file, "attachments": source.attachments });
                let mut plan: PlanView = client.post("plan", &body, *within).await?;
                if let Some(edit) = edit {
                    plan.fleets.retain(|fleet| fleet.fleet == edit.fleet.as_str());
                }
                Ok(plan)
            }
            Self::Offline(offline) => {
                let fleet = edit.as_ref().map(|edit| edit.fleet.clone());
                let looked = offline.look(edit).await?;
                let (situation, plan) = offline.seen(context, &looked, None)?;
                Ok(show::plan(situation, plan, fleet.as_ref()))
            }
        }
    }

    /// Candidates.
    ///
    /// # Errors
    /// See [`Source::plan`].
    pub async fn offers(
        &self,
        context: &Context,
        fleet: Option<&FleetName>,
        candidates_max: usize,
    ) -> Result<OffersView, Failure> {
        match self {
            Self::Daemon { client, within } => {
                let mut query = of(fleet);
                query.push(("limit".into(), candidates_max.to_string()));
                Ok(client.view("offers", query, *within).await?)
            }
            Self::Offline(offline) => {
                let looked = offline.look(None).await?;
                let (_, plan) = offline.seen(context, &looked, fleet)?;
                Ok(show::offers(plan, looked.at, fleet, candidates_max))
            }
        }
    }

    /// Every VM, of one fleet or of all. Without a daemon and without a market it is what the journal knows.
    ///
    /// # Errors
    /// See [`Source::plan`].
    pub async fn instances(&self, context: &Context, fleet: Option<&FleetName>) -> Result<InstancesView, Failure> {
        match self {
            Self::Daemon { client, within } => Ok(client.view("instances", of(fleet), *within).await?),
            Self::Offline(offline) => {
                let looked = offline.look(None).await?;
                for unseen in unseen(&looked) {
                    context.warn(&format!("warning: {unseen}; what is shown is what the journal knows"));
                }
                let mut view = show::instances(&looked, now());
                if let Some(fleet) = fleet {
                    known(&looked, fleet)?;
                    view.instances.retain(|instance| instance.fleet == fleet.as_str());
                }
                Ok(view)
            }
        }
    }

    /// What became of a hostnode.
    ///
    /// # Errors
    /// See [`Source::plan`].
    pub async fn why_not(&self, context: &Context, hostnode: &HostnodeId) -> Result<WhyNotView, Failure> {
        match self {
            Self::Daemon { client, within } => {
                let path = format!("why-not/{}", super::client::segment(hostnode.as_str()));
                Ok(client.view(&path, Vec::new(), *within).await?)
            }
            Self::Offline(offline) => {
                let looked = offline.look(None).await?;
                let (situation, plan) = offline.seen(context, &looked, None)?;
                Ok(why_not::why_not(situation, plan, hostnode))
            }
        }
    }

    /// The history, newest first.
    ///
    /// # Errors
    /// See [`Source::plan`].
    pub async fn history(
        &self,
        fleet: Option<&FleetName>,
        kind: Option<&str>,
        since: Option<Duration>,
    ) -> Result<DecisionsView, Failure> {
        match self {
            // The daemon's clock is the one that dated its history.
            Self::Daemon { client, within } => {
                let mut query = of(fleet);
                query.extend(since.map(|since| ("since".into(), format!("{}s", since.as_secs()))));
                query.extend(kind.map(|kind| ("kind".into(), kind.to_owned())));
                Ok(client.view("decisions", query, *within).await?)
            }
            Self::Offline(offline) => offline.told(&Wanted {
                fleet: fleet.map(ToString::to_string),
                subject: None,
                kind: kind.map(str::to_owned),
                since: since.map(|since| time::before(now(), since)),
                rows_max: history::ROWS,
            }),
        }
    }

    /// The story of a VM, by name or id, or of a decision.
    ///
    /// # Errors
    /// See [`Source::plan`]; when nobody knows the id.
    pub async fn explain(&self, id: &str) -> Result<Story, Failure> {
        match self {
            Self::Daemon { client, within } => {
                let seen: InstancesView = client.view("instances", Vec::new(), *within).await?;
                let is_meant = |instance: &InstanceView| instance.name == id || instance.id.as_deref() == Some(id);
                let instance = seen.instances.into_iter().find(is_meant);
                let subject = instance.as_ref().map_or(id, |instance| &instance.name).to_owned();
                let query = vec![("subject".into(), subject), ("limit".into(), history::ROWS_MAX.to_string())];
                let DecisionsView { decisions } = client.view("decisions", query, *within).await?;
                if instance.is_some() || !decisions.is_empty() {
                    return Ok(Story { instance, decisions });
                }
                let path = format!("decisions/{}", super::client::segment(id));
                let DecisionsView { decisions } = client.view(&path, Vec::new(), *within).await?;
                Ok(Story { instance, decisions })
            }
            Self::Offline(offline) => {
                let subject = Some(id.to_owned());
                let wanted = Wanted { subject, rows_max: history::ROWS_MAX, ..Wanted::default() };
                let DecisionsView { mut decisions } = offline.told(&wanted)?;
                if decisions.is_empty() {
                    let found = history::find(&offline.store()?, id);
                    decisions = found.map_err(|problem| Failure::failed(problem.detail))?;
                }
                Ok(Story { instance: None, decisions })
            }
        }
    }
}

/// What is known of a VM or a decision.
#[derive(Debug, Serialize)]
pub struct Story {
    /// The VM as it is now, where it is one and a daemon sees it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance: Option<InstanceView>,
    /// What happened, newest first.
    pub decisions: Vec<DecisionView>,
}

fn of(fleet: Option<&FleetName>) -> Vec<(String, String)> {
    fleet.map(|fleet| ("fleet".to_owned(), fleet.to_string())).into_iter().collect()
}

fn now() -> Timestamp {
    SystemClock::real().now()
}

impl Offline {
    fn store(&self) -> Result<SqliteStore, Failure> {
        SqliteStore::open_read_only(&self.settings.state)
            .map_err(|error| Failure::failed("cannot read the state").caused_by(&error))
    }

    fn told(&self, wanted: &Wanted) -> Result<DecisionsView, Failure> {
        let decisions = history::search(&self.store()?, wanted).map_err(|problem| Failure::failed(problem.detail))?;
        Ok(DecisionsView { decisions })
    }

    /// One look at the market and what it leads to; nothing is changed. With an edit, as if that were in force.
    async fn look(&self, edit: Option<Policy>) -> Result<Arc<Status>, Failure> {
        let store = Overlay::over(Arc::new(self.store()?))
            .map_err(|error| Failure::failed("cannot read the state").caused_by(&error))?;
        let settings = self.settings.clone();
        let mut daemon = daemon::assemble(Making {
            role: Role::LookOnly,
            clock: Arc::new(SystemClock::real()),
            store: Arc::new(store),
            recorder: None,
            reread: Box::new(move || Ok(settings.clone())),
            tick_time_max: self.within,
            settings: self.settings.clone(),
        })
        .await?;
        // A look that takes longer than it may shows nothing: what was half seen must not be taken for a plan.
        let _ = tokio::time::timeout(self.within.saturating_mul(2), daemon.engine.tick(Cause::Startup)).await;
        let status = daemon.handle.status();
        match (edit, &status.situation) {
            (Some(policy), Some(situation)) => {
                let (situation, plan) = what_if(situation, policy);
                let status = Status { situation: Some(situation.into()), plan: Some(plan.into()), ..(*status).clone() };
                Ok(Arc::new(status))
            }
            (Some(_) | None, _) => Ok(status),
        }
    }

    /// What was looked at, as far as it was seen: of a market that nobody saw there is no plan, and nothing to do there
    /// would be a guess.
    fn seen<'s>(
        &self,
        context: &Context,
        looked: &'s Status,
        fleet: Option<&FleetName>,
    ) -> Result<(&'s Situation, &'s Plan), Failure> {
        let both = looked.situation.as_deref().zip(looked.plan.as_deref()).ok_or_else(|| {
            let told = Failure::failed(format!("the market could not be seen within {}", time::show(self.within)));
            looked.troubles.iter().fold(told, |told, trouble| told.because(trouble.clone()))
        })?;
        let unseen = unseen(looked);
        if !unseen.is_empty() && unseen.len() == looked.markets.len() {
            let told = Failure::failed("no marketplace could be seen");
            return Err(unseen.into_iter().fold(told, Failure::because));
        }
        for unseen in unseen {
            context.warn(&format!("warning: {unseen}; it is left out of what follows"));
        }
        fleet.map_or(Ok(()), |fleet| known(looked, fleet))?;
        Ok(both)
    }
}

/// Marketplaces that could not be looked at, and why.
fn unseen(looked: &Status) -> Vec<String> {
    let failed = |(name, market): (&MarketplaceName, &crate::engine::status::MarketStatus)| {
        market.failed.as_ref().map(|failed| probe::remedy(name, &failed.value))
    };
    looked.markets.iter().filter_map(failed).collect()
}

/// A fleet that nobody knows is a slip, not an empty answer.
fn known(looked: &Status, fleet: &FleetName) -> Result<(), Failure> {
    if looked.fleets.contains_key(fleet) {
        return Ok(());
    }
    let known: Vec<&str> = looked.fleets.keys().map(FleetName::as_str).collect();
    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    Err(Failure::failed(format!("there is no fleet {fleet}; there are: {known}")))
}
