//! Which kind of call a request is, whatever the API: as far as faults and counters of a simulated market care.

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

    /// Whether it may change something.
    pub const fn is_write(self) -> bool {
        match self {
            Self::Rebid | Self::Deploy | Self::Start | Self::Stop | Self::Terminate => true,
            Self::Hostnodes
            | Self::Hostnode
            | Self::Instances
            | Self::Instance
            | Self::Whoami
            | Self::Balance
            | Self::Validate
            | Self::Other => false,
        }
    }
}
