//! The operator's levers: what each one records, and why it may be refused.
//!
//! A lever changes the journal and nothing else; the tick that follows sees what is ordered and plans. Only what the
//! journal or the newest look knows can be named.

use super::{
    Engine,
    events::{Lever, LeverError, Scope},
};
use crate::{
    ledger::{
        fleet::Stray,
        record::{Intent, Record},
    },
    model::{
        FleetName, HourlyRate, InstanceId, MarketplaceName, PriceType, Timestamp, VmName,
        offer::{Location, Rates, Shape},
        time,
    },
    policy::terms::Mode,
};
use std::collections::BTreeMap;

/// What an instance named on a command line turned out to be.
enum Named {
    Member { name: VmName, fleet: FleetName },
    Stray(Box<Stray>, FleetName),
}

impl Engine {
    /// Moves a lever; the answer is one line for a person.
    pub async fn pull(&mut self, lever: Lever) -> Result<String, LeverError> {
        let now = self.clock.now();
        let (records, told) = match lever {
            Lever::Target { fleet, gpus, lasting } => {
                self.known(&fleet)?;
                let until = lasting.map(|lasting| time::after(now, lasting));
                let told = match until {
                    Some(until) => format!("{fleet}: target {gpus} GPUs until {until:.0}"),
                    None => format!("{fleet}: target {gpus} GPUs until it is cleared"),
                };
                (vec![Record::TargetSet { fleet, gpus, until }], told)
            }
            Lever::ClearTarget { fleet } => {
                self.known(&fleet)?;
                let told = format!("{fleet}: back to the target of its policy");
                (vec![Record::TargetCleared { fleet }], told)
            }
            Lever::Pause(scope) => {
                self.known_scope(&scope)?;
                let told = format!("{}: paused", about(&scope));
                (vec![Record::Paused { scope }], told)
            }
            Lever::Resume(scope) => {
                self.known_scope(&scope)?;
                if let Scope::Fleet(fleet) = &scope
                    && self.law.statutes.get(fleet).is_some_and(|statute| statute.gone)
                {
                    return Err(LeverError::Refused(format!(
                        "{fleet}: its policy file is gone, so nobody says what to hold; put the file back, or evacuate it"
                    )));
                }
                let told = format!("{}: resumed", about(&scope));
                (vec![Record::Resumed { scope }], told)
            }
            Lever::Evacuate(fleet) => {
                let (fleets, left): (Vec<FleetName>, Vec<FleetName>) = match fleet {
                    Some(fleet) => {
                        self.known(&fleet)?;
                        self.may_change("evacuate", Some(&fleet))?;
                        (vec![fleet], Vec::new())
                    }
                    None => {
                        self.may_change("evacuate", None)?;
                        self.law.statutes.keys().cloned().partition(|fleet| !self.is_observed(fleet))
                    }
                };
                if fleets.is_empty() {
                    return Err(LeverError::Refused("there is no fleet that may be evacuated".into()));
                }
                let mut told = format!("{}: evacuating, then paused until resumed", listed(&fleets));
                if !left.is_empty() {
                    told += &format!("; not {}: in observe mode", listed(&left));
                }
                (fleets.into_iter().map(|fleet| Record::Evacuating { fleet }).collect(), told)
            }
            Lever::Apply(fleet) => {
                self.known(&fleet)?;
                return self.apply(&fleet).await;
            }
            Lever::Adopt { instance, fleet } => {
                self.may_change("adopt", Some(&fleet))?;
                self.known(&fleet)?;
                match self.find(&instance)? {
                    Named::Member { name, fleet } => {
                        return Err(LeverError::Refused(format!("{name} is {fleet}'s already")));
                    }
                    Named::Stray(stray, _) => {
                        let told = format!("{}: adopted into {fleet}", stray.instance.name);
                        let id = stray.instance.id.clone();
                        let vm = Box::new(adopted(&stray, fleet, now)?);
                        (vec![Record::StrayAdopted { id, vm }], told)
                    }
                }
            }
            Lever::Delete { instance } => match self.find(&instance)? {
                Named::Member { name, fleet } => {
                    self.may_change("delete", Some(&fleet))?;
                    return self.delete_member(&name).await;
                }
                Named::Stray(stray, fleet) => {
                    self.may_change("delete", Some(&fleet))?;
                    return self.delete_stray(&stray, fleet).await;
                }
            },
            Lever::Protect { instance, lasting } => match self.find(&instance)? {
                Named::Member { name, .. } => {
                    let until = lasting.map(|lasting| time::after(now, lasting));
                    let told = match (lasting, until) {
                        (Some(lasting), _) if lasting.is_zero() => format!("{name}: no longer protected"),
                        (_, Some(until)) => format!("{name}: protected until {until:.0}, but for money"),
                        (_, None) => format!("{name}: protected, but for money"),
                    };
                    (vec![Record::Protected { name, until }], told)
                }
                Named::Stray(stray, _) => {
                    return Err(LeverError::Refused(format!(
                        "{} is not in the journal and nothing ever lets it go; adopt it first",
                        stray.instance.name
                    )));
                }
            },
            Lever::Reload => {
                self.reload().await;
                return Ok("settings and policies were read again".into());
            }
        };
        self.note(now, records).await?;
        Ok(told)
    }

    async fn note(&mut self, now: Timestamp, records: Vec<Record>) -> Result<(), LeverError> {
        let told: Vec<Record> = records.iter().filter_map(told).collect();
        let records = records.into_iter().chain(told).collect();
        self.book.lock().await.append(now, records).map_err(|error| LeverError::Failed(error.to_string()))?;
        Ok(())
    }

    fn known(&self, fleet: &FleetName) -> Result<(), LeverError> {
        if self.law.statutes.contains_key(fleet) {
            return Ok(());
        }
        let known: Vec<&str> = self.law.statutes.keys().map(FleetName::as_str).collect();
        Err(LeverError::NotFound(format!("there is no fleet {fleet}; there are: {}", known.join(", "))))
    }

    fn known_scope(&self, scope: &Scope) -> Result<(), LeverError> {
        match scope {
            Scope::All => Ok(()),
            Scope::Fleet(fleet) => self.known(fleet),
            Scope::Marketplace(marketplace) if self.settings.marketplaces.contains_key(marketplace) => Ok(()),
            Scope::Marketplace(marketplace) => {
                let known: Vec<&str> = self.settings.marketplaces.keys().map(MarketplaceName::as_str).collect();
                let known = known.join(", ");
                Err(LeverError::NotFound(format!("there is no marketplace {marketplace}; there are: {known}")))
            }
        }
    }

    /// In observe mode what would change the market is refused.
    fn may_change(&self, what: &str, fleet: Option<&FleetName>) -> Result<(), LeverError> {
        if self.mode() == Mode::Observe {
            let why = "the daemon only observes ([limits] mode, or --observe) and changes nothing";
            return Err(LeverError::Refused(format!("cannot {what}: {why}")));
        }
        match fleet {
            Some(fleet) if self.is_observed(fleet) => {
                Err(LeverError::Refused(format!("cannot {what}: {fleet} is in observe mode; set mode = \"act\" first")))
            }
            Some(_) | None => Ok(()),
        }
    }

    fn is_observed(&self, fleet: &FleetName) -> bool {
        self.law.statutes.get(fleet).is_some_and(|statute| statute.in_force.policy.mode == Mode::Observe)
    }

    fn find(&self, instance: &str) -> Result<Named, LeverError> {
        let mut found = Vec::new();
        for (fleet, joined) in &self.fleets {
            for member in joined.members.values() {
                let id = member.id.as_ref().map(InstanceId::as_str);
                if member.name.as_str() == instance || id == Some(instance) {
                    found.push(Named::Member { name: member.name.clone(), fleet: fleet.clone() });
                }
            }
            for stray in &joined.strays {
                if stray.instance.name.as_str() == instance || stray.instance.id.as_str() == instance {
                    found.push(Named::Stray(Box::new(stray.clone()), fleet.clone()));
                }
            }
        }
        match (found.pop(), found.is_empty()) {
            (Some(one), true) => Ok(one),
            (Some(_), false) => {
                Err(LeverError::Refused(format!("several instances are called {instance}; say which by its id")))
            }
            (None, _) => Err(LeverError::NotFound(format!(
                "{instance} is neither an instance of ours nor a stray; nothing else is ever touched"
            ))),
        }
    }
}

fn listed(fleets: &[FleetName]) -> String {
    fleets.iter().map(FleetName::as_str).collect::<Vec<_>>().join(", ")
}

/// What a pause is about, for people.
fn about(scope: &Scope) -> String {
    match scope {
        Scope::All => "all fleets".to_owned(),
        Scope::Fleet(fleet) => fleet.to_string(),
        Scope::Marketplace(marketplace) => format!("renting on {marketplace}"),
    }
}

/// What a lever leaves in the history.
fn told(record: &Record) -> Option<Record> {
    let (fleet, subject, what, detail) = match record {
        Record::TargetSet { fleet, gpus, until } => {
            let until = until.map(|until| format!(" until {until:.0}")).unwrap_or_default();
            (Some(fleet.clone()), None, "target_set", format!("the operator wants {gpus} GPUs{until}"))
        }
        Record::TargetCleared { fleet } => {
            (Some(fleet.clone()), None, "target_cleared", "the operator's target ended".to_owned())
        }
        Record::Paused { scope } => {
            (record.fleet().cloned(), Some(scope.to_string()), "paused", "the operator paused it".to_owned())
        }
        Record::Resumed { scope } => {
            (record.fleet().cloned(), Some(scope.to_string()), "resumed", "the operator resumed it".to_owned())
        }
        Record::Evacuating { fleet } => {
            (Some(fleet.clone()), None, "evacuating", "the operator tears all of it down".to_owned())
        }
        Record::StrayAdopted { id, vm } => {
            let detail = format!("the operator made the stray {id} ours");
            (Some(vm.fleet.clone()), Some(vm.name.to_string()), "adopted", detail)
        }
        Record::Protected { name, until } => {
            let until = until.map(|until| format!(" until {until:.0}")).unwrap_or_default();
            (None, Some(name.to_string()), "protected", format!("the operator protects it{until}"))
        }
        _ => return None,
    };
    Some(Record::Event { fleet, subject, what: what.to_owned(), detail })
}

/// What a stray becomes when it is ours. What the market does not show is taken at its worst.
fn adopted(stray: &Stray, fleet: FleetName, now: Timestamp) -> Result<Intent, LeverError> {
    let instance = &stray.instance;
    let lacks = |what: &str| {
        LeverError::Refused(format!("the marketplace does not say {what} of {}; it cannot be adopted", instance.name))
    };
    let quoted = instance.quoted.ok_or_else(|| lacks("the price"))?;
    let price_type = instance.price_type.unwrap_or(PriceType::OnDemand);
    Ok(Intent {
        name: instance.name.clone(),
        fleet,
        marketplace: stray.marketplace.clone(),
        account: stray.account.clone(),
        hostnode: instance.hostnode.clone().ok_or_else(|| lacks("the hostnode"))?,
        location: Location::default(),
        shape: Shape {
            gpu_model: instance.gpu_model.clone().ok_or_else(|| lacks("the GPU model"))?,
            gpus: instance.gpus,
            vcpus: 0,
            ram_gb: 0,
            storage_gb: 0,
        },
        price_type,
        bid: (price_type == PriceType::Spot).then_some(quoted.compute),
        agreed: quoted,
        on_demand: Rates { compute: quoted.compute.max(HourlyRate::ZERO), storage: quoted.storage },
        image: String::new(),
        ports: BTreeMap::new(),
        replaces: None,
        why: format!("adopted by the operator at {now:.0}"),
    })
}
