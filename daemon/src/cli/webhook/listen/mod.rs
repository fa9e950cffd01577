//! `mortise webhook listen`: a receiver on this host, for people who write one of their own or wonder
//! what is sent. It needs no daemon unless it is to register itself.

mod receiver;
mod say;
mod server;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use self::receiver::Behaviour;
use self::server::{Site, Tally};
use super::given;
use super::wait::{self, Settled};
use crate::cli::Failure;
use crate::cli::arguments::Connection;
use crate::cli::connection::Client;
use crate::cli::show;
use crate::cli::stop::Stop;
use crate::clock::Clock;
use crate::secrets::VerificationKeys;

/// How long what is being answered may take at the end.
const END: Duration = Duration::from_secs(2);
/// How often the webhook that was registered is looked at until it is active.
const LOOK: Duration = Duration::from_millis(500);
/// The longest that an answer may be put off.
const LONGEST_DELAY_SECONDS: f64 = 600.0;

#[derive(Args, Debug)]
pub(in crate::cli) struct Listen {
    /// The port; 0 for any that is free
    port: u16,
    /// The address; only this host can reach the usual one
    #[arg(long, value_name = "ADDRESS", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    address: IpAddr,
    /// Verify with the secret in this file, or - for standard input
    #[arg(long, value_name = "FILE", conflicts_with = "register")]
    secret_file: Option<PathBuf>,
    /// Answer events with this status
    #[arg(long, value_name = "CODE", value_parser = clap::value_parser!(u16).range(200..=599))]
    status: Option<u16>,
    /// Give that status to the first attempts of each event only, and 200 to those after them
    #[arg(long, value_name = "N", requires = "status")]
    fail_first: Option<u32>,
    /// Send Retry-After with it
    #[arg(long, value_name = "SECONDS", requires = "status")]
    retry_after: Option<u64>,
    /// Answer events after so long, such as 4 or 0.5
    #[arg(long, value_name = "SECONDS", value_parser = delay)]
    delay: Option<Duration>,
    /// Do not echo challenges
    #[arg(long)]
    no_echo: bool,
    /// Show the bodies too
    #[arg(long)]
    body: bool,
    /// End after so many requests with events
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Make a webhook at the daemon that leads here, and delete it at the end
    #[arg(long, requires = "event")]
    register: bool,
    /// For --register: an event type, such as `work_created`; may be repeated
    #[arg(long = "event", value_name = "TYPE", requires = "register")]
    event: Vec<String>,
    /// For --register: what the daemon reaches this under, when it is not this address and port
    #[arg(long = "as", value_name = "URL", requires = "register")]
    known_as: Option<String>,
}

fn delay(text: &str) -> Result<Duration, String> {
    let wrong = || format!("expected 0 to {LONGEST_DELAY_SECONDS} seconds, such as 4 or 0.5");
    let seconds: f64 = text.parse().map_err(|_| wrong())?;
    if !(0.0..=LONGEST_DELAY_SECONDS).contains(&seconds) {
        return Err(wrong());
    }
    Ok(Duration::from_secs_f64(seconds))
}

/// Listens until it is told to end.
pub(in crate::cli) fn run(connection: &Connection, options: &Listen) -> Result<(), Failure> {
    let client = if options.register { Some(Client::connect(connection)?) } else { None };
    let secret = match (&options.secret_file, options.register) {
        (Some(file), _) => Some(given::secret(file)?),
        (None, true) => Some(given::new_secret()),
        (None, false) => None,
    };
    let stop = Stop::listen()?;
    let failed = |error: std::io::Error| Failure::failed(format!("cannot serve: {error}"));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(failed)?;
    let wanted = SocketAddr::new(options.address, options.port);
    let listener = runtime.block_on(tokio::net::TcpListener::bind(wanted)).map_err(|error| {
        Failure::refused(format!("cannot listen at {wanted}: {error}; 0 as port takes a free one"))
    })?;
    let address = listener.local_addr().map_err(failed)?;
    let site = Arc::new(Site {
        keys: secret.as_ref().map(|it| VerificationKeys::of(it)),
        behaviour: Behaviour {
            status: options.status,
            fail_first: options.fail_first,
            retry_after: options.retry_after,
            delay: options.delay.unwrap_or_default(),
            no_echo: options.no_echo,
        },
        as_json: connection.json,
        with_body: options.body,
        count: options.count,
        stop: stop.clone(),
        clock: Clock::System,
        tally: Mutex::new(Tally::default()),
    });
    say_where(connection.json, address, secret.is_some())?;
    runtime.spawn(server::serve(listener, site.clone()));
    let ended = match (&client, &secret) {
        (Some(client), Some(secret)) => registered(client, options, address, secret, &stop),
        (None, _) | (_, None) => {
            stop.wait_for_ever();
            Ok(())
        }
    };
    runtime.shutdown_timeout(END);
    ended?;
    let mut tally = site.tally.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(failure) = tally.unheard.take() {
        return Err(failure);
    }
    match tally.bad {
        0 => Ok(()),
        1 => Err(Failure::refused("the signature of a request was wrong")),
        bad => Err(Failure::refused(format!("the signatures of {bad} requests were wrong"))),
    }
}

fn say_where(as_json: bool, address: SocketAddr, verifies: bool) -> Result<(), Failure> {
    let url = url_of(address);
    if as_json {
        let line = json!({ "kind": "listening", "url": url, "verifies": verifies });
        return show::print(&line.to_string());
    }
    show::print(&format!("listening at {url}; Ctrl-C ends this"))?;
    if !verifies {
        show::print("signatures are not verified: give the secret by --secret-file")?;
    }
    Ok(())
}

/// As this host reaches it.
fn url_of(address: SocketAddr) -> String {
    let ip = match address.ip() {
        IpAddr::V4(it) if it.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(it) if it.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        it => it,
    };
    format!("http://{}/", SocketAddr::new(ip, address.port()))
}

/// Makes a webhook that leads here, waits, and deletes it.
fn registered(
    client: &Client,
    options: &Listen,
    address: SocketAddr,
    secret: &Zeroizing<String>,
    stop: &Stop,
) -> Result<(), Failure> {
    let url = options.known_as.clone().unwrap_or_else(|| url_of(address));
    let asked = json!({ "url": url, "event_types": options.event, "secret": secret.as_str() });
    let made = client.call("webhooks.create", &asked)?;
    let webhook = json!({ "id": made["webhook"]["id"] });
    let shown = show::plain(webhook["id"].as_str().unwrap_or_default());
    eprintln!("registered {shown} for {}", options.event.join(", "));
    let ended = until_active(client, &webhook, stop);
    if ended.is_ok() {
        stop.wait_for_ever();
    }
    match client.call("webhooks.delete", &webhook) {
        Ok(_) => eprintln!("deleted {shown}"),
        Err(failure) => {
            let message = format!(
                "{}\nthe webhook is still there: mortise webhook delete {shown}",
                failure.message
            );
            return Err(ended.err().unwrap_or(Failure { message, ..failure }));
        }
    }
    ended
}

/// Waits until it is active, or until it is told to end; says why it is not yet.
fn until_active(client: &Client, which: &Value, stop: &Stop) -> Result<(), Failure> {
    let mut said = String::new();
    loop {
        let answer = client.call("webhooks.get", which)?;
        match wait::settled(&answer["webhook"]) {
            Settled::Active => {
                eprintln!("it is active: what happens is shown as it comes");
                return Ok(());
            }
            Settled::Refused { reason } => return Err(Failure::refused(reason)),
            Settled::Waiting { reason } => {
                let reason = reason.unwrap_or_default();
                if reason != said {
                    eprintln!("not yet: {}", show::plain(&reason));
                    said = reason;
                }
            }
        }
        if stop.wait(LOOK) {
            return Ok(());
        }
    }
}
