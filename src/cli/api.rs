//! `api`: one raw call of a marketplace's API with the configured credentials, by the vendor's own names.
//!
//! Which calls and fields there are is the dialect's to say ([`RawCall`]); here they become a command line of their own, so
//! that help, required fields and the nearest name for a slip are clap's as everywhere. One request is sent, never twice,
//! and its answer is printed as JSON, a refusal's too; one that is none as `{"text": …}`. **Invariant:** no credential of ours is printed, even where an
//! answer quotes what was sent, and no private key that an answer carries.

use super::{
    Context,
    args::{ApiArguments, Arguments},
    config,
    failure::{Ending, Failure},
    probe,
    say::say,
};
use crate::{
    io::{
        http::HttpNet,
        net::{Net, NetError, Request, Response},
    },
    market::{
        self, Dialect, Exchange,
        hush::{HIDDEN, KEY_NAMES, Secrets, hushed},
        raw::{Need, RawCall, RawField, Stakes},
    },
    model::{MarketplaceName, Refusal},
    settings::{Api, MarketplaceSettings},
};
use clap::{Arg, ArgAction, ArgMatches, Command, CommandFactory, error::ErrorKind};
use secrecy::SecretString;
use serde_json::{Value, json};
use std::path::PathBuf;

/// Of an answer that is no JSON so much is printed.
const TEXT_CHARS_MAX: usize = 10_000;

/// The settings file that is named among a call's words.
pub fn named_config(words: &[String]) -> Option<PathBuf> {
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if word == "--config" {
            return words.next().map(PathBuf::from);
        }
        if let Some(file) = word.strip_prefix("--config=") {
            return Some(file.into());
        }
    }
    None
}

/// `api MARKETPLACE CALL [--field value …]`.
///
/// # Errors
/// When there is no such marketplace, call or field, nobody agrees, it cannot be asked, or it refuses.
pub fn api(context: &Context, arguments: &ApiArguments) -> Result<Ending, Failure> {
    let Some((name, words)) = arguments.words.split_first().filter(|(first, _)| !first.starts_with('-')) else {
        return explain(&arguments.words);
    };
    if asks_for_help(words) && !is_configured(context, name) {
        return helped(name, words);
    }
    let checked = config::check(context)?;
    let settings = checked.without_secrets().ok_or_else(|| config::faulty(&checked.faults))?;
    let known = settings.marketplaces.iter().find(|(known, _)| known.as_str() == name);
    let (name, marketplace) = known.ok_or_else(|| unknown(name, settings.marketplaces.keys()))?;
    let dialect = market::dialect(marketplace.api, marketplace.key.clone(), marketplace.token.clone());
    let calls = dialect.raw_calls();
    let matches = match command(name.as_str(), calls).try_get_matches_from(words) {
        Ok(matches) => matches,
        Err(usage) => return said(&usage),
    };
    let chosen = matches.subcommand().and_then(|(name, fields)| {
        let call = calls.iter().find(|call| call.name == name)?;
        Some((call, fields))
    });
    let Some((call, given)) = chosen else {
        print(&mut command(name.as_str(), calls));
        return Ok(Ending::Done);
    };
    // Only who makes a call needs the credentials.
    if !checked.unresolved.is_empty() {
        return Err(config::faulty(&checked.unresolved));
    }
    let fields = fields(call, given);
    let exchange = dialect
        .raw(call, &fields)
        .ok_or_else(|| Failure::wrong(format!("{}: an id has only letters, digits, `-` and `_`", call.name)))?;
    match call.stakes {
        Stakes::Nothing => {}
        Stakes::Money => ask_first(context, name, call, given, "it may cost money")?,
        Stakes::Loss => ask_first(context, name, call, given, "what it ends may be lost")?,
    }
    let sent = context.block_on(send(marketplace, &*dialect, &exchange));
    let response = match sent? {
        Ok(response) => response,
        Err(refusal) => return Err(refused(name, call, &hushed(&exchange.request, None, refusal))),
    };
    if let Some(shown) = shown(&response.body, &Secrets::of(&exchange.request, Some(&response))) {
        context.print_json(&shown)?;
    }
    exchange.understood(&response).map(|()| Ending::Done).map_err(|refusal| refused(name, call, &refusal))
}

/// What of an answer is printed; `None` where there is nothing.
fn shown(body: &[u8], secrets: &Secrets) -> Option<Value> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return None;
    }
    Some(match serde_json::from_slice::<Value>(body) {
        Ok(mut value) => {
            hide(&mut value, secrets);
            value
        }
        Err(_) => {
            let text = secrets.hide_in_body(&String::from_utf8_lossy(body));
            json!({"text": text.chars().take(TEXT_CHARS_MAX).collect::<String>()})
        }
    })
}

fn asks_for_help(words: &[String]) -> bool {
    words.iter().any(|word| ["--help", "-h"].contains(&word.as_str()))
}

/// Whether the settings can be read and have such a marketplace.
fn is_configured(context: &Context, name: &str) -> bool {
    let settings = config::check(context).ok();
    let names = settings.as_ref().and_then(|checked| checked.without_secrets()).map(|settings| &settings.marketplaces);
    names.is_some_and(|names| names.keys().any(|known| known.as_str() == name))
}

/// Help needs no settings: an API's own name, such as `tensordock-v0`, has its calls explained, any other the usage.
fn helped(name: &str, words: &[String]) -> Result<Ending, Failure> {
    let Ok(api) = name.parse::<Api>() else { return explain(words) };
    let calls = market::dialect(api, None, SecretString::default()).raw_calls();
    match command(name, calls).try_get_matches_from(words) {
        Ok(_) => Ok(Ending::Done),
        Err(usage) => said(&usage),
    }
}

/// Without a marketplace: how to use it.
fn explain(words: &[String]) -> Result<Ending, Failure> {
    let help = words.is_empty() || asks_for_help(words);
    let mut all = Arguments::command();
    all.build();
    let own = all.find_subcommand_mut("api").expect("this is a command of ours");
    if help {
        print(own);
        return Ok(Ending::Done);
    }
    let stray = words.first().map_or("", String::as_str);
    said(&own.error(ErrorKind::UnknownArgument, format!("a marketplace's name comes first, not `{stray}`")))
}

fn print(command: &mut Command) {
    say!("{}", command.render_help().to_string().trim_end());
}

/// Help is an answer; a fault is told as every other fault of a command line is.
fn said(usage: &clap::Error) -> Result<Ending, Failure> {
    let _ = usage.print();
    Ok(if usage.use_stderr() { Ending::Wrong } else { Ending::Done })
}

fn unknown<'n>(name: &str, known: impl Iterator<Item = &'n MarketplaceName>) -> Failure {
    let known: Vec<&str> = known.map(MarketplaceName::as_str).collect();
    Failure::wrong(format!("there is no marketplace {name} in the settings; there are: {}", known.join(", ")))
}

/// The calls of one marketplace as a command line.
fn command(marketplace: &str, calls: &[RawCall]) -> Command {
    let bin = format!("spotscale api {marketplace}");
    let config = Arg::new("config").long("config").value_name("FILE").global(true).help("The settings file");
    let yes = |stakes: Stakes| {
        let help = match stakes {
            Stakes::Nothing => "Accepted, and not needed: it only reads",
            Stakes::Money | Stakes::Loss => "Do not ask first",
        };
        Arg::new("yes").long("yes").short('y').action(ArgAction::SetTrue).help(help)
    };
    let field = |field: &RawField| {
        let about = match field.need {
            Need::Needed => field.about.to_owned(),
            Need::Optional => format!("{} [optional]", field.about),
        };
        let needed = field.need == Need::Needed;
        Arg::new(field.name).long(field.name).value_name("VALUE").allow_hyphen_values(true).required(needed).help(about)
    };
    let fields = format!("Fields, those in brackets optional:\n{}", calls.iter().map(line).collect::<String>());
    let calls = calls.iter().map(|call| {
        Command::new(call.name)
            .bin_name(format!("{bin} {}", call.name))
            .about(call.about)
            .args(call.fields.iter().map(field))
            .arg(yes(call.stakes))
    });
    Command::new("api")
        .bin_name(bin.clone())
        .no_binary_name(true)
        .about(format!("The calls of {marketplace}'s API, by the vendor's names"))
        .subcommand_value_name("CALL")
        .subcommand_help_heading("Calls")
        .disable_help_subcommand(true)
        .after_long_help(fields)
        .max_term_width(100)
        .arg(config)
        .subcommands(calls)
}

/// A call and its fields.
fn line(call: &RawCall) -> String {
    let field = |field: &RawField| match field.need {
        Need::Needed => format!(" --{}", field.name),
        Need::Optional => format!(" [--{}]", field.name),
    };
    format!("  {}{}\n", call.name, call.fields.iter().map(field).collect::<String>())
}

fn fields(call: &RawCall, given: &ArgMatches) -> Vec<(String, String)> {
    let value = |field: &RawField| Some((field.name.to_owned(), given.get_one::<String>(field.name)?.clone()));
    call.fields.iter().filter_map(value).collect()
}

fn ask_first(
    context: &Context,
    marketplace: &MarketplaceName,
    call: &RawCall,
    given: &ArgMatches,
    why: &str,
) -> Result<(), Failure> {
    let question = format!("Send {} to {marketplace}? {}: {why}.", call.name, call.about);
    context.terminal.confirm(&question, given.get_flag("yes"))
}

async fn send(
    marketplace: &MarketplaceSettings,
    dialect: &dyn Dialect,
    exchange: &Exchange<()>,
) -> Result<Result<Response, Refusal>, Failure> {
    let net = HttpNet::new(&marketplace.base_url)
        .map_err(|error| Failure::failed("cannot ask the marketplace").caused_by(&error))?;
    let deadline = match exchange.effect {
        market::Effect::Reads => dialect.manners().read_deadline,
        market::Effect::Writes => dialect.manners().write_deadline,
    };
    let request: Request = exchange.request.clone();
    Ok(match net.send(request, deadline).await {
        Ok(response) => Ok(response),
        Err(NetError::NotSent(why)) => Err(Refusal::Unreachable(format!("not sent: {why}"))),
        Err(NetError::Lost(why)) => Err(Refusal::Unreachable(why)),
    })
}

fn refused(marketplace: &MarketplaceName, call: &RawCall, refusal: &Refusal) -> Failure {
    let line = match refusal {
        Refusal::Unauthorized(_) | Refusal::Unreachable(_) | Refusal::Malformed(_) | Refusal::Throttled { .. } => {
            probe::remedy(marketplace, refusal)
        }
        Refusal::NoCapacity(_) | Refusal::BidTooLow(_) | Refusal::Gone | Refusal::Broke(_) | Refusal::Refused(_) => {
            format!("{marketplace}: {}: {refusal}", call.name)
        }
    };
    let failure = Failure::failed(line);
    match (call.stakes, refusal) {
        (Stakes::Money | Stakes::Loss, Refusal::Unreachable(why)) if !why.starts_with("not sent") => {
            failure.because("it may have been done all the same; look before it is sent again")
        }
        (Stakes::Money | Stakes::Loss, Refusal::Malformed(_)) => {
            failure.because("it may have been done all the same; look before it is sent again")
        }
        _ => failure,
    }
}

fn hide(value: &mut Value, secrets: &Secrets) {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
        Value::String(text) => *text = secrets.hide(text),
        Value::Array(values) => values.iter_mut().for_each(|value| hide(value, secrets)),
        Value::Object(members) => {
            let shown = std::mem::take(members).into_iter().map(|(key, mut value)| {
                if KEY_NAMES.contains(&key.as_str()) && !value.is_null() {
                    value = HIDDEN.into();
                }
                hide(&mut value, secrets);
                (secrets.hide(&key), value)
            });
            *members = shown.collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn v0() -> &'static [RawCall] {
        market::dialect(crate::settings::Api::TensordockV0, None, "t".into()).raw_calls()
    }

    #[test]
    fn the_command_lines_made_of_the_calls_are_consistent() {
        for api in Api::ALL {
            command("tensordock", market::dialect(*api, None, "t".into()).raw_calls()).debug_assert();
        }
    }

    #[test]
    fn a_settings_file_is_found_among_the_words() {
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(named_config(&words("tensordock list --config a.toml")), Some("a.toml".into()));
        assert_eq!(named_config(&words("tensordock --config=a.toml list")), Some("a.toml".into()));
        assert_eq!(named_config(&words("tensordock list --config")), None);
        assert_eq!(named_config(&words("tensordock list")), None);
    }

    #[track_caller]
    fn check(body: &str, expected: Option<Value>) {
        let request = Request::form("/", [("api_key", "hush-key"), ("password", "abc")]);
        let response = Response::json(200, body);
        assert_eq!(shown(&response.body, &Secrets::of(&request, Some(&response))), expected);
    }

    #[test]
    fn no_secret_is_shown_wherever_an_answer_quotes_it() {
        let answer = json!({"hush-key": ["it was hush-key", {"a": "hush-keyhush-key"}], "b": 1, "c": "abc"});
        let expected = json!({"***": ["it was ***", {"a": "******"}], "b": 1, "c": "abc"});
        check(&answer.to_string(), Some(expected));
    }

    #[test]
    fn no_private_key_is_shown_however_it_comes() {
        let key = "-----BEGIN RSA PRIVATE KEY-----\nMIIEhush\n-----END RSA PRIVATE KEY-----";
        let instances =
            json!([{"pem": "MIIEhush", "name": "a"}, {"pem": ["MIIEhush"], "log": "MIIEhush"}, {"pem": null}]);
        let shown = json!([{"pem": "***", "name": "a"}, {"pem": "***", "log": "***"}, {"pem": null}]);
        check(
            &json!({"instances": instances, "log": key}).to_string(),
            Some(json!({"instances": shown, "log": "***"})),
        );
        check("{\"pem\": \"any\" \"half\": 1}", Some(json!({"text": "***"})));
    }

    #[test]
    fn an_answer_that_is_no_json_is_shown_as_a_text_in_json_and_an_empty_one_not_at_all() {
        check("{\"email\": \"a\" \"key\": \"hush-key\"}", Some(json!({"text": "{\"email\": \"a\" \"key\": \"***\"}"})));
        check(&"<p>".repeat(TEXT_CHARS_MAX), Some(json!({"text": "<p>".repeat(TEXT_CHARS_MAX)[..TEXT_CHARS_MAX]})));
        check("", None);
        check(" \n", None);
    }

    #[test]
    fn a_write_whose_answer_is_lost_is_not_told_as_undone() {
        let told = |name: &str, refusal: Refusal| {
            let call = v0().iter().find(|call| call.name == name).unwrap();
            refused(&"tensordock".parse().unwrap(), call, &refusal).to_string()
        };
        let doubt = "  because: it may have been done all the same; look before it is sent again\n";
        assert!(told("deploy", Refusal::Unreachable("timed out".into())).ends_with(doubt));
        assert!(told("delete", Refusal::Malformed("HTML".into())).ends_with(doubt));
        assert!(!told("list", Refusal::Unreachable("timed out".into())).contains(doubt));
        assert!(!told("deploy", Refusal::Unreachable("not sent: refused".into())).contains(doubt));
        let said = told("deploy", Refusal::Refused("it is odd".into()));
        assert_eq!(said, "error: tensordock: deploy: refused: it is odd\n");
    }

    #[test]
    fn what_changes_the_world_is_asked_first_and_what_reads_is_not() {
        let asked = |api: Api, stakes: Stakes| {
            let calls = market::dialect(api, None, "t".into()).raw_calls();
            let names: Vec<&str> = calls.iter().filter(|call| call.stakes == stakes).map(|call| call.name).collect();
            names.join(" ")
        };
        for (api, money, loss) in [
            (
                Api::TensordockV0,
                "deploy validate-existing start modify deploy-instant container-deploy container-scale",
                "stop delete container-stop",
            ),
            (Api::TensordockV2, "create start modify secret-create", "stop delete secret-delete"),
            (Api::Vectordash, "create", "delete"),
            (Api::Trace, "create", "delete"),
        ] {
            assert_eq!((asked(api, Stakes::Money).as_str(), asked(api, Stakes::Loss).as_str()), (money, loss), "{api}");
        }
    }
}
