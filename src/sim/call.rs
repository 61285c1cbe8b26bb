//! Which call of a marketplace's API a request is, as far as faults and counters care.

use crate::io::net::{Method, Request};

labels! {
    /// A kind of call.
    pub enum Call {
        /// All hostnodes.
        Hostnodes = "hostnodes",
        /// One hostnode.
        Hostnode = "hostnode",
        /// All VMs.
        Instances = "instances",
        /// One VM.
        Instance = "instance",
        /// Credentials.
        Whoami = "whoami",
        /// The account's balance.
        Balance = "balance",
        /// A bid for a new VM.
        Validate = "validate",
        /// A bid for an existing VM.
        Rebid = "rebid",
        /// A new VM.
        Deploy = "deploy",
        /// Start.
        Start = "start",
        /// Stop.
        Stop = "stop",
        /// Delete.
        Terminate = "terminate",
        /// Anything else.
        Other = "other",
    }
}

impl Call {
    /// Of TensorDock v0: by its path alone, for some clients send GET where others POST.
    pub fn of_tensordock_v0(request: &Request) -> Self {
        match request.path.trim_start_matches("/api/v0").trim_end_matches('/') {
            "/auth/test" => Self::Whoami,
            "/billing/balance" => Self::Balance,
            "/client/deploy/hostnodes" => Self::Hostnodes,
            "/client/deploy/single" => Self::Deploy,
            "/client/spot/validate/new" => Self::Validate,
            "/client/spot/validate/existing" => Self::Rebid,
            "/client/list" => Self::Instances,
            "/client/get/single" => Self::Instance,
            "/client/start/single" => Self::Start,
            "/client/stop/single" => Self::Stop,
            "/client/delete/single" => Self::Terminate,
            path if path.starts_with("/client/deploy/hostnodes/") && request.method == Method::Get => Self::Hostnode,
            _ => Self::Other,
        }
    }

    /// Whether its answer is a list that can come back empty or in part.
    pub const fn is_list(self) -> bool {
        match self {
            Self::Hostnodes | Self::Instances => true,
            Self::Hostnode
            | Self::Instance
            | Self::Whoami
            | Self::Balance
            | Self::Validate
            | Self::Rebid
            | Self::Deploy
            | Self::Start
            | Self::Stop
            | Self::Terminate
            | Self::Other => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn v0_calls_are_told_by_their_path() {
        let call = |path: &str| Call::of_tensordock_v0(&Request::get(path)).as_str();
        assert_eq!(call("/api/v0/client/deploy/hostnodes"), "hostnodes");
        assert_eq!(call("/api/v0/client/deploy/hostnodes/02c6"), "hostnode");
        assert_eq!(call("/api/v0/client/spot/validate/existing"), "rebid");
        assert_eq!(call("/api/v0/client/delete/single"), "terminate");
        assert_eq!(call("/api/v0/auth/list"), "other");
    }
}
