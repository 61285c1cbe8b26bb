//! spotscale keeps fleets of rented GPU machines at their target, at the least cost the market allows, on marketplaces
//! where prices move, hosts vanish and answers get lost. It can always say why it did what it did.
//!
//! This page is the map of the house: read it first.
//!
//! # In one line
//!
//! ```text
//! settings, policies -> observe -> join -> score -> plan -> verify -> intend -> act -> settle -> metrics -> again
//! ```
//!
//! # Floor plan
//!
//! Each room may use only rooms on floors below it; flats parted by `|` know nothing of each other. There are no other
//! stairs: `tests/house.rs` reads this drawing and holds it against every path in the sources.
//!
//! ```text
//! roof      cli
//! gallery   admin | sim
//! workshop  engine
//! study     plan | market
//! archive   ledger
//! library   policy, settings | metrics | io
//! cellar    model
//! ```
//!
//! | room | what it is |
//! |---|---|
//! | [`cli`] | the command line, one file per command; the only room that reads the environment |
//! | [`admin`] | the window: status page, JSON, levers, `/metrics`; its views are what `--json` prints |
//! | [`sim`] | the rehearsal: a simulated marketplace grown from a seed, on a socket or in process |
//! | [`engine`] | the hands: one actor whose tick is look, settle, plan, verify, act |
//! | [`plan`] | the mind: a pure function from a [`plan::Situation`] to a [`plan::Plan`] and why |
//! | [`market`] | the languages: per API a request as data and a pure reader of its answer, and around all one client |
//! | [`ledger`] | the memory: the journal, its fold, and that joined with what was seen |
//! | [`policy`], [`settings`] | the law: TOML to checked types, every fault with its place and remedy |
//! | [`metrics`] | every series, one field each |
//! | [`io`] | the doors: time, network, storage, entropy, files, the service manager |
//! | [`model`] | the nouns: money, names, GPU models and what each vendor calls them, offers, instances, refusals, reasons |
//!
//! # Seven ideas that carry it
//!
//! 1. *The plan is the product.* What [`plan`] returns leaves the engine nothing to choose, and beside it comes a typed
//!    report of why. `run`, `plan`, `offers` and `explain` all call this one function.
//! 2. *Marketplaces are dialects.* No IO and no `async` in a marketplace's folder. Pacing, deadlines, retries and metrics
//!    are written once, around all of them.
//! 3. *Doors.* Replace what is behind [`io`]'s traits and the whole daemon runs in virtual time, unchanged.
//! 4. *Write the intent before the request.* None of the APIs takes an idempotency key, so a VM's *name* is the key:
//!    journalled, then sent, then looked for. What is in doubt counts against every limit at the most it can cost.
//! 5. *Asking is observing.* Asking about a bid for a new VM is a planned read, whose answer belongs to the next look. The
//!    engine never branches on prices. (Asking about an *existing* VM may move its bid: that is a write.)
//! 6. *Absence is not zero.* A list that is partial, stale or suddenly empty says so in its type; nothing is torn down or
//!    rented because of it.
//! 7. *An independent checker.* [`plan::verify`] knows the invariants and not the planner, and reads every plan before
//!    anything is done. It judges actions, not the world: what only lowers a quantity always passes.
//!
//! # One tick, and what a crash can do to it
//!
//! ```text
//! inventory <- observe           all marketplaces at once; none waits for one that is slow or fails
//! several times:
//!   fleet <- join(ledger, inventory)
//!   plan  <- plan(situation)     pure
//!   verify(plan)                 an action that fails is not done, and alerts
//!   intend, act, fold            each intent durable before its request
//! ```
//!
//! | lost | durable | the next tick |
//! |---|---|---|
//! | before the intent | nothing | nothing was sent; plans afresh |
//! | before, in or after the request | the open intent | counts it in full, and looks for its name |
//! | the name is in a later complete list | | adopts it |
//! | the name is missing in complete lists, past the settle grace | | fills the slot again; the money stays reserved for the late window, the name is never used again |
//! | it turns up even later | | reaps it in the same tick, and says so |
//! | the journal itself | our names in the list | strays: reported, counted, touched only by the operator |
//!
//! # Every call of every API
//!
//! What a vendor's own documents and clients can do, a user of this library can do, typed, and a user of the command line
//! by the vendor's own names (`spotscale api`). Each folder has the table of all its calls: theirs, our method, what `api`
//! calls it, and the test that drives it.
//!
//! | marketplace | table | calls | among them |
//! |---|---|---|---|
//! | TensorDock v0 | [`market::tensordock_v0::sdk`] | 22 | all that the public Python SDK has |
//! | TensorDock v2 | [`market::tensordock_v2::sdk`] | 15 | VMs by hostnode and by place |
//! | Vectordash | [`market::vectordash::sdk`] | 6 | one that is mentioned and not described |
//! | rehearsals | [`market::trace::sdk`] | 8 | a market that was recorded, played again |
//!
//! What they speak of beyond the house's nouns is beside each table, in `nouns`, with units and sources.
//!
//! # Where to start reading
//!
//! The nouns ([`model`]), then [`plan`] from its top, then `engine/tick.rs`, which reads like the drawing above. Another
//! marketplace is one folder in [`market`] beside `tensordock_v0`, with its fixtures: [`market::adding`] says how. A new
//! command is one file in [`cli`]. A new metric is one field in [`metrics`].

#![deny(clippy::print_stdout, clippy::print_stderr)]

#[macro_use]
pub mod model;
pub mod admin;
pub mod cli;
pub mod engine;
pub mod io;
pub mod ledger;
pub mod market;
pub mod metrics;
pub mod plan;
pub mod policy;
pub mod settings;
pub mod sim;
