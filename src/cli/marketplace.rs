//! `marketplace`: only the simulated marketplace, on a socket, until it is told to stop.

use super::{
    Context,
    args::MarketplaceArguments,
    failure::{Ending, Failure},
    say::say,
    signals,
};
use crate::{
    io::clock::{Clock, SystemClock},
    model::Usd,
    settings::Api,
    sim::{Faults, Knobs, Market, Seed, World, WorldOptions, serve::serve},
};
use std::{
    io::Write,
    sync::{Arc, Mutex},
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// What the account of a simulated marketplace holds at its opening.
const OPENING_BALANCE: Usd = Usd::from_micros(1_000_000_000);

/// The marketplace that the arguments describe, as it opens now.
fn market(arguments: &MarketplaceArguments, knobs: &Knobs, clock: &dyn Clock) -> Market {
    let options =
        WorldOptions { hosts: arguments.hosts.map(|hosts| hosts as usize), ..WorldOptions::lifelike(OPENING_BALANCE) };
    let world = World::new(arguments.seed, clock.now(), options);
    let (key, token) = (arguments.key.as_deref(), arguments.token.as_deref());
    let mut market = Market::of_all_dialects(world, Faults::none(), key, token);
    market.lie(Seed(arguments.seed), knobs);
    market
}

/// Listens and serves until SIGTERM or SIGINT.
///
/// # Errors
/// When it cannot listen there.
pub fn marketplace(context: &Context, arguments: &MarketplaceArguments) -> Result<Ending, Failure> {
    context.block_on(async {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::faster(arguments.speed));
        let knobs = Knobs::drawn(Seed(arguments.seed), arguments.faults.severity());
        let market = Arc::new(Mutex::new(market(arguments, &knobs, clock.as_ref())));
        let listener = TcpListener::bind(arguments.listen).await.map_err(|error| {
            let line = format!("cannot listen on {}; free it, or say another address with --listen", arguments.listen);
            Failure::failed(line).caused_by(&error)
        })?;
        let address = listener.local_addr().map_err(|error| Failure::failed("cannot listen").caused_by(&error))?;
        let shutdown = CancellationToken::new();
        signals::cancel_on_stop(shutdown.clone())?;
        let spoken: Vec<&str> = Api::ALL.iter().map(|api| api.as_str()).collect();
        say!("simulated marketplace on http://{address} ({}); stop it with Ctrl-C", spoken.join(", "));
        if knobs != Knobs::none() {
            say!("{knobs}");
        }
        let _ = std::io::stdout().flush();
        serve(listener, market, clock, shutdown).await;
        Ok(Ending::Done)
    })
}
