//! What the calls that no fleet needs speak of: authorizations, changed sizes, instant VMs, containers, revenue, bills.
//!
//! Money is US dollars and sizes are gigabytes, as everywhere in this API; what a vendor's answer says is *documented*
//! (S0 and S1) where nothing else stands. The engine uses none of this: a user of the library does.

use crate::model::{
    GpuModel, HostnodeId, HourlyRate, InstanceId, Scan, Timestamp, Usd, VmName,
    offer::{Location, Rates},
};
use secrecy::SecretString;
use std::{collections::BTreeMap, fmt, str::FromStr};

/// One pair of key and token of the organisation, without either.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authorization {
    /// What it is called.
    pub name: String,
    /// What it may do; `All` is the only word known.
    pub permissions: Option<String>,
    /// When it was made; the vendor writes no zone, UTC is assumed.
    pub created_at: Option<Timestamp>,
    /// What its maker noted.
    pub note: Option<String>,
}

/// Another size for a stopped VM; `None` leaves a part as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Modification {
    /// Another model.
    pub gpu_model: Option<GpuModel>,
    /// How many GPUs.
    pub gpus: Option<u32>,
    /// vCPUs; even.
    pub vcpus: Option<u32>,
    /// Memory, GB; even.
    pub ram_gb: Option<u32>,
    /// Disk, GB.
    pub storage_gb: Option<u32>,
}

/// What can be had at once, of a fixed size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstantVms {
    /// The sizes.
    pub sizes: Scan<InstantSize>,
    /// The VMs that wait.
    pub offers: Scan<InstantVm>,
}

/// A size in which instant VMs come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstantSize {
    /// The vendor's id of it.
    pub id: InstanceId,
    /// How many GPUs; a list, as the vendor writes it.
    pub gpus: Vec<u32>,
    /// Which; a list, as the vendor writes it.
    pub gpu_models: Vec<GpuModel>,
    /// vCPUs.
    pub vcpus: u32,
    /// Memory, GB.
    pub ram_gb: u32,
    /// Disk, GB.
    pub storage_gb: u32,
    /// Operating system.
    pub image: Option<String>,
}

/// One that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstantVm {
    /// What a deploy names.
    pub id: InstanceId,
    /// Its size's id.
    pub size: Option<InstanceId>,
    /// On which machine.
    pub hostnode: Option<HostnodeId>,
    /// Where.
    pub location: Location,
    /// The data centre's name.
    pub data_centre: Option<String>,
    /// Its tier, 0 to 4.
    pub tier: Option<u32>,
    /// Processor.
    pub cpu_model: Option<String>,
    /// vCPUs.
    pub vcpus: u32,
    /// How many GPUs.
    pub gpus: Vec<u32>,
    /// Which.
    pub gpu_models: Vec<GpuModel>,
    /// Memory, GB.
    pub ram_gb: u32,
    /// Disk, GB.
    pub storage_gb: u32,
    /// What it costs, USD per hour.
    pub rates: Rates,
    /// Uptime of the machine, parts per million.
    pub uptime_ppm: Option<u32>,
}

/// A deploy of an instant VM.
#[derive(Clone, Debug)]
pub struct InstantOrder {
    /// Which one.
    pub instant: InstanceId,
    /// What it is to be called.
    pub name: VmName,
    /// Not needed with a key, nor where the organisation has one.
    pub password: Option<SecretString>,
    /// OpenSSH public key.
    pub ssh_key: Option<String>,
    /// cloud-init, the text itself.
    pub cloud_init: Option<String>,
}

/// A deploy of a container. **Deprecated by the vendor:** "We no longer support containers."
#[derive(Clone, Debug, PartialEq)]
pub struct ContainerOrder {
    /// What it is to be called.
    pub display_name: String,
    /// How it is known on each VM.
    pub project_id: String,
    /// On Docker Hub.
    pub image_name: String,
    /// GPUs of each replica.
    pub gpus: u32,
    /// Models, the preferred first.
    pub gpu_models: Vec<GpuModel>,
    /// How many replicas.
    pub replicas: u32,
    /// vCPUs of each replica.
    pub vcpus: u32,
    /// Memory of each replica, GB.
    pub ram_gb: u32,
    /// Disk of each replica, GB.
    pub storage_gb: u32,
    /// The port that the image exposes.
    pub networking_port: u16,
    /// Variables of its environment; sent as JSON (assumed, no example is known).
    pub environment: BTreeMap<String, String>,
    /// Volumes; sent as JSON (assumed).
    pub volumes: Vec<String>,
    /// Arguments; sent as JSON (assumed).
    pub arguments: Vec<String>,
    /// The most that a replica may cost, USD per hour.
    pub rate_max: Option<HourlyRate>,
}

/// One replica of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replica {
    /// The VM it runs on.
    pub vm: InstanceId,
    /// Where it can be reached.
    pub address: Option<String>,
    /// Outside port to inside port.
    pub ports: BTreeMap<u16, u16>,
    /// What it costs, USD per hour.
    pub rate: HourlyRate,
    /// Where its machine's uptime can be read.
    pub uptime_url: Option<String>,
}

/// Which revenue is asked for; `None` is not sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RevenueQuery {
    /// From when on.
    pub start: Option<Timestamp>,
    /// Until when.
    pub end: Option<Timestamp>,
    /// Of one machine alone.
    pub hostnode: Option<HostnodeId>,
}

/// GPUs, vCPUs, memory and disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// GPUs.
    pub gpus: u32,
    /// vCPUs.
    pub vcpus: u32,
    /// Memory, GB.
    pub ram_gb: u32,
    /// Disk, GB.
    pub storage_gb: u32,
}

/// What a hosting provider earned with one machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostRevenue {
    /// Which machine.
    pub hostnode: HostnodeId,
    /// Where it stands, in the vendor's words.
    pub location: Option<String>,
    /// What is rented.
    pub used: Sizes,
    /// What is not.
    pub available: Sizes,
    /// Earned with GPUs, vCPUs and memory, USD.
    pub compute: Usd,
    /// Earned with disks, USD.
    pub storage: Usd,
    /// By VM; what of them could not be read is named.
    pub vms: Scan<VmRevenue>,
}

/// What a hosting provider earned with one VM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VmRevenue {
    /// Which.
    pub vm: InstanceId,
    /// What it has.
    pub used: Sizes,
    /// USD.
    pub compute: Usd,
    /// USD.
    pub storage: Usd,
}

/// A calendar month, `YYYY-MM`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Month {
    year: u16,
    month: u8,
}

/// A text that is no month.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a month: four digits, `-` and 01 to 12, such as 2024-01")]
pub struct NotAMonth(String);

impl Month {
    /// `None` when there is no such month.
    pub fn new(year: u16, month: u8) -> Option<Self> {
        ((1..=9_999).contains(&year) && (1..=12).contains(&month)).then_some(Self { year, month })
    }

    /// The year.
    pub const fn year(self) -> u16 {
        self.year
    }

    /// 1 to 12.
    pub const fn month(self) -> u8 {
        self.month
    }
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{:04}-{:02}", self.year, self.month))
    }
}

impl FromStr for Month {
    type Err = NotAMonth;
    fn from_str(text: &str) -> Result<Self, NotAMonth> {
        let read = || {
            let (year, month) = text.split_once('-')?;
            let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
            let fits = year.len() == 4 && month.len() == 2 && digits(year) && digits(month);
            if fits { Self::new(year.parse().ok()?, month.parse().ok()?) } else { None }
        };
        read().ok_or_else(|| NotAMonth(text.chars().take(40).collect()))
    }
}

/// A month's account, of customers and hosting providers alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MonthlySummary {
    /// The month it begins in. The documents' example answers another month than was asked for.
    pub from: Option<Month>,
    /// The month it ends in: on its first day.
    pub to: Option<Month>,
    /// What the account held before, USD.
    pub previous_balance: Usd,
    /// What it held afterwards, USD.
    pub final_balance: Usd,
    /// What was paid for VMs and disks, USD.
    pub expenses: Usd,
    /// What was earned with VMs and disks, USD.
    pub payouts: Usd,
    /// Line by line.
    pub transactions: BTreeMap<TransactionKind, Scan<Transaction>>,
}

labels! {
    /// What a line of a monthly summary is about.
    pub enum TransactionKind {
        /// Money put into the account.
        Deposit = "deposits",
        /// Money taken out of it.
        Withdrawal = "withdrawals",
        /// A rented VM.
        VmExpense = "vm_expenses",
        /// A rented disk.
        StorageExpense = "storage_expenses",
        /// Somebody rented a VM from us.
        VmPayout = "vm_payouts",
        /// Somebody rented a disk from us.
        StoragePayout = "storage_payouts",
    }
}

/// One line of a monthly summary. What a deposit's and a withdrawal's lines have is not known: only the amount is asked
/// of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// How much, USD.
    pub amount: Usd,
    /// Of which VM.
    pub vm: Option<InstanceId>,
    /// On which machine.
    pub hostnode: Option<HostnodeId>,
    /// USD per hour.
    pub rate: Option<HourlyRate>,
    /// Such as `1x L40 48 GB`.
    pub gpus: Option<String>,
    /// Disk, GB.
    pub storage_gb: Option<u32>,
    /// First day, `MM/DD`.
    pub from: Option<String>,
    /// The day after the last one, `MM/DD`.
    pub to: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_is_four_digits_and_two() {
        assert_eq!("2024-01".parse::<Month>().unwrap().to_string(), "2024-01");
        for text in ["2024-00", "2024-13", "2024-1", "24-01", "0000-01", "2024/01", "+024-01", ""] {
            assert!(text.parse::<Month>().is_err(), "{text}");
        }
        let said = "2024-13".parse::<Month>().unwrap_err().to_string();
        assert_eq!(said, "`2024-13` is not a month: four digits, `-` and 01 to 12, such as 2024-01");
    }
}
