//! Lists that need not be made again: as long as the world has not changed, they say what they said.
//!
//! A daemon asks for the same lists in every tick. What is kept here are answers as a dialect's fake made them, each with
//! what it was made of; nothing that a fault, a lie or the hour has a part in is kept (see
//! [`super::veil::Veil::is_timeless`]). Where nobody could change the world since ([`super::watched`]), there is nothing to
//! compare; where somebody could, most changes are not of what this list shows. For what was shown *once* see
//! [`super::memories`].

use super::{veil::Veil, watched::Version, world::World};
use crate::{
    io::net::{Request, Response},
    market::{Backend, Call, WorldVm},
    model::{Hostnode, InstanceId},
    settings::Api,
};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};

/// Letters of an `ETag`, of the 64 that a digest has.
const ETAG_LETTERS: usize = 32;

/// What an answer is known by.
pub(super) fn etag(answer: &Response) -> String {
    let digest: String = Sha256::digest(&answer.body).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("\"{}\"", digest.get(..ETAG_LETTERS).unwrap_or(&digest))
}

/// Whether two requests are answered the same, whatever each knows already.
fn asks_the_same(one: &Request, other: &Request) -> bool {
    fn others(request: &Request) -> impl Iterator<Item = &(String, String)> {
        request.headers.iter().filter(|(name, _)| name != "if-none-match")
    }
    let Request { method, path, query, headers: _, body } = one;
    let alike = (method, path, query, body) == (&other.method, &other.path, &other.query, &other.body);
    alike && others(one).eq(others(other))
}

/// What a fake asked of the world to make a list.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct MadeOf {
    /// The machines, if it asked for them.
    pub hostnodes: Option<Vec<Hostnode>>,
    /// The VMs, likewise.
    pub vms: Option<Vec<WorldVm>>,
}

impl MadeOf {
    fn is_so_still(&self, world: &mut World) -> bool {
        let Self { hostnodes, vms } = self;
        hostnodes.as_ref().is_none_or(|hostnodes| *hostnodes == world.hostnodes())
            && vms.as_ref().is_none_or(|vms| *vms == Backend::vms(world))
    }
}

/// A list as it was made.
#[derive(Clone, Debug)]
pub(super) struct Page {
    request: Request,
    versions: [Version; 2],
    made_of: MadeOf,
    /// What was answered.
    pub answer: Response,
    /// What that is known by.
    pub etag: String,
    /// The VMs that were shown, if they were listed.
    pub listed: Option<BTreeSet<InstanceId>>,
}

/// The newest page of each list.
#[derive(Clone, Debug, Default)]
pub(super) struct Pages(BTreeMap<(Api, Call), Page>);

impl Pages {
    /// What this request was answered, where it would be answered the same now.
    pub fn again(&mut self, api: Api, call: Call, request: &Request, veil: &mut Veil<'_>) -> Option<&Page> {
        let page = self.0.get_mut(&(api, call)).filter(|page| asks_the_same(&page.request, request))?;
        if !veil.shows_all() {
            return None;
        }
        let versions = veil.world.versions();
        if page.versions != versions {
            if !page.made_of.is_so_still(veil.world) {
                return None;
            }
            page.versions = versions;
        }
        Some(page)
    }

    /// Keeps what was just made behind this veil, if it can be shown again.
    pub fn keep(&mut self, api: Api, call: Call, request: &Request, veil: &mut Veil<'_>, answer: &Response) {
        if call.is_list() && veil.is_timeless() {
            let (versions, listed) = (veil.world.versions(), veil.noted.listed.clone());
            let made_of = std::mem::take(&mut veil.made_of);
            let (request, etag) = (request.clone(), etag(answer));
            let page = Page { request, versions, made_of, answer: answer.clone(), etag, listed };
            self.0.insert((api, call), page);
        }
    }
}
