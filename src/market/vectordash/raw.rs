//! All calls of Vectordash by the vendor's names of their fields (documented; what is only mentioned is marked).
//!
//! What the reference strikes out as "not currently supported" in a create (`cpu`, `cores`, `ram`, `storage`, `volumes`) is
//! no field here: it would be sent for nothing.

use crate::{
    io::net::Method::{Delete, Get, Post},
    market::raw::{
        Need::{Needed, Optional},
        RawCall, RawField, Stakes,
    },
};

/// The call whose answer need not be JSON.
pub(super) const ACCOUNT: &str = "account";

const INSTANCE: RawField = RawField { name: "instance", need: Needed, about: "the instance's key" };

/// The calls, as the vendor orders them.
pub const CALLS: &[RawCall] = &[
    RawCall {
        name: ACCOUNT,
        method: Get,
        path: "/api/account",
        stakes: Stakes::Nothing,
        about: "Whose token it is",
        fields: &[],
    },
    RawCall {
        name: "gpus",
        method: Get,
        path: "/api/gpus",
        stakes: Stakes::Nothing,
        about: "The GPUs that can be had, by type",
        fields: &[],
    },
    RawCall {
        name: "instances",
        method: Get,
        path: "/api/instances",
        stakes: Stakes::Nothing,
        about: "All instances; their private keys are not shown",
        fields: &[],
    },
    RawCall {
        name: "instance",
        method: Get,
        path: "/api/instances/{instance}",
        stakes: Stakes::Nothing,
        about: "One instance (mentioned by the vendor, not described)",
        fields: &[INSTANCE],
    },
    RawCall {
        name: "create",
        method: Post,
        path: "/api/instances",
        stakes: Stakes::Money,
        about: "Makes an instance",
        fields: &[
            RawField { name: "name", need: Needed, about: "what it is called" },
            RawField { name: "gpu", need: Needed, about: "the type of its GPU, as listed: \"1080 ti\"" },
            RawField { name: "image", need: Optional, about: "deep-learning-box (default) or fastai" },
            RawField {
                name: "date",
                need: Optional,
                about: "the GPU must be available until then, \"YYYY-MM-DD HH:MM:SS\"",
            },
        ],
    },
    RawCall {
        name: "delete",
        method: Delete,
        path: "/api/instances/{instance}",
        stakes: Stakes::Loss,
        about: "Deletes an instance and its disk",
        fields: &[INSTANCE],
    },
];
