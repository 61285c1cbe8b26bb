//! The calls of Vectordash that no fleet needs: with the [`Dialect`](crate::market::Dialect) they are all that its
//! reference has.
//!
//! | Vectordash's reference | here | `spotscale api` | test |
//! |---|---|---|---|
//! | `GET /api/account` | `Dialect::whoami`, [`Vectordash::account`] | `account` | `credentials_are_needed_but_for_the_list_of_gpus` |
//! | `GET /api/gpus` | `Dialect::hostnodes`, [`Vectordash::gpus`] | `gpus` | `a_gpu_type_is_one_machine_as_the_default_create_would_give_it` |
//! | `GET /api/instances` | `Dialect::instances`, [`Vectordash::sessions`] | `instances` | `an_instances_whole_life_reads_back_as_the_world_has_it` |
//! | `GET /api/instances/<id>` (mentioned, not described) | – | `instance` | `every_call_by_the_vendors_names_is_understood` |
//! | `POST /api/instances` | `Dialect::deploy`, [`Vectordash::create`] | `create` | `a_create_is_judged_as_the_reference_says` |
//! | `DELETE /api/instances/<id>` | `Dialect::terminate` | `delete` | `an_instances_whole_life_reads_back_as_the_world_has_it` |

use super::{
    Vectordash,
    answer::Answer,
    nouns::{Account, Creation, ListedGpu, Session},
    wire,
};
use crate::{
    market::{Deployed, Exchange, contradicted, hush::scanned},
    model::{Refusal, Scan},
};

impl Vectordash {
    /// Whose token it is.
    pub fn account(&self) -> Exchange<Account> {
        Exchange::reads("account", self.calls.account(), |request, response| {
            wire::account(Answer::read(request, response).text()?)
        })
    }

    /// The GPUs that can be had, as they are listed.
    pub fn gpus(&self) -> Exchange<Scan<ListedGpu>> {
        Exchange::reads("hostnodes", self.calls.gpus(), |request, response| {
            Ok(scanned(request, response, wire::gpus(&Answer::read(request, response).accepted()?)?))
        })
    }

    /// All instances that are listed, those that are over included, with all that is said of them.
    pub fn sessions(&self) -> Exchange<Scan<Session>> {
        Exchange::reads("instances", self.calls.instances(), |request, response| {
            Ok(scanned(request, response, wire::sessions(&Answer::read(request, response).accepted()?)?))
        })
    }

    /// Makes an instance.
    pub fn create(&self, creation: &Creation) -> Exchange<Deployed> {
        Exchange::writes("deploy", self.calls.create(creation), |request, response| {
            let answer = Answer::read(request, response);
            let names_an_instance = answer.names_an_instance();
            match answer.accepted() {
                Ok(answer) => wire::deployed(&answer),
                Err(refusal) if names_an_instance => Err(contradicted(refusal)),
                // What is not found when one creates is the GPU.
                Err(Refusal::Gone) => Err(Refusal::NoCapacity("there is no such GPU".into())),
                Err(refusal) => Err(refusal),
            }
        })
    }
}
