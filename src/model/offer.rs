//! What a market sells: hostnodes, and what *our* VM would cost on one.
//!
//! A [`Hostnode`] is a machine as listed, a [`Shape`] is what one VM of ours needs, and an [`Offer`] is one on the
//! other. A marketplace may sell a machine by resource (any size up to what is free) or in lots (fixed slices with an
//! id of their own); one without hostnodes lists a GPU type in a place as the node. How a price is composed is the
//! marketplace's published rule: its dialect states it as data ([`PriceRule`]), so that nothing above needs to know
//! the vendor.

use super::{GpuModel, HostnodeId, HourlyRate, MarketplaceName, Timestamp};
use std::collections::BTreeMap;

labels! {
    /// How a VM is paid for.
    pub enum PriceType {
        /// By bid; may be outbid.
        Spot = "spot",
        /// At the listed price; stays.
        OnDemand = "on_demand",
    }
}

/// What one VM of ours needs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Shape {
    /// The model of all its GPUs.
    pub gpu_model: GpuModel,
    /// How many GPUs.
    pub gpus: u32,
    /// Virtual CPUs.
    pub vcpus: u32,
    /// Memory in GB.
    pub ram_gb: u32,
    /// Disk in GB.
    pub storage_gb: u32,
}

/// What a VM costs per hour, in the two parts that live and die apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    /// GPU, vCPU and RAM: the part a bid replaces, and that stops while outbid or released.
    pub compute: HourlyRate,
    /// Disk: billed as long as the VM exists.
    pub storage: HourlyRate,
}

impl Rates {
    /// All that the VM costs per hour.
    pub const fn total(self) -> HourlyRate {
        self.compute.plus(self.storage)
    }

    /// The greater of both, part by part.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self { compute: self.compute.max(other.compute), storage: self.storage.max(other.storage) }
    }
}

/// How many of something are free, and what one costs per hour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stock {
    /// Free units.
    pub free: u32,
    /// Per unit and hour.
    pub price: HourlyRate,
}

/// The least and the most a VM may have of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// At least this many.
    pub min: u32,
    /// At most this many.
    pub max: u32,
}

impl Bounds {
    /// Within both.
    pub const fn hold(self, value: u32) -> bool {
        self.min <= value && value <= self.max
    }
}

/// What a hostnode demands of a VM with a certain number of GPUs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restriction {
    /// Of virtual CPUs.
    pub vcpus: Bounds,
    /// Of memory in GB.
    pub ram_gb: Bounds,
    /// Of disk in GB.
    pub storage_gb: Bounds,
}

/// A marketplace's published way to compose a VM's price, and its grain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PriceRule {
    /// Each term (GPU, CPU, RAM, disk) is rounded to this many micros; 0: not at all.
    pub term_step_micros: u64,
    /// vCPUs and GB of RAM come in multiples of this.
    pub size_step: u32,
    /// GB of disk: no VM is sold with less.
    pub storage_gb_min: u32,
}

impl PriceRule {
    /// The least size that is at least `wanted` and that the marketplace sells.
    pub const fn size(self, wanted: u32) -> u32 {
        wanted.div_ceil(self.size_step).saturating_mul(self.size_step)
    }

    /// How far a bill may be off the agreed rate by rounding alone: half a step for each of four terms. No step is finer
    /// than a micro, which is what we count in.
    pub const fn tolerance(self) -> HourlyRate {
        let step_micros = if self.term_step_micros == 0 { 1 } else { self.term_step_micros };
        HourlyRate::from_micros(step_micros * 2)
    }
}

/// A machine sold by resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resources {
    /// By model.
    pub gpus: BTreeMap<GpuModel, Stock>,
    /// Virtual CPUs.
    pub vcpus: Stock,
    /// Memory, by the GB.
    pub ram_gb: Stock,
    /// Disk, by the GB.
    pub storage_gb: Stock,
    /// By number of GPUs; a number that is not listed is not restricted.
    pub restrictions: BTreeMap<u32, Restriction>,
    /// How prices are put together.
    pub rule: PriceRule,
}

/// What a marketplace says of the vCPUs, memory and disk of a slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sizes {
    /// How much there is.
    Said,
    /// Nothing: only the GPUs are sold, the rest is what comes with them. Then a VM is sold in the size that is wanted.
    Unsaid,
}

labels! {
    /// How a slice may be paid for.
    pub enum Sold {
        /// On demand at its rates, and by bid where the machine takes bids.
        EitherWay = "either_way",
        /// Only by bid, where the machine takes bids. Its rates are the most that may be bid.
        ByBid = "by_bid",
    }
}

/// A fixed slice of a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lot {
    /// The marketplace's id of the slice.
    pub id: String,
    /// All that is in it.
    pub shape: Shape,
    /// Whether more of `shape` counts than its GPUs.
    pub sizes: Sizes,
    /// What it costs on demand.
    pub rates: Rates,
    /// How it may be paid for.
    pub sold: Sold,
}

impl Lot {
    /// In which size it would be sold to whoever wants that much; `None` when it is too small or of another model.
    pub fn sells(&self, wanted: &Shape) -> Option<Shape> {
        if self.shape.gpu_model != wanted.gpu_model || self.shape.gpus != wanted.gpus {
            return None;
        }
        match self.sizes {
            Sizes::Unsaid => Some(wanted.clone()),
            Sizes::Said => {
                let holds = self.shape.vcpus >= wanted.vcpus
                    && self.shape.ram_gb >= wanted.ram_gb
                    && self.shape.storage_gb >= wanted.storage_gb;
                holds.then(|| self.shape.clone())
            }
        }
    }
}

/// How a machine is sold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Supply {
    /// Any size up to what is free.
    Resources(Resources),
    /// Fixed slices.
    Lots(Vec<Lot>),
}

/// How the least accepted bid becomes known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpotTerms {
    /// No spot here.
    None,
    /// Only by asking with a bid.
    Asked,
    /// It is listed: the least accepted compute bid per GPU and hour.
    ListedPerGpu(HourlyRate),
}

/// Where a machine stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Location {
    /// Country, as the vendor spells it.
    pub country: String,
    /// Region or state.
    pub region: String,
    /// City.
    pub city: String,
}

impl std::fmt::Display for Location {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { country, region, city } = self;
        let parts: Vec<&str> =
            [city, region, country].into_iter().map(String::as_str).filter(|s| !s.is_empty()).collect();
        f.pad(&parts.join(", "))
    }
}

/// Which outside ports lead to a VM on a machine. Each inside port needs one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ports {
    /// These are free, and the deploy says which it takes.
    Free(Vec<u16>),
    /// The list does not say; asking about the one machine does.
    Unlisted,
    /// The marketplace gives each VM one of its own choice, for SSH and nothing else.
    GivenForSsh,
}

/// Where SSH listens inside a VM.
pub const SSH_PORT: u16 = 22;

impl Ports {
    /// Whether these inside ports can be reached from outside, as far as it is known.
    pub fn may_serve(&self, inside: &[u16]) -> bool {
        match self {
            Self::Free(ports) => ports.len() >= inside.len(),
            Self::Unlisted => true,
            Self::GivenForSsh => inside.iter().all(|port| *port == SSH_PORT),
        }
    }

    /// An outside port for each inside one, the lowest that are free; nothing where the marketplace chooses. `None` when
    /// there are too few, or nobody knows which.
    pub fn choose(&self, inside: &[u16]) -> Option<BTreeMap<u16, u16>> {
        if !self.may_serve(inside) {
            return None;
        }
        match self {
            Self::Free(ports) => {
                let free: std::collections::BTreeSet<u16> = ports.iter().copied().collect();
                (free.len() >= inside.len()).then(|| free.into_iter().zip(inside.iter().copied()).collect())
            }
            Self::Unlisted => inside.is_empty().then(BTreeMap::new),
            Self::GivenForSsh => Some(BTreeMap::new()),
        }
    }

    /// Those that are known to be free.
    pub fn free(&self) -> &[u16] {
        match self {
            Self::Free(ports) => ports,
            Self::Unlisted | Self::GivenForSsh => &[],
        }
    }

    /// Takes some away.
    pub fn without(&mut self, taken: &[u16]) {
        if let Self::Free(ports) = self {
            ports.retain(|port| !taken.contains(port));
        }
    }
}

/// A physical machine as listed; where a marketplace lists none, a GPU model in a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hostnode {
    /// The vendor's id.
    pub id: HostnodeId,
    /// Where it stands.
    pub location: Location,
    /// Share of the time it was up, in millionths; `None` when the vendor does not say.
    pub uptime_ppm: Option<u32>,
    /// Listed and online: can be rented at all.
    pub online: bool,
    /// How it is sold.
    pub supply: Supply,
    /// Whether and how it takes bids.
    pub spot: SpotTerms,
    /// Which outside ports lead to a VM there.
    pub ports: Ports,
    /// What is rented there can be counted on until then; `None`: nobody sets an end.
    pub available_until: Option<Timestamp>,
}

/// Why a shape does not fit a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misfit {
    /// Not so many GPUs of that model are free.
    Gpus,
    /// Not so many vCPUs, GB of RAM or disk are free.
    Resources,
    /// The hostnode's own limits for so many GPUs.
    Restricted,
}

impl Hostnode {
    /// Free GPUs of a model.
    pub fn free_gpus(&self, model: &GpuModel) -> u32 {
        match &self.supply {
            Supply::Resources(resources) => resources.gpus.get(model).map_or(0, |stock| stock.free),
            Supply::Lots(lots) => {
                lots.iter().filter(|lot| lot.shape.gpu_model == *model).map(|lot| lot.shape.gpus).sum()
            }
        }
    }

    /// What the shape costs here on demand, and in which size it is sold (rounded up to the marketplace's grain).
    ///
    /// # Errors
    /// When it does not fit.
    pub fn price(&self, wanted: &Shape) -> Result<(Shape, Rates), Misfit> {
        match &self.supply {
            Supply::Resources(resources) => resources.price(wanted),
            Supply::Lots(lots) => cheapest(lots, wanted).map(|(lot, sold)| (sold, lot.rates)).ok_or(Misfit::Gpus),
        }
    }

    /// Whether the shape can be had here on demand, where it can be had at all.
    pub fn sells_on_demand(&self, wanted: &Shape) -> bool {
        match &self.supply {
            Supply::Resources(_) => true,
            Supply::Lots(lots) => cheapest(lots, wanted).is_some_and(|(lot, _)| match lot.sold {
                Sold::EitherWay => true,
                Sold::ByBid => false,
            }),
        }
    }
}

/// The slice that is sold for the least, and in which size.
fn cheapest<'l>(lots: &'l [Lot], wanted: &Shape) -> Option<(&'l Lot, Shape)> {
    let order = |lot: &&'l Lot| (lot.rates.total(), lot.id.as_str());
    let lot = lots.iter().filter(|lot| lot.sells(wanted).is_some()).min_by(|a, b| order(a).cmp(&order(b)))?;
    Some((lot, lot.sells(wanted)?))
}

impl Resources {
    fn price(&self, wanted: &Shape) -> Result<(Shape, Rates), Misfit> {
        let Self { gpus, vcpus, ram_gb, storage_gb, restrictions, rule } = self;
        let stock = gpus.get(&wanted.gpu_model).filter(|stock| stock.free >= wanted.gpus && wanted.gpus > 0);
        let gpu = stock.ok_or(Misfit::Gpus)?;
        let mut shape = Shape {
            vcpus: rule.size(wanted.vcpus),
            ram_gb: rule.size(wanted.ram_gb),
            storage_gb: wanted.storage_gb.max(rule.storage_gb_min),
            ..wanted.clone()
        };
        if let Some(limit) = restrictions.get(&wanted.gpus) {
            shape.vcpus = shape.vcpus.max(rule.size(limit.vcpus.min));
            shape.ram_gb = shape.ram_gb.max(rule.size(limit.ram_gb.min));
            shape.storage_gb = shape.storage_gb.max(limit.storage_gb.min);
            if !limit.vcpus.hold(shape.vcpus)
                || !limit.ram_gb.hold(shape.ram_gb)
                || !limit.storage_gb.hold(shape.storage_gb)
            {
                return Err(Misfit::Restricted);
            }
        }
        if shape.vcpus > vcpus.free || shape.ram_gb > ram_gb.free || shape.storage_gb > storage_gb.free {
            return Err(Misfit::Resources);
        }
        let term = |price: HourlyRate, count: u32| price.times(count).rounded(rule.term_step_micros);
        let compute = [term(gpu.price, shape.gpus), term(vcpus.price, shape.vcpus), term(ram_gb.price, shape.ram_gb)];
        let rates = Rates { compute: compute.into_iter().sum(), storage: term(storage_gb.price, shape.storage_gb) };
        Ok((shape, rates))
    }
}

/// What one VM of ours would cost on one hostnode, now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Where it is sold.
    pub marketplace: MarketplaceName,
    /// On which machine.
    pub hostnode: HostnodeId,
    /// What is sold: the wanted shape in the marketplace's grain.
    pub shape: Shape,
    /// What it costs on demand.
    pub on_demand: Rates,
    /// Whether and how a bid is possible.
    pub spot: SpotTerms,
    /// As listed.
    pub uptime_ppm: Option<u32>,
    /// Where the machine stands.
    pub location: Location,
    /// As listed: what is rented there can be counted on until then.
    pub available_until: Option<Timestamp>,
}

/// What we would pay at most for the compute of one VM, per hour; storage comes on top.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bid {
    /// On which machine.
    pub hostnode: HostnodeId,
    /// For what.
    pub shape: Shape,
    /// Per VM and hour, for GPU, vCPU and RAM together.
    pub price: HourlyRate,
}

labels! {
    /// A marketplace's answer to a bid.
    pub enum BidAnswer {
        /// A deploy at this very bid would succeed now.
        Accepted = "accepted",
        /// It would not: too low, or no longer enough free.
        Refused = "refused",
    }
}

/// A marketplace's dated answer to a bid for a new VM. Goes stale after a minute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quote {
    /// When it was answered.
    pub at: Timestamp,
    /// What was asked.
    pub bid: Bid,
    /// What was said.
    pub answer: BidAnswer,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(text: &str) -> HourlyRate {
        text.parse().unwrap()
    }

    fn l40() -> Hostnode {
        // The one v0 hostnode recorded outside the documents (FACTS: gpuhunt's fixture).
        let model = "l40-pcie-48gb".parse().unwrap();
        Hostnode {
            id: "h1".parse().unwrap(),
            location: Location::default(),
            uptime_ppm: Some(999_900),
            online: true,
            supply: Supply::Resources(Resources {
                gpus: BTreeMap::from([(model, Stock { free: 8, price: rate("1.05") })]),
                vcpus: Stock { free: 256, price: rate("0.003") },
                ram_gb: Stock { free: 1495, price: rate("0.002") },
                storage_gb: Stock { free: 10252, price: rate("0.00005") },
                restrictions: BTreeMap::from([(
                    2,
                    Restriction {
                        vcpus: Bounds { min: 16, max: 64 },
                        ram_gb: Bounds { min: 2, max: 64 },
                        storage_gb: Bounds { min: 20, max: 500 },
                    },
                )]),
                rule: PriceRule { term_step_micros: 1_000, size_step: 2, storage_gb_min: 20 },
            }),
            spot: SpotTerms::Asked,
            ports: Ports::Free(vec![20_000]),
            available_until: None,
        }
    }

    fn shape(gpus: u32, vcpus: u32, ram_gb: u32, storage_gb: u32) -> Shape {
        Shape { gpu_model: "l40-pcie-48gb".parse().unwrap(), gpus, vcpus, ram_gb, storage_gb }
    }

    #[test]
    fn a_price_is_the_sum_of_its_rounded_terms_in_the_sizes_that_are_sold() {
        let (sold, rates) = l40().price(&shape(1, 3, 15, 100)).unwrap();
        assert_eq!((sold.vcpus, sold.ram_gb), (4, 16));
        assert_eq!(rates.compute, rate("1.094"));
        assert_eq!(rates.storage, rate("0.005"));
    }

    #[test]
    fn a_hostnodes_own_limits_raise_the_size_or_refuse_it() {
        assert_eq!(l40().price(&shape(2, 8, 32, 100)).unwrap().0.vcpus, 16);
        assert_eq!(l40().price(&shape(2, 8, 66, 100)), Err(Misfit::Restricted));
        assert_eq!(l40().price(&shape(9, 8, 32, 100)), Err(Misfit::Gpus));
        assert_eq!(l40().price(&shape(1, 8, 1_496, 100)), Err(Misfit::Resources));
        assert_eq!(l40().price(&shape(0, 8, 32, 100)), Err(Misfit::Gpus));
    }

    #[test]
    fn a_lot_is_taken_whole_and_the_cheapest_first() {
        let lot = |id: &str, price: &str| Lot {
            id: id.into(),
            shape: shape(1, 16, 64, 200),
            sizes: Sizes::Said,
            rates: Rates { compute: rate(price), storage: rate("0") },
            sold: Sold::EitherWay,
        };
        let host = Hostnode { supply: Supply::Lots(vec![lot("a", "0.5"), lot("b", "0.4")]), ..l40() };
        let (sold, rates) = host.price(&shape(1, 4, 16, 100)).unwrap();
        assert_eq!((sold.vcpus, rates.compute), (16, rate("0.4")));
        assert_eq!(host.price(&shape(2, 4, 16, 100)), Err(Misfit::Gpus));
        assert_eq!(host.free_gpus(&"l40-pcie-48gb".parse().unwrap()), 2);
        assert_eq!(host.price(&shape(1, 4, 16, 201)), Err(Misfit::Gpus));
        let unsaid = Lot { sizes: Sizes::Unsaid, ..lot("c", "0.3") };
        assert_eq!(unsaid.sells(&shape(1, 4, 16, 900)), Some(shape(1, 4, 16, 900)));
        assert_eq!(unsaid.sells(&shape(2, 4, 16, 900)), None);
    }

    #[test]
    fn a_lot_that_is_sold_by_bid_has_a_price_and_is_not_sold_on_demand() {
        let lot = |sold| Lot {
            id: "a".into(),
            shape: shape(1, 16, 64, 200),
            sizes: Sizes::Unsaid,
            rates: Rates { compute: rate("0.5"), storage: rate("0") },
            sold,
        };
        let host = |sold| Hostnode { supply: Supply::Lots(vec![lot(sold)]), ..l40() };
        let wanted = shape(1, 4, 16, 100);
        assert_eq!(host(Sold::ByBid).price(&wanted), host(Sold::EitherWay).price(&wanted));
        assert_eq!([Sold::ByBid, Sold::EitherWay].map(|sold| host(sold).sells_on_demand(&wanted)), [false, true]);
        assert!(l40().sells_on_demand(&wanted) && !host(Sold::EitherWay).sells_on_demand(&shape(2, 4, 16, 100)));
    }

    #[test]
    fn an_unrounded_price_may_still_be_off_by_what_we_count_in() {
        let rule = |term_step_micros| PriceRule { term_step_micros, size_step: 2, storage_gb_min: 0 };
        assert_eq!([rule(0), rule(1_000)].map(|rule| rule.tolerance().micros()), [2, 2_000]);
    }

    #[test]
    fn nothing_is_sold_with_less_disk_than_the_marketplace_sells() {
        assert_eq!(l40().price(&shape(1, 4, 16, 5)).unwrap().0.storage_gb, 20);
    }

    #[test]
    fn outside_ports_are_the_lowest_free_ones_or_the_marketplaces_own() {
        let free = Ports::Free(vec![30_002, 30_001, 30_003]);
        assert_eq!(free.choose(&[22, 80]), Some([(30_001, 22), (30_002, 80)].into()));
        assert_eq!(free.choose(&[1, 2, 3, 4]), None);
        assert_eq!((Ports::Unlisted.may_serve(&[22]), Ports::Unlisted.choose(&[22])), (true, None));
        assert_eq!(Ports::GivenForSsh.choose(&[22]), Some(BTreeMap::new()));
        assert_eq!(Ports::GivenForSsh.choose(&[22, 80]), None);
    }
}
