//! A still market and somebody who asks it: where each of its lies is tried, and what it does without any.

use super::{
    super::{Faults, World, WorldOptions},
    Answer, Market,
};
use crate::{
    market::{Backend, Dialect, Exchange, Order, dialect},
    model::{InstanceId, PriceType, Refusal, Shape, Timestamp, VmName},
    settings::Api,
};
use std::sync::Arc;

pub(super) const SPOT: &str = "8db2ec46-c094-4262-bc7e-6c76617f4237";

pub(super) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// A still market and somebody who asks it in v0.
pub(super) struct Stand {
    pub(super) market: Market,
    pub(super) dialect: Arc<dyn Dialect>,
    pub(super) second: i64,
}

impl Stand {
    pub(super) fn new() -> Self {
        let options = WorldOptions::still("100".parse().unwrap());
        let world = World::new(1, at(0), options);
        let market = Market::of_all_dialects(world, Faults::none(), Some("k"), Some("t"));
        Self { market, dialect: dialect(Api::TensordockV0, Some("k".into()), "t".into()), second: 0 }
    }

    pub(super) fn ask<T>(&mut self, exchange: &Exchange<T>) -> Result<T, Refusal> {
        match self.market.handle(at(self.second), &exchange.request).answer {
            Answer::Whole(response) => (exchange.read)(&exchange.request, &response),
            Answer::Cut(_) | Answer::Nothing => Err(Refusal::Unreachable("dropped".to_owned())),
        }
    }

    pub(super) fn deploy(&mut self, name: &str) -> Result<InstanceId, Refusal> {
        let order = Order {
            name: name.parse().unwrap(),
            hostnode: SPOT.parse().unwrap(),
            shape: shape(),
            price_type: PriceType::Spot,
            bid: Some("0.25".parse().unwrap()),
            image: "Ubuntu 22.04 LTS".to_owned(),
            ports: [(30_247, 22)].into(),
            ssh_key: None,
            cloud_init: None,
            password: "Passw0rd-of-a-test".into(),
        };
        let order = Order { ports: self.free_port().map(|port| (port, 22)).into_iter().collect(), ..order };
        let exchange = self.dialect.deploy(&order)?;
        self.ask(&exchange).map(|deployed| deployed.id)
    }

    pub(super) fn free_port(&mut self) -> Option<u16> {
        let hosts = self.market.world.hostnodes();
        hosts.iter().find(|host| host.id.as_str() == SPOT)?.ports.free().first().copied()
    }

    pub(super) fn listed(&mut self) -> Result<Vec<VmName>, Refusal> {
        let exchange = self.dialect.instances();
        Ok(self.ask(&exchange)?.items.into_iter().map(|instance| instance.name).collect())
    }

    pub(super) fn made(&self) -> usize {
        self.market.world.truth().vms.len()
    }
}

pub(super) fn shape() -> Shape {
    Shape { gpu_model: "v100-pcie-16gb".parse().unwrap(), gpus: 2, vcpus: 8, ram_gb: 8, storage_gb: 200 }
}
