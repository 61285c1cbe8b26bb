//! How to add a marketplace: one folder, and an afternoon.
//!
//! Nothing in `plan`, `engine`, `cli` or `sim` knows a vendor. What a marketplace is stands in its own folder here, in a few
//! facts of the settings, and in the table of GPU names. The register and two test suites find it from there.
//!
//! # The folder
//!
//! It is called as the API, with `_` for `-`: `tensordock-v0` is in `tensordock_v0`, which is the one to read first.
//!
//! | file | what it is |
//! |---|---|
//! | `mod.rs` | the [`Dialect`]: each verb a request as data and a plain function that reads its answer; and `LANGUAGE` |
//! | `calls.rs` | the requests, with the credentials; an id becomes part of a path only where it cannot lead elsewhere |
//! | `answer.rs` | what an answer amounts to before anybody looks for what was asked: done, refused, unreadable |
//! | `wire.rs` | the JSON as our nouns, in every shape that documents and clients show |
//! | `raw.rs` | every call by the vendor's names, for `spotscale api`: fields with units, and what is at stake |
//! | `sdk.rs`, `nouns.rs` | the calls that no fleet needs, typed; with a table of all, in the order of `raw.rs` |
//! | `fake.rs` | the other side of the counter, over a [`Backend`]: as lenient and as strict as the real one |
//! | `fixtures/` | the documents' examples, and what clients recorded |
//! | `fixtures.rs`, `conformance.rs` | tests of what is this marketplace's own; what all of them need is in `market/examples.rs` |
//!
//! No IO, no `async`, no clock and no random numbers: pacing, deadlines, retries, spans, metrics and the taking out of
//! secrets are written once, in [`client`]. JSON is read with [`json`]: one level at a time, and numbers as the literals they
//! came as, so that money never passes through binary floating point. A list goes through [`scanned`], so that nothing is
//! told of what it dropped that must not be. What is known of the vendor is marked *recorded*,
//! *documented* or *assumed* where it is used.
//!
//! # The verbs, and what `None` means
//!
//! A verb that the API does not have is answered with `None`, and the house does without:
//!
//! | verb | where it is `None` |
//! |---|---|
//! | [`Dialect::hostnode`] | the list says all; with [`Ports::Unlisted`] it is needed |
//! | [`Dialect::instance`] | that a VM is gone rests on repeated lists that dropped nothing |
//! | [`Dialect::balance`] | another marketplace of the account reads it, or the account is declared `unreadable-ok` |
//! | [`Dialect::validate`] | there is no spot, and [`Api::spot_offered`] says so |
//! | [`Dialect::rebid`] | likewise, or a bid is never changed: an outbid VM is deleted |
//! | [`Dialect::start`], [`Dialect::stop`] | a VM runs or is deleted |
//!
//! Machines, VMs, who we are, deploy and terminate there must be. A marketplace without hostnodes lists a GPU type in a
//! place as the node ([`Supply::Lots`]). A few rules are the same for all:
//!
//! - HTTP 200 alone means nothing. A write is done only when the answer says so, a deploy only with an id; what can be read
//!   as a refusal is one; everything else is [`Refusal::Malformed`] and in doubt.
//! - An item that cannot be believed is dropped and named ([`Dropped::name`]); it never costs the list and is never
//!   guessed. A list whose outer shape is not understood is unreadable, never empty.
//! - An unknown status is [`InstanceStatus::Unknown`], an unknown field is nothing. Where an answer leaves two readings, the
//!   one that spends less and deletes nothing.
//! - That what is to be deleted is gone already reads as success.
//! - A VM's name is ours and is the only key: an API in which a VM cannot be named and found by its name cannot be rented
//!   from.
//!
//! # The fixtures
//!
//! One file for each example. Two files tell of them, both held by the suite:
//!
//! - `SOURCES`: a line for each, `file  strength  where it comes from`; the strength is `recorded`, `documented` or
//!   `assumed`. Nothing in a fixture is or resembles a credential.
//! - `GOLDEN`: what each reads as. Each case begins a line `call <- file status[/original]: outcome`, where `call` is the
//!   exchange's own name, `status` is HTTP's and `original` the one behind a proxy ([`ORIGINAL_STATUS`]), and the outcome
//!   of a refusal is how the refusal tells itself; what follows is indented. The folder's own test writes these lines and
//!   compares; one file may answer several calls, under several statuses.
//!
//! An example of a request is called `*_request.*`: the folder's test holds what is sent against it.
//!
//! # The lines elsewhere
//!
//! 1. `market/mod.rs`: the folder's `mod`, and its line in [`language`].
//! 2. `settings/mod.rs`: the [`Api`] with its facts (vendor, base URL, spot, key, balance), and a [`Vendor`] where it is a new one. APIs
//!    of one vendor show the same machines and VMs, which are counted once. The compiler names every place that must think.
//! 3. `model/catalogue`: a [`Vocabulary`], and the vendor's spelling in each row of the table, with its source. A model that
//!    is not in the table keeps the vendor's spelling, made into a name that nothing else has.
//! 4. Images: a policy names one, `Ubuntu 22.04 LTS` unless it says otherwise, and a fleet may span marketplaces. Each
//!    dialect says it in the vendor's word, or rents nothing rather than something else.
//! 5. `sim/catalogue.rs`: the machines of a new vendor's world (`machines_of`), as far as sizes and prices are known.
//! 6. README and `config/spotscale.toml`: that there is one more. `src/lib.rs`: where its table of calls is.
//!
//! # What the suites then ask
//!
//! ```sh
//! cargo test --test conformance      # seconds; no network
//! cargo test --test wire_fuzz        # bent answers into every reader, odd requests into every fake
//! ```
//!
//! `tests/conformance` drives dialect, client and fake over a world that stands still, for every [`Api`]:
//!
//! | part | what it asks |
//! |---|---|
//! | `life` | lists are whole and sane; what is ordered is made, found by name and by id, runs; what is quoted is what the world charges; bids are answered as a deploy would be; stop, start; delete, and again; wrong credentials |
//! | `failures` | each read under each fault: asked again, given up; patience after 429; each write under each fault: sent once, in doubt exactly when it may have happened; late VMs, empty and partial lists |
//! | `changed` | live answers cut short, reordered, doubled, with a field more, less, or nonsense in it: the same or less, never guessed |
//! | `papers` | every fixture is marked, is read by a call, and reads through the register as its folder says; each verb has an example |
//! | `requests` | each request is understood as the call that it is; every raw call can be placed; the table of calls is whole, and its methods and tests exist |
//!
//! `tests/wire_fuzz` bends every fixture and every live answer of every marketplace into every reader, and asks that
//! nothing panics, that no price, count or text is beyond its bound, and that no refusal tells a secret. Typed calls beside
//! the verbs are added to its `own.rs`. Independent public clients, where there are any, must work against the fake: see
//! `tests/python_sdk.rs`.
//!
//! # An afternoon's list
//!
//! 1. Read all that is known; save each example as a fixture, with its source. Note where documents disagree.
//! 2. `wire.rs` and `answer.rs` until the examples read; then write a fixture for each oddity that you had to think about.
//! 3. `calls.rs`, the [`Dialect`], the raw calls.
//! 4. The fake, in the documents' shapes; then the lines elsewhere. The compiler leads.
//! 5. `cargo test --test conformance`. What fails is a question to the documents more often than to the suite.
//! 6. `spotscale marketplace` with `spotscale run` against it, and at last a real account, with `--observe`.
//!
//! Honestly: with good documents and no surprises it is an afternoon. What takes longer is what no document says, which
//! errors come with which status, when a new VM is first listed, what a VM really costs. Mark it *assumed*, and choose the
//! side that spends less.
//!
//! [`Api`]: crate::settings::Api
//! [`Api::spot_offered`]: crate::settings::Api::spot_offered
//! [`Backend`]: super::Backend
//! [`Dialect`]: super::Dialect
//! [`Dialect::balance`]: super::Dialect::balance
//! [`Dialect::hostnode`]: super::Dialect::hostnode
//! [`Dialect::instance`]: super::Dialect::instance
//! [`Dialect::rebid`]: super::Dialect::rebid
//! [`Dialect::start`]: super::Dialect::start
//! [`Dialect::stop`]: super::Dialect::stop
//! [`Dialect::validate`]: super::Dialect::validate
//! [`Dropped::name`]: crate::model::inventory::Dropped::name
//! [`InstanceStatus::Unknown`]: crate::model::InstanceStatus::Unknown
//! [`ORIGINAL_STATUS`]: super::ORIGINAL_STATUS
//! [`Ports::Unlisted`]: crate::model::offer::Ports::Unlisted
//! [`Refusal::Malformed`]: crate::model::Refusal::Malformed
//! [`Supply::Lots`]: crate::model::offer::Supply::Lots
//! [`Vendor`]: crate::settings::Vendor
//! [`Vocabulary`]: crate::model::catalogue::Vocabulary
//! [`client`]: super::client
//! [`json`]: super::json
//! [`language`]: super::language
//! [`scanned`]: super::hush::scanned
