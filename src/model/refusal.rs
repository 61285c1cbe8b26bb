//! Why a marketplace's answer is not what was hoped for, grouped by what to do next.

use std::{fmt, time::Duration};

labels! {
    /// A refusal's group, as a label.
    pub enum RefusalKind {
        /// See [`Refusal::NoCapacity`].
        NoCapacity = "no_capacity",
        /// See [`Refusal::BidTooLow`].
        BidTooLow = "bid_too_low",
        /// See [`Refusal::Throttled`].
        Throttled = "throttled",
        /// See [`Refusal::Unauthorized`].
        Unauthorized = "unauthorized",
        /// See [`Refusal::Gone`].
        Gone = "gone",
        /// See [`Refusal::Broke`].
        Broke = "broke",
        /// See [`Refusal::Refused`].
        Refused = "refused",
        /// See [`Refusal::Malformed`].
        Malformed = "malformed",
        /// See [`Refusal::Unreachable`].
        Unreachable = "unreachable",
    }
}

/// Why not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Not enough is free there: take the next offer.
    #[error("no capacity: {0}")]
    NoCapacity(String),
    /// Ask again with more, or pass.
    #[error("bid too low: {0}")]
    BidTooLow(String),
    /// Wait; so long, where the answer says.
    #[error("throttled{}", Wait(*retry_after))]
    Throttled {
        /// From `Retry-After`.
        retry_after: Option<Duration>,
    },
    /// The credentials are not taken: bench the marketplace, alert.
    #[error("unauthorized: {0}")]
    Unauthorized(String),
    /// There is no such thing (any more): done already.
    #[error("it is gone")]
    Gone,
    /// The account cannot pay: stop growing.
    #[error("the account cannot pay: {0}")]
    Broke(String),
    /// A readable no of any other kind: a wrong order, a wrong state.
    #[error("refused: {0}")]
    Refused(String),
    /// An answer nobody can read: counted, never acted on.
    #[error("unreadable answer: {0}")]
    Malformed(String),
    /// No answer, or a server's failure: proves nothing.
    #[error("no answer: {0}")]
    Unreachable(String),
}

struct Wait(Option<Duration>);

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(wait) => write!(f, ": try again in {}", super::time::show(wait)),
            None => Ok(()),
        }
    }
}

impl Refusal {
    /// Its group.
    pub const fn kind(&self) -> RefusalKind {
        match self {
            Self::NoCapacity(_) => RefusalKind::NoCapacity,
            Self::BidTooLow(_) => RefusalKind::BidTooLow,
            Self::Throttled { .. } => RefusalKind::Throttled,
            Self::Unauthorized(_) => RefusalKind::Unauthorized,
            Self::Gone => RefusalKind::Gone,
            Self::Broke(_) => RefusalKind::Broke,
            Self::Refused(_) => RefusalKind::Refused,
            Self::Malformed(_) => RefusalKind::Malformed,
            Self::Unreachable(_) => RefusalKind::Unreachable,
        }
    }

    /// Whether it proves that a write was not done: somebody said no, and could be understood.
    pub const fn settles(&self) -> bool {
        match self {
            Self::NoCapacity(_)
            | Self::BidTooLow(_)
            | Self::Throttled { .. }
            | Self::Unauthorized(_)
            | Self::Gone
            | Self::Broke(_)
            | Self::Refused(_) => true,
            Self::Malformed(_) | Self::Unreachable(_) => false,
        }
    }

    /// Whether the same read may succeed if it is simply asked again.
    pub const fn is_passing(&self) -> bool {
        match self {
            Self::Throttled { .. } | Self::Malformed(_) | Self::Unreachable(_) => true,
            Self::NoCapacity(_)
            | Self::BidTooLow(_)
            | Self::Unauthorized(_)
            | Self::Gone
            | Self::Broke(_)
            | Self::Refused(_) => false,
        }
    }
}
