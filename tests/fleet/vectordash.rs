//! A fleet on Vectordash: GPUs by type, one to a VM, on demand, and nothing that can be asked for by id.
//!
//! The account is TensorDock's, so that somebody can read a balance.

use super::stage::{SETTINGS, Stage, name, still};
use spotscale::{
    engine::{Lever, Role},
    ledger::Standing,
    model::reason::Rejected,
    settings::Vendor,
    sim::{Absence, Call},
};
use std::time::Duration;

/// Two marketplaces, one purse.
fn settings() -> String {
    format!(
        "{SETTINGS}account = \"both\"\n[marketplaces.vectordash]\napi = \"vectordash\"\ntoken = {{ env = \"TOKEN\" }}\n\
         requests_per_second = 100\naccount = \"both\"\n"
    )
}

/// Three GPUs of two types that only Vectordash has.
fn policy(more: &str) -> String {
    format!(
        "fleet = \"train\"\ntarget_gpus = 3\nmax_hourly_rate = 6.00\nbalance_floor = 50.00\n\
         models = [\"geforcegtx1080ti-pcie-11gb\", \"titanv-pcie-12gb\"]\npreference = \"value\"\n\
         [on_demand]\nuse = \"always\"\n[instance]\n{more}"
    )
}

async fn stage(more: &str) -> Stage {
    Stage::with(still("500"), &settings(), Role::AsConfigured, &[("train", &policy(more))]).await
}

#[tokio::test]
async fn a_fleet_reaches_its_target_one_gpu_of_a_type_at_a_time_and_goes_again() {
    let mut stage = stage("").await;
    stage.ticks(12).await;
    let members = stage.members("train");
    assert_eq!(stage.alive("train").len(), 3, "{members:#?}");
    assert_eq!(stage.gpus_standing("train", Standing::Running), 3);
    assert!(members.iter().all(|member| member.address.is_some() && member.ports.values().eq([&22])));
    assert!(members.iter().any(|member| member.hostnode.as_str() == "1080 ti" && member.available_until.is_some()));
    let shown = spotscale::admin::show::instances(&stage.status(), stage.status().at.unwrap()).instances;
    assert!(shown.iter().all(|vm| vm.user.as_deref() == Some("ubuntu")), "{shown:?}");
    let writes = stage.writes();
    stage.ticks(20).await;
    assert_eq!(stage.writes(), writes, "it rests");

    stage.pull(Lever::Evacuate(Some(name("train")))).await.unwrap();
    stage.ticks(6).await;
    assert_eq!((stage.alive("train").len(), stage.members("train").len()), (0, 0));
    assert_eq!((stage.calls(Call::Terminate), stage.calls(Call::Instance)), (3, 0));
    assert_eq!(stage.metric("spotscale_invariant_violations_total"), 0.0);
}

#[tokio::test]
async fn a_vm_whose_machine_died_is_gone_by_repeated_lists_alone_and_is_replaced() {
    let mut stage = stage("").await;
    stage.ticks(12).await;
    let lost = stage.alive("train").remove(0);
    let forever = Duration::from_secs(86_400);
    stage.market().world_of(Vendor::Vectordash).vanish(&lost.hostnode, Absence::Dead, forever);
    let left = stage.alive("train").len();
    // Five lists lack it after two and a half minutes, and five minutes are the settle grace.
    stage.ticks(9).await;
    assert_eq!(stage.alive("train").len(), left, "nothing is rented in its place before it is proven gone");
    assert!(stage.members("train").iter().any(|member| member.name == lost.name));
    stage.ticks(12).await;
    assert_eq!(stage.alive("train").len(), 3);
    assert!(stage.members("train").iter().all(|member| member.name != lost.name));
}

#[tokio::test]
async fn what_vectordash_cannot_give_is_not_rented_there() {
    for (more, reason) in
        [("ports = [22, 8888]\n", Rejected::NoFreePorts), ("gpus = { min = 2, max = 2 }\n", Rejected::NotEnoughGpus)]
    {
        let mut stage = stage(more).await;
        stage.ticks(3).await;
        let rejected = stage.report("train").rejected;
        assert_eq!((rejected[&reason], stage.calls(Call::Deploy)), (2, 0), "{more}");
    }
}
