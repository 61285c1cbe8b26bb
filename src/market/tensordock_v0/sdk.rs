//! The calls of TensorDock v0 that no fleet needs: with the [`Dialect`](crate::market::Dialect) they are all 22.
//!
//! Whatever the public Python SDK of v0 can do stands in this table, and the two calls that it lacks; each row's tests
//! are in this folder, `tests/python_sdk` drives the SDK's own methods against the simulated marketplace, and
//! `tests/public_clients` what others wrote.
//!
//! | Python SDK | here | `spotscale api` | test |
//! |---|---|---|---|
//! | `authorization.test_authorization` | `Dialect::whoami` | `auth-test` | `credentials_are_needed_and_taken_from_anywhere` |
//! | `authorization.list_authorizations` | [`TensordockV0::authorizations`] | `auth-list` | `the_account_is_told` |
//! | `virtual_machines.get_available_hostnodes` | `Dialect::hostnodes`, [`TensordockV0::hostnodes_with`] | `hostnodes` | `machines_can_be_asked_for_by_what_they_have` |
//! | `virtual_machines.get_hostnode_details` | `Dialect::hostnode` | `hostnode` | `a_vms_whole_life_reads_back_as_the_world_has_it` |
//! | `virtual_machines.deploy_vm` | `Dialect::deploy` | `deploy` | `a_deploy_is_judged_as_strictly_as_the_real_one` |
//! | `virtual_machines.validate_spot_price_new` | `Dialect::validate` | `validate-new` | `money_and_bids_are_answered` |
//! | `virtual_machines.validate_spot_price_existing` | `Dialect::rebid` | `validate-existing` | `a_vms_whole_life_reads_back_as_the_world_has_it` |
//! | `virtual_machines.list_vms` | `Dialect::instances` | `list` | `every_status_survives_the_way_there_and_back` |
//! | `virtual_machines.get_vm_details` | `Dialect::instance` | `get` | `a_vms_whole_life_reads_back_as_the_world_has_it` |
//! | `virtual_machines.start_vm` | `Dialect::start` | `start` | `a_vms_whole_life_reads_back_as_the_world_has_it` |
//! | `virtual_machines.stop_vm` | `Dialect::stop` | `stop` | `a_vms_whole_life_reads_back_as_the_world_has_it` |
//! | `virtual_machines.modify_vm` | [`TensordockV0::modify`] | `modify` | `a_stopped_vm_gets_another_size_and_another_price` |
//! | `virtual_machines.delete_vm` | `Dialect::terminate` | `delete` | `a_vms_whole_life_reads_back_as_the_world_has_it` |
//! | – | [`TensordockV0::deploy_instant`] | `deploy-instant` | `an_instant_vm_is_shown_and_had` |
//! | – | [`TensordockV0::instant_vms`] | `instant-vms` | `an_instant_vm_is_shown_and_had` |
//! | `containers.deploy_container` | [`TensordockV0::deploy_container`] | `container-deploy` | `containers_are_no_longer_supported` |
//! | `containers.scale_container` | [`TensordockV0::scale_container`] | `container-scale` | `containers_are_no_longer_supported` |
//! | `containers.stop_container` | [`TensordockV0::stop_container`] | `container-stop` | `containers_are_no_longer_supported` |
//! | `containers.get_container_replicas` | [`TensordockV0::container_replicas`] | `container-replicas` | `containers_are_no_longer_supported` |
//! | `billing.get_balance` | `Dialect::balance` | `balance` | `money_and_bids_are_answered` |
//! | `billing.get_revenue` | [`TensordockV0::revenue`] | `revenue` | `the_account_is_told` |
//! | `billing.get_monthly_summary` | [`TensordockV0::monthly_summary`] | `summary` | `a_months_account_is_what_the_wallet_paid` |
//!
//! **Deprecated by the vendor:** the four calls about containers; "we no longer support containers" (documented, S1).

use super::{
    TensordockV0,
    answer::Answer,
    calls::Filters,
    nouns::{
        Authorization, ContainerOrder, HostRevenue, InstantOrder, InstantVms, Modification, Month, MonthlySummary,
        Replica, RevenueQuery,
    },
    read, read_done, read_hostnodes, read_made,
};
use crate::{
    io::net::{Request, Response},
    market::{Deployed, Exchange, Read, hush::scanned, json::Object, raw::is_plain},
    model::{Hostnode, InstanceId, Refusal, Scan},
};
use secrecy::ExposeSecret;

/// An answer that may leave `success` out, as those about money do (documented, S1).
fn accepted<T>(response: &Response, read: fn(&Object<'_>) -> Result<T, Refusal>) -> Result<T, Refusal> {
    read(&Answer::read(response).accepted()?)
}

/// The fields that are there.
fn there<'a>(fields: impl IntoIterator<Item = (&'a str, Option<String>)>) -> Vec<(&'a str, String)> {
    fields.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

fn json_list<T: AsRef<str>>(list: &[T]) -> String {
    let texts = list.iter().map(|text| serde_json::Value::from(text.as_ref()));
    serde_json::Value::Array(texts.collect()).to_string()
}

impl TensordockV0 {
    fn form(&self, path: &str, fields: &[(&str, String)]) -> Request {
        let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        self.calls.form(path, &fields)
    }

    /// All authorizations of the organisation, without their secrets.
    pub fn authorizations(&self) -> Exchange<Scan<Authorization>> {
        Exchange::reads("authorizations", self.form("/api/v0/auth/list", &[]), |request, response| {
            Ok(scanned(request, response, accepted(response, read::authorizations)?))
        })
    }

    /// The machines that pass the vendor's filters. Whoever relies on them filters again: S1 and S2 disagree about which
    /// there are.
    pub fn hostnodes_with(&self, filters: Filters) -> Exchange<Scan<Hostnode>> {
        Exchange::reads("hostnodes", self.calls.hostnodes(filters), read_hostnodes)
    }

    /// Gives a stopped VM another size, and with it another price. It "must be of type network storage" (documented, S1).
    pub fn modify(&self, id: &InstanceId, to: &Modification) -> Exchange<()> {
        let Modification { gpu_model, gpus, vcpus, ram_gb, storage_gb } = to;
        let number = |number: &Option<u32>| number.map(|number| number.to_string());
        let fields = there([
            ("server_id", Some(id.to_string())),
            ("gpu_model", gpu_model.as_ref().map(ToString::to_string)),
            ("gpu_count", number(gpus)),
            ("ram", number(ram_gb)),
            ("vcpus", number(vcpus)),
            ("storage", number(storage_gb)),
        ]);
        Exchange::writes("modify", self.form("/api/v0/client/modify/single", &fields), read_done)
    }

    /// The VMs that can be had at once.
    pub fn instant_vms(&self) -> Exchange<InstantVms> {
        let request = self.calls.get("/api/v0/client/deploy/instantvms".into(), Vec::new());
        Exchange::reads("instant_vms", request, |request, response| {
            let InstantVms { sizes, offers } = accepted(response, read::instant_vms)?;
            let (sizes, offers) = (scanned(request, response, sizes), scanned(request, response, offers));
            Ok(InstantVms { sizes, offers })
        })
    }

    /// Takes an instant VM. The answer has its id and nothing else (documented, S1).
    pub fn deploy_instant(&self, order: &InstantOrder) -> Exchange<Deployed> {
        let InstantOrder { instant, name, password, ssh_key, cloud_init } = order;
        let fields = there([
            ("instance_uuid", Some(instant.to_string())),
            ("name", Some(name.to_string())),
            ("password", password.as_ref().map(|password| password.expose_secret().to_owned())),
            ("ssh_key", ssh_key.as_ref().map(|key| key.trim().to_owned())),
            ("cloudinit_script", cloud_init.as_ref().map(|text| super::calls::one_line(text))),
        ]);
        Exchange::writes("deploy_instant", self.form("/api/v0/client/deployinstant/single", &fields), read_made)
    }

    /// Deploys a container. **Deprecated by the vendor.** The documents leave its URL empty; S2's is sent.
    pub fn deploy_container(&self, order: &ContainerOrder) -> Exchange<()> {
        let ContainerOrder {
            display_name,
            project_id,
            image_name,
            gpus,
            gpu_models,
            replicas,
            vcpus,
            ram_gb,
            storage_gb,
            networking_port,
            environment,
            volumes,
            arguments,
            rate_max,
        } = order;
        // As S1's example writes the list.
        let models: Vec<String> = gpu_models.iter().map(|model| format!("'{model}'")).collect();
        let filled = |is_empty: bool, text: String| if is_empty { None } else { Some(text) };
        let fields = there([
            ("display_name", Some(display_name.clone())),
            ("project_id", Some(project_id.clone())),
            ("image_name", Some(image_name.clone())),
            // "Only public images are currently supported" (documented, S1).
            ("registry_type", Some("public".to_owned())),
            ("gpu_count", Some(gpus.to_string())),
            ("gpu_models", Some(format!("[{}]", models.join(",")))),
            ("replicas", Some(replicas.to_string())),
            ("ram", Some(ram_gb.to_string())),
            ("vcpus", Some(vcpus.to_string())),
            ("storage", Some(storage_gb.to_string())),
            ("networking_port", Some(networking_port.to_string())),
            ("environment_variables", filled(environment.is_empty(), serde_json::json!(environment).to_string())),
            ("volumes", filled(volumes.is_empty(), json_list(volumes))),
            ("arguments", filled(arguments.is_empty(), json_list(arguments))),
            ("max_vm_rate_hourly", rate_max.map(|rate| rate.to_string())),
        ]);
        Exchange::writes("deploy_container", self.form("/api/v0/client/container/deploy", &fields), read_done)
    }

    /// Adds replicas to a container, or with a negative number takes some away. **Deprecated by the vendor.**
    pub fn scale_container(&self, container: &str, replicas: i32) -> Exchange<()> {
        let fields = [("container_id", container.to_owned()), ("replicas", replicas.to_string())];
        Exchange::writes("scale_container", self.form("/api/v0/client/container/scale", &fields), read_done)
    }

    /// Ends a container. **Deprecated by the vendor.**
    pub fn stop_container(&self, container: &str) -> Exchange<()> {
        let fields = [("container_id", container.to_owned())];
        Exchange::writes("stop_container", self.form("/api/v0/client/container/stop", &fields), read_done)
    }

    /// A container's replicas; `None` for an id that could not stand in a path. **Deprecated by the vendor.**
    pub fn container_replicas(&self, container: &str) -> Option<Exchange<Scan<Replica>>> {
        let path = is_plain(container).then(|| format!("/api/v0/client/container/{container}/replicas"))?;
        let read: Read<Scan<Replica>> =
            |request, response| Ok(scanned(request, response, accepted(response, read::replicas)?));
        Some(Exchange::reads("container_replicas", self.calls.get(path, Vec::new()), read))
    }

    /// What a hosting provider's machines earn, USD. A customer has none.
    pub fn revenue(&self, query: &RevenueQuery) -> Exchange<Scan<HostRevenue>> {
        let RevenueQuery { start, end, hostnode } = query;
        let fields = there([
            // How a moment is written is not documented; the SDK's example has RFC 3339.
            ("start_timestamp", start.map(|moment| moment.to_string())),
            ("end_timestamp", end.map(|moment| moment.to_string())),
            ("hostnode_id", hostnode.as_ref().map(ToString::to_string)),
        ]);
        Exchange::reads("revenue", self.form("/api/v0/billing/revenue", &fields), |request, response| {
            let mut hosts = scanned(request, response, accepted(response, read::revenue)?);
            for host in hosts.items.iter_mut() {
                host.vms = scanned(request, response, std::mem::take(&mut host.vms));
            }
            Ok(hosts)
        })
    }

    /// A month's account, line by line.
    pub fn monthly_summary(&self, month: Month) -> Exchange<MonthlySummary> {
        let request = self.form("/api/v0/billing/summary", &[("period", month.to_string())]);
        Exchange::reads("monthly_summary", request, |request, response| {
            let mut month = accepted(response, read::summary)?;
            for lines in month.transactions.values_mut() {
                *lines = scanned(request, response, std::mem::take(lines));
            }
            Ok(month)
        })
    }
}
