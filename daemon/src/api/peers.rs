//! At the other end of a connection: an address, or a user of this host, whom the kernel names. What
//! the settings make of the second, and how wrong tokens are slowed down. Must never slow down a good
//! token, nor who calls over the Unix socket.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use actix_web::HttpRequest;

use super::error::{ApiError, Code};
use crate::access::{Powers, State};
use crate::config::{PeerRule, PeerWho};
use crate::model::access::{HostRole, PrincipalKind};

use super::rights::HostCaller;

/// The user at the other end of a Unix socket, as the kernel says.
#[derive(Clone, Copy, Debug)]
pub(super) struct UnixPeer {
    pub(super) uid: u32,
    pub(super) gid: u32,
}

/// For the record: where a request comes from.
pub(super) fn peer_of(request: &HttpRequest) -> String {
    if let Some(UnixPeer { uid, .. }) = request.conn_data::<UnixPeer>() {
        return format!("unix:{uid}");
    }
    request.peer_addr().map(|it| it.ip().to_canonical().to_string()).unwrap_or_default()
}

/// Who a peer of the Unix socket is. Root is an owner and so is whom `listen.owner_uids` names; then
/// the settings are looked at, uids before groups. The daemon's own user never is anybody, unless it
/// is root: what runs as that user must not rule over the host's snap-ins.
pub(super) fn unix_caller(
    peer: UnixPeer,
    own_uid: u32,
    owner_uids: &[u32],
    rules: &[PeerRule],
    state: &State,
) -> Result<HostCaller, String> {
    let UnixPeer { uid, gid } = peer;
    let caller = |name: String, powers| HostCaller {
        person: name.clone(),
        name,
        principal: None,
        token: None,
        token_hash: None,
        powers,
        scope: None,
        expires_ms: None,
        is_limited: false,
    };
    let is_own = uid == own_uid && uid != 0;
    if uid == 0 || (!is_own && owner_uids.contains(&uid)) {
        return Ok(caller(format!("uid:{uid}"), Powers::of_roles(&[HostRole::Owner])));
    }
    let by_uid = rules.iter().find(|it| it.uid == Some(uid));
    let rule = by_uid.or_else(|| rules.iter().find(|it| it.gid == Some(gid)));
    let Some(rule) = rule.filter(|_| !is_own) else {
        return Err(format!(
            "user id {uid} is nobody to this daemon: call as root, have it added to \
             listen.owner_uids or access.peers, or send a token"
        ));
    };
    match &rule.who {
        PeerWho::Roles(roles) => Ok(caller(format!("uid:{uid}"), Powers::of_roles(roles))),
        PeerWho::User(name) => {
            let Some(id) = state.named(PrincipalKind::User, name) else {
                return Err(format!(
                    "access.peers says that user id {uid} is the user `{name}`, whom there is not: \
                     an owner makes him with `mortise user create {name}`"
                ));
            };
            Ok(HostCaller {
                name: format!("user:{name}"),
                person: name.clone(),
                principal: Some(id),
                ..caller(String::new(), state.powers_of(id))
            })
        }
    }
}

/// How many wrong tokens of a peer go unpunished.
const FREE: u32 = 5;
/// How long the first wrong token after those waits; each one more waits twice as long.
const FIRST_DELAY: Duration = Duration::from_millis(50);
/// How long one waits at most.
const LONGEST_DELAY: Duration = Duration::from_secs(3);
/// How long after its last wrong token a peer is forgotten.
const FORGET_MS: u64 = 10 * 60 * 1000;
/// How many peers are known at a time.
const MOST_PEERS: usize = 4096;
/// How many answers to one peer may be held back at a time, and how many to all. More are answered at
/// once, with 429.
const MOST_WAITING: u32 = 8;
const MOST_WAITING_OF_ALL: u32 = 256;

#[derive(Clone, Copy, Debug, Default)]
struct Known {
    wrong: u32,
    waiting: u32,
    last_ms: u64,
}

/// Peers that sent wrong tokens.
#[derive(Debug, Default)]
pub struct WrongTokens(Mutex<Book>);

#[derive(Debug, Default)]
struct Book {
    peers: HashMap<IpAddr, Known>,
    waiting: u32,
}

/// What is to be done about one more wrong token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sentence {
    /// Nothing.
    AtOnce,
    /// Its answer waits.
    Wait(Duration),
    /// Too many of them wait.
    Refuse,
}

impl Book {
    fn judge(&mut self, peer: IpAddr, now_ms: u64) -> Sentence {
        self.make_room(peer, now_ms);
        let known = self.peers.entry(peer).or_default();
        if now_ms >= known.last_ms.saturating_add(FORGET_MS) {
            known.wrong = 0;
        }
        known.wrong = known.wrong.saturating_add(1);
        known.last_ms = now_ms;
        let Some(beyond) = known.wrong.checked_sub(FREE + 1) else { return Sentence::AtOnce };
        if known.waiting >= MOST_WAITING || self.waiting >= MOST_WAITING_OF_ALL {
            return Sentence::Refuse;
        }
        known.waiting += 1;
        self.waiting += 1;
        Sentence::Wait(FIRST_DELAY.saturating_mul(1 << beyond.min(10)).min(LONGEST_DELAY))
    }

    /// Forgets the peer that was quiet for longest when there are too many.
    fn make_room(&mut self, peer: IpAddr, now_ms: u64) {
        if self.peers.len() < MOST_PEERS || self.peers.contains_key(&peer) {
            return;
        }
        self.peers.retain(|_, it| it.waiting > 0 || now_ms < it.last_ms.saturating_add(FORGET_MS));
        if self.peers.len() < MOST_PEERS {
            return;
        }
        let idle = self.peers.iter().filter(|(_, it)| it.waiting == 0);
        let quietest = idle.min_by_key(|(_, it)| it.last_ms).map(|(peer, _)| *peer);
        quietest.map(|it| self.peers.remove(&it));
    }

    fn end_wait(&mut self, peer: IpAddr) {
        self.waiting = self.waiting.saturating_sub(1);
        if let Some(known) = self.peers.get_mut(&peer) {
            known.waiting = known.waiting.saturating_sub(1);
        }
    }
}

/// An answer that is held back; not any more when this goes, also because the client has gone.
struct Waiting<'a> {
    book: &'a Mutex<Book>,
    peer: IpAddr,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.book.lock().unwrap_or_else(PoisonError::into_inner).end_wait(self.peer);
    }
}

impl WrongTokens {
    /// Holds the answer to a wrong token back; an error says that too many wait already.
    pub(super) async fn punish(&self, request: &HttpRequest, now_ms: u64) -> Result<(), ApiError> {
        let Some(peer) = request.peer_addr().map(|it| network_of(it.ip())) else { return Ok(()) };
        if request.conn_data::<UnixPeer>().is_some() {
            return Ok(());
        }
        let sentence = {
            let mut book = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            book.judge(peer, now_ms)
        };
        match sentence {
            Sentence::AtOnce => Ok(()),
            Sentence::Wait(delay) => {
                let _waiting = Waiting { book: &self.0, peer };
                tokio::time::sleep(delay).await;
                Ok(())
            }
            Sentence::Refuse => {
                let message = "too many wrong tokens came from your address";
                Err(ApiError::new(Code::TooManyRequests, message).retry_after(3))
            }
        }
    }
}

/// Whoever has one address of IPv6 has as many as he likes next to it.
fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(it) => IpAddr::V4(it),
        IpAddr::V6(it) => {
            let [a, b, c, d, ..] = it.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Right;
    use crate::config::Config;

    const NOW: u64 = 1_800_000_000_000;

    fn address(number: u32) -> IpAddr {
        IpAddr::V4(number.into())
    }

    #[test]
    fn wrong_tokens_wait_longer_and_longer_and_are_forgiven() {
        let mut book = Book::default();
        let mut sentences = Vec::new();
        for _ in 0..14 {
            let sentence = book.judge(address(1), NOW);
            if let Sentence::Wait(_) = sentence {
                book.end_wait(address(1));
            }
            sentences.push(sentence);
        }
        assert!(sentences[..5].iter().all(|it| *it == Sentence::AtOnce), "{sentences:?}");
        assert_eq!(sentences[5], Sentence::Wait(FIRST_DELAY));
        assert_eq!(sentences[6], Sentence::Wait(FIRST_DELAY * 2));
        assert_eq!(sentences[13], Sentence::Wait(LONGEST_DELAY));
        assert_eq!(book.judge(address(2), NOW), Sentence::AtOnce, "another peer");
        assert_eq!(book.judge(address(1), NOW + FORGET_MS), Sentence::AtOnce);
    }

    #[test]
    fn few_answers_are_held_back_and_few_peers_are_known() {
        let mut book = Book::default();
        for _ in 0..FREE + MOST_WAITING {
            assert_ne!(book.judge(address(1), NOW), Sentence::Refuse);
        }
        assert_eq!(book.judge(address(1), NOW), Sentence::Refuse);
        for number in 0..10_000 {
            book.judge(address(1000 + number), NOW + u64::from(number));
        }
        assert!(book.peers.len() <= MOST_PEERS, "{}", book.peers.len());
        assert!(book.peers.contains_key(&address(1)), "its answers are held back");
    }

    #[test]
    fn an_address_of_ipv6_is_its_network() {
        let network = |text: &str| network_of(text.parse().expect("an address"));
        assert_eq!(network("2001:db8:1:2:3::4"), network("2001:db8:1:2:ffff::"));
        assert_ne!(network("2001:db8:1:2::1"), network("2001:db8:1:3::1"));
        assert_eq!(network("::ffff:10.1.2.3"), network("10.1.2.3"));
    }

    #[test]
    fn peers_of_the_socket_are_who_the_settings_say() {
        let text = "[access]\npeers = [\n  { uid = 7, roles = [\"reader\"] },\n  \
                    { gid = 70, roles = [\"contributor\"] },\n  { uid = 8, user = \"ada\" },\n]";
        let rules = Config::parse(text).expect("valid").access.peers;
        let state = State::default();
        let who = |uid, gid| unix_caller(UnixPeer { uid, gid }, 99, &[5, 99], &rules, &state);
        let may = |uid, gid, right| who(uid, gid).is_ok_and(|it| it.powers.host.has(right));
        assert!(may(0, 0, Right::ManagePrincipals) && may(5, 0, Right::ManagePrincipals));
        assert!(may(7, 70, Right::ReadRuns) && !may(7, 70, Right::WriteRuns), "uids come first");
        assert!(may(6, 70, Right::WriteRuns));
        assert!(who(99, 70).is_err(), "the daemon's own user");
        assert!(who(6, 6).is_err_and(|it| it.contains("access.peers")));
        assert!(who(8, 0).is_err_and(|it| it.contains("mortise user create ada")));
    }
}
