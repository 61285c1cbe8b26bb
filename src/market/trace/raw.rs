//! All calls of the market of rehearsals by the names of their fields, for `spotscale api`.

use crate::{
    io::net::Method::{Delete, Get, Post},
    market::raw::{
        Need::{Needed, Optional},
        RawCall, RawField, Stakes,
    },
};

const VM: RawField = RawField { name: "vm", need: Needed, about: "the VM's id" };
const POOL: RawField = RawField { name: "pool", need: Needed, about: "the pool's id" };

/// The calls, in the order of the documentation.
pub const CALLS: &[RawCall] = &[
    RawCall {
        name: "whoami",
        method: Get,
        path: "/trace/v1/whoami",
        stakes: Stakes::Nothing,
        about: "Whether the token is taken",
        fields: &[],
    },
    RawCall {
        name: "account",
        method: Get,
        path: "/trace/v1/account",
        stakes: Stakes::Nothing,
        about: "What the account holds and costs",
        fields: &[],
    },
    RawCall {
        name: "pools",
        method: Get,
        path: "/trace/v1/pools",
        stakes: Stakes::Nothing,
        about: "What can be had, with prices",
        fields: &[],
    },
    RawCall { name: "vms", method: Get, path: "/trace/v1/vms", stakes: Stakes::Nothing, about: "All VMs", fields: &[] },
    RawCall {
        name: "vm",
        method: Get,
        path: "/trace/v1/vms/{vm}",
        stakes: Stakes::Nothing,
        about: "One VM",
        fields: &[VM],
    },
    RawCall {
        name: "validate",
        method: Post,
        path: "/trace/v1/validate",
        stakes: Stakes::Nothing,
        about: "Whether a bid for a new VM would be accepted now",
        fields: &[POOL, RawField { name: "bid_per_hr", need: Needed, about: "the bid for one VM, USD per hour" }],
    },
    RawCall {
        name: "create",
        method: Post,
        path: "/trace/v1/vms",
        stakes: Stakes::Money,
        about: "Makes a VM",
        fields: &[
            RawField { name: "name", need: Needed, about: "what it is called" },
            POOL,
            RawField { name: "price_type", need: Needed, about: "spot or on_demand" },
            RawField { name: "bid_per_hr", need: Optional, about: "for spot: the bid for one VM, USD per hour" },
        ],
    },
    RawCall {
        name: "delete",
        method: Delete,
        path: "/trace/v1/vms/{vm}",
        stakes: Stakes::Loss,
        about: "Deletes a VM",
        fields: &[VM],
    },
];
