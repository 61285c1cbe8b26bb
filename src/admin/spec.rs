//! Every route, as data: the router is made from this table, the access rules are taken from it, and `openapi.json`
//! tells it. There is no other place where a route could be.

/// What a route does; the whole set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is one route, and its summary stands in the table")]
pub enum Endpoint {
    Page,
    PageLevers,
    Metrics,
    Live,
    Ready,
    Fleets,
    Fleet,
    Instances,
    Offers,
    Plan,
    WhatIf,
    WhyNot,
    Decisions,
    Decision,
    Accounts,
    Discovery,
    Openapi,
    SetTarget,
    ClearTarget,
    PauseFleet,
    ResumeFleet,
    EvacuateFleet,
    Apply,
    Pause,
    Resume,
    Evacuate,
    Reload,
    Adopt,
    Protect,
    Delete,
}

labels! {
    /// The methods in use.
    pub enum Verb {
        /// Look.
        Get = "get",
        /// Do.
        Post = "post",
        /// Set.
        Put = "put",
        /// Remove.
        Delete = "delete",
    }
}

/// Who may call a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// It only looks.
    Reads,
    /// It changes something: the rules of `access`.
    Changes,
    /// It is a form of the status page.
    Form,
}

/// What a good answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// JSON of this schema.
    Json(&'static str),
    /// A JSON list of this schema.
    List(&'static str),
    /// The OpenAPI document itself.
    Document,
    /// Plain text.
    Text,
    /// A page.
    Html,
    /// Back to the page.
    SeeOther,
}

/// A parameter of the path or the query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub what: &'static str,
    /// One that makes sense.
    pub example: &'static str,
}

/// One route.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    /// What it does.
    pub endpoint: Endpoint,
    /// How.
    pub verb: Verb,
    /// Where; `{name}` is a parameter.
    pub path: &'static str,
    /// One line.
    pub summary: &'static str,
    /// Who may.
    pub access: Access,
    /// What may be asked in the query; all of it optional.
    pub query: &'static [Parameter],
    /// The schema of the body.
    pub body: Option<&'static str>,
    /// What a good answer is.
    pub answer: Answer,
    /// The errors it can answer, beside those that any request can get.
    pub errors: &'static [u16],
}

const FLEET: Parameter = Parameter { name: "fleet", what: "only this fleet", example: "train" };
const LIMIT: Parameter = Parameter { name: "limit", what: "at most so many", example: "50" };
const SINCE: Parameter = Parameter { name: "since", what: "not older: a duration or a time (RFC 3339)", example: "2h" };
const KIND: Parameter = Parameter { name: "kind", what: "`decision` or `event`", example: "event" };
const SUBJECT: Parameter =
    Parameter { name: "subject", what: "a VM's own story, by its name", example: "spotscale-train-k3x9-1" };
const LEVERS: Parameter = Parameter { name: "levers", what: "show the levers, and do not refresh", example: "1" };

/// The parameters of paths.
pub const PATH_PARAMETERS: [Parameter; 3] = [
    Parameter { name: "fleet", what: "a fleet's name", example: "train" },
    Parameter { name: "id", what: "a VM's name or its marketplace's id; or a decision's id", example: "12" },
    Parameter { name: "hostnode", what: "a hostnode's id", example: "host-8" },
];

/// The errors of a lever.
const LEVER: &[u16] = &[400, 401, 403, 404, 409, 413, 415, 503, 504];

const fn read(endpoint: Endpoint, path: &'static str, answer: Answer, summary: &'static str) -> Spec {
    let (verb, access) = (Verb::Get, Access::Reads);
    Spec { endpoint, verb, path, summary, access, query: &[], body: None, answer, errors: &[] }
}

const fn lever(
    endpoint: Endpoint,
    verb: Verb,
    path: &'static str,
    body: Option<&'static str>,
    summary: &'static str,
) -> Spec {
    let answer = Answer::Json("DoneView");
    Spec { endpoint, verb, path, summary, access: Access::Changes, query: &[], body, answer, errors: LEVER }
}

/// All of them.
pub const ROUTES: &[Spec] = &[
    Spec { query: &[LEVERS], ..read(Endpoint::Page, "/", Answer::Html, "Status page") },
    Spec {
        access: Access::Form,
        ..Spec {
            answer: Answer::SeeOther,
            ..lever(Endpoint::PageLevers, Verb::Post, "/levers", Some("PageForm"), "The status page's forms")
        }
    },
    read(Endpoint::Metrics, "/metrics", Answer::Text, "Metrics in the Prometheus text format"),
    read(Endpoint::Live, "/livez", Answer::Text, "The process answers"),
    Spec { errors: &[503], ..read(Endpoint::Ready, "/readyz", Answer::Text, "Ticks are being finished") },
    read(Endpoint::Fleets, "/api/v1/fleets", Answer::Json("FleetsView"), "The daemon and all its fleets"),
    Spec { errors: &[404], ..read(Endpoint::Fleet, "/api/v1/fleets/{fleet}", Answer::Json("FleetView"), "One fleet") },
    Spec {
        query: &[FLEET],
        errors: &[400, 404],
        ..read(Endpoint::Instances, "/api/v1/instances", Answer::Json("InstancesView"), "Every VM of ours, and strays")
    },
    Spec {
        query: &[FLEET, LIMIT],
        errors: &[400, 404, 503],
        ..read(
            Endpoint::Offers,
            "/api/v1/offers",
            Answer::Json("OffersView"),
            "Candidates in order, and why others were turned down",
        )
    },
    Spec {
        query: &[FLEET],
        errors: &[400, 404, 503],
        ..read(Endpoint::Plan, "/api/v1/plan", Answer::Json("PlanView"), "The newest plan, and why")
    },
    Spec {
        verb: Verb::Post,
        body: Some("PolicyBody"),
        errors: &[400, 413, 415, 422, 429, 503],
        ..read(
            Endpoint::WhatIf,
            "/api/v1/plan",
            Answer::Json("PlanView"),
            "Plan a policy without installing it: a read",
        )
    },
    Spec {
        errors: &[400, 503],
        ..read(
            Endpoint::WhyNot,
            "/api/v1/why-not/{hostnode}",
            Answer::Json("WhyNotView"),
            "What each fleet's newest plan made of a hostnode",
        )
    },
    Spec {
        query: &[FLEET, SINCE, KIND, SUBJECT, LIMIT],
        errors: &[400, 503],
        ..read(
            Endpoint::Decisions,
            "/api/v1/decisions",
            Answer::Json("DecisionsView"),
            "Decisions and events, newest first",
        )
    },
    Spec {
        errors: &[404, 503],
        ..read(Endpoint::Decision, "/api/v1/decisions/{id}", Answer::Json("DecisionsView"), "One decision, whole")
    },
    read(Endpoint::Accounts, "/api/v1/accounts", Answer::Json("AccountsView"), "Balances, floors, runways and budgets"),
    read(
        Endpoint::Discovery,
        "/api/v1/sd",
        Answer::List("DiscoveredView"),
        "Our running VMs as Prometheus HTTP service discovery",
    ),
    read(Endpoint::Openapi, "/api/v1/openapi.json", Answer::Document, "This document"),
    lever(Endpoint::SetTarget, Verb::Put, "/api/v1/fleets/{fleet}/target", Some("TargetBody"), "Hold so many GPUs"),
    lever(Endpoint::ClearTarget, Verb::Delete, "/api/v1/fleets/{fleet}/target", None, "Back to what the policy says"),
    lever(Endpoint::PauseFleet, Verb::Post, "/api/v1/fleets/{fleet}/pause", Some("EmptyBody"), "Freeze a fleet"),
    lever(
        Endpoint::ResumeFleet,
        Verb::Post,
        "/api/v1/fleets/{fleet}/resume",
        Some("EmptyBody"),
        "End its pause or evacuation",
    ),
    lever(
        Endpoint::EvacuateFleet,
        Verb::Post,
        "/api/v1/fleets/{fleet}/evacuate",
        Some("EmptyBody"),
        "Tear a fleet down, protected VMs too, then pause it",
    ),
    lever(
        Endpoint::Apply,
        Verb::Post,
        "/api/v1/fleets/{fleet}/apply",
        Some("EmptyBody"),
        "Let a held edit come into force",
    ),
    lever(
        Endpoint::Pause,
        Verb::Post,
        "/api/v1/pause",
        Some("ScopeBody"),
        "Freeze everything, or renting on one marketplace",
    ),
    lever(
        Endpoint::Resume,
        Verb::Post,
        "/api/v1/resume",
        Some("ScopeBody"),
        "End a pause of everything, or of one marketplace",
    ),
    lever(Endpoint::Evacuate, Verb::Post, "/api/v1/evacuate", Some("EmptyBody"), "Tear everything down, then pause"),
    lever(Endpoint::Reload, Verb::Post, "/api/v1/reload", Some("EmptyBody"), "Read settings and policies again"),
    lever(Endpoint::Adopt, Verb::Post, "/api/v1/instances/{id}/adopt", Some("AdoptBody"), "Take a stray into a fleet"),
    lever(
        Endpoint::Protect,
        Verb::Post,
        "/api/v1/instances/{id}/protect",
        Some("ProtectBody"),
        "Leave a VM alone, but for money",
    ),
    lever(Endpoint::Delete, Verb::Delete, "/api/v1/instances/{id}", None, "Delete a VM: ours, or a stray"),
];
