//! Asks each marketplace one harmless question, and reads from its answer whether it can be reached, takes the
//! credentials, and agrees about the time.

use super::failure::Failure;
use crate::{
    io::{
        http::HttpPool,
        net::{Net, NetError},
    },
    market,
    model::{MarketplaceName, Refusal, Timestamp},
    settings::{MarketplaceSettings, Settings},
};
use futures_util::future::join_all;

/// What one marketplace answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probed {
    /// Whether it takes the credentials.
    pub taken: Result<(), Refusal>,
    /// What time it was there, to the second, where it said.
    pub date: Option<Timestamp>,
}

/// Asks every marketplace at once, each within its own deadline.
///
/// # Errors
/// When no HTTP client can be made at all.
pub async fn credentials(settings: &Settings) -> Result<Vec<(MarketplaceName, Probed)>, Failure> {
    let mut questions = Vec::new();
    let pool = HttpPool::new().map_err(|error| Failure::failed("cannot ask the marketplaces").caused_by(&error))?;
    for (name, marketplace) in &settings.marketplaces {
        let net = pool
            .to(&marketplace.base_url)
            .map_err(|error| Failure::failed(format!("cannot ask {name}")).caused_by(&error))?;
        questions.push(async move { (name.clone(), ask(&net, marketplace).await) });
    }
    Ok(join_all(questions).await)
}

/// What a marketplace that does not take the credentials, or does not answer, needs: the fact, and what to do.
pub fn remedy(marketplace: &MarketplaceName, refusal: &Refusal) -> String {
    match refusal {
        Refusal::Unauthorized(why) => format!("{marketplace} does not take the credentials ({why}); renew them"),
        Refusal::Unreachable(why) => {
            format!("{marketplace} does not answer ({why}); mend base_url or the network, or try again later")
        }
        Refusal::Malformed(_) => format!("{marketplace}: {refusal}; is base_url the marketplace's?"),
        Refusal::Throttled { .. } => format!("{marketplace} asks us to wait; try again later"),
        Refusal::NoCapacity(_) | Refusal::BidTooLow(_) | Refusal::Gone | Refusal::Broke(_) | Refusal::Refused(_) => {
            format!("{marketplace}: {refusal}; try again later, or mend base_url")
        }
    }
}

async fn ask(net: &dyn Net, marketplace: &MarketplaceSettings) -> Probed {
    let dialect = market::dialect(marketplace.api, marketplace.key.clone(), marketplace.token.clone());
    let question = dialect.whoami();
    match net.send(question.request.clone(), dialect.manners().read_deadline).await {
        Ok(answer) => Probed {
            taken: question.understood(&answer),
            date: answer
                .header("date")
                .and_then(|date| jiff::fmt::rfc2822::parse(date).ok())
                .map(|date| date.timestamp()),
        },
        Err(NetError::NotSent(why) | NetError::Lost(why)) => {
            Probed { taken: Err(Refusal::Unreachable(why)), date: None }
        }
    }
}
