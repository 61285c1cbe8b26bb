//! The calls of TensorDock v2 that no fleet needs: with the [`Dialect`](crate::market::Dialect) they are all there are.
//!
//! | vendor's call | here | `spotscale api` | test |
//! |---|---|---|---|
//! | `POST /auth/test` | `Dialect::whoami`, [`TensordockV2::organization`] | `auth-test` | `credentials_are_needed_where_the_vendor_needs_them` |
//! | `GET /locations` | [`TensordockV2::places`] | `locations` | `a_vm_is_had_in_a_place_without_naming_a_machine` |
//! | `GET /hostnodes` | `Dialect::hostnodes`, [`TensordockV2::hostnodes_with`] | `hostnodes` | `machines_can_be_asked_for_by_what_they_have` |
//! | `GET /hostnodes/{uuid}` | `Dialect::hostnode` | `hostnode` | `a_vms_whole_life_reads_back_as_the_world_has_it` |
//! | `POST /instances` with `hostnode_id` | `Dialect::deploy`, [`TensordockV2::create`] | `create` | `a_create_is_judged_as_strictly_as_the_real_one` |
//! | `POST /instances` with `location_id` | [`TensordockV2::create`] | `create` | `a_vm_is_had_in_a_place_without_naming_a_machine` |
//! | `GET /instances` | `Dialect::instances` | `list` | `every_status_reads_back_as_the_vendor_shows_it` |
//! | `GET /instances/{id}` | `Dialect::instance` | `get` | `a_vms_whole_life_reads_back_as_the_world_has_it` |
//! | `POST /instances/{id}/start` | `Dialect::start` | `start` | `a_vms_whole_life_reads_back_as_the_world_has_it` |
//! | `POST /instances/{id}/stop` | `Dialect::stop` | `stop` | `a_vms_whole_life_reads_back_as_the_world_has_it` |
//! | `PUT /instances/{id}/modify` | [`TensordockV2::modify`] | `modify` | `a_stopped_vm_gets_another_size_and_another_price` |
//! | `DELETE /instances/{id}` | `Dialect::terminate` | `delete` | `a_vms_whole_life_reads_back_as_the_world_has_it` |
//! | `GET /secrets` | [`TensordockV2::secrets`] | `secrets` | `a_secret_is_kept_shown_used_and_forgotten` |
//! | `GET /secrets/{id}` | [`TensordockV2::secret`] | `secret` | `a_secret_is_kept_shown_used_and_forgotten` |
//! | `POST /secrets` | [`TensordockV2::keep_secret`] | `secret-create` | `a_secret_is_kept_shown_used_and_forgotten` |
//! | `DELETE /secrets/{id}` | [`TensordockV2::forget_secret`] | `secret-delete` | `a_secret_is_kept_shown_used_and_forgotten` |
//!
//! There is no call that changes a secret (recorded: PATCH is 405), and none for money: the balance is v0's.

use super::{
    TensordockV2,
    answer::Answer,
    calls::Filters,
    nouns::{Creation, Modification, NewSecret, Opened, Organization, Place, Secret, SecretId},
    read, read_created, read_done, read_gone, read_hostnodes,
};
use crate::{
    market::{Deployed, Exchange, Read, hush::scanned},
    model::{Hostnode, InstanceId, Lookup, Refusal, Scan},
};

impl TensordockV2 {
    /// Whose token it is.
    pub fn organization(&self) -> Exchange<Organization> {
        Exchange::reads("organization", self.calls.test(), |_, response| {
            read::organization(&Answer::read(response).accepted()?)
        })
    }

    /// The places where the vendor picks the machine. The list needs no credentials (recorded); it gets ours.
    pub fn places(&self) -> Exchange<Scan<Place>> {
        Exchange::reads("places", self.calls.places(), |request, response| {
            Ok(scanned(request, response, read::places(&Answer::read(response).accepted()?)?))
        })
    }

    /// The machines that pass filters which nobody documented. Whoever relies on them filters again.
    pub fn hostnodes_with(&self, filters: &Filters) -> Exchange<Scan<Hostnode>> {
        Exchange::reads("hostnodes", self.calls.hostnodes(filters), read_hostnodes)
    }

    /// Makes a VM, on a machine or in a place. An answer that does not name it leaves in doubt whether it was made.
    pub fn create(&self, new: &Creation) -> Exchange<Deployed> {
        Exchange::writes("deploy", self.calls.create(new), read_created)
    }

    /// Gives a stopped VM another size, and with it another price.
    pub fn modify(&self, id: &InstanceId, to: &Modification) -> Exchange<()> {
        Exchange::writes("modify", self.calls.modify(id, to), read_done)
    }

    /// The secrets, without their values.
    pub fn secrets(&self) -> Exchange<Scan<Secret>> {
        Exchange::reads("secrets", self.calls.secrets(), |request, response| {
            Ok(scanned(request, response, read::secrets(&Answer::read(response).accepted()?)?))
        })
    }

    /// One secret, with its value where that is shown.
    pub fn secret(&self, id: &SecretId) -> Exchange<Lookup<Opened>> {
        let read: Read<Lookup<Opened>> = |_, response| match Answer::read(response).accepted() {
            Ok(object) => read::opened(object).map(Lookup::Here),
            Err(Refusal::Gone) => Ok(Lookup::Gone),
            Err(refusal) => Err(refusal),
        };
        Exchange::reads("secret", self.calls.secret(id), read)
    }

    /// Keeps a secret: an SSH key for [`Login::KeyId`](super::nouns::Login::KeyId), for example.
    pub fn keep_secret(&self, new: &NewSecret) -> Exchange<SecretId> {
        Exchange::writes("keep_secret", self.calls.create_secret(new), |_, response| {
            read::kept(Answer::read(response).accepted()?)
        })
    }

    /// Forgets a secret. That it is gone already reads as success.
    pub fn forget_secret(&self, id: &SecretId) -> Exchange<()> {
        Exchange::writes("forget_secret", self.calls.delete_secret(id), read_gone)
    }
}
