//! Tests of OAuth2 decisions: what is sent, and what answers mean.

use proptest::prelude::*;

use super::*;
use crate::model::manifest::{Authorize, OauthScope};

const REDIRECT: &str = "http://127.0.0.1:8460/keyrings.authorize";

fn map(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
    entries.iter().map(|(name, it)| ((*name).to_owned(), (*it).to_owned())).collect()
}

fn oauth2() -> Oauth2 {
    Oauth2 {
        scopes: vec![OauthScope { value: "read api".to_owned(), ..OauthScope::default() }],
        scope_delimiter: " ".to_owned(),
        client: "c".to_owned(),
        authorize: Authorize {
            auth_url: "https://[SUBDOMAIN].e.com/authorize?x=1".to_owned(),
            token_url: "https://e.com/token".to_owned(),
            grant_type: None,
            auth_query_parameters: map(&[("access_type", "offline"), ("state", "[CLIENT_ID]")]),
            token_query_parameters: BTreeMap::new(),
        },
        refresh: None,
        revoke: None,
    }
}

fn values() -> Values {
    Values::default()
        .with_client("id:1", Some(&"s&1".into()))
        .with_scopes("read api")
        .with_subdomain(Some("acme"))
        .with_refresh_token(&"rt/1".into())
        .with_access_token(&"at".into())
}

fn client(secret: Option<&str>) -> Client {
    Client { id: "id:1".to_owned(), secret: secret.map(SecretText::from) }
}

fn headers(request: &Request, name: &str) -> Vec<String> {
    let named = request.headers.iter().filter(|(it, _)| it == name);
    named.map(|(_, it)| it.reveal().to_owned()).collect()
}

#[test]
fn people_are_sent_to_the_right_page() {
    let url = authorize_url(&oauth2(), &values(), REDIRECT, "st", "verifier").expect("a URL");
    let (base, query) = url.split_once('?').expect("a query");
    assert_eq!(base, "https://acme.e.com/authorize");
    let mut parts: Vec<_> = query.split('&').collect();
    parts.sort_unstable();
    assert_eq!(
        parts,
        [
            "access_type=offline",
            "client_id=id%3A1",
            "code_challenge=iMnq5o6zALKXGivsnlom_0F5_WYda32GHkxlV7mq7hQ",
            "code_challenge_method=S256",
            "redirect_uri=http%3A%2F%2F127.0.0.1%3A8460%2Fkeyrings.authorize",
            "response_type=code",
            "scope=read%20api",
            "state=st",
            "x=1",
        ]
    );
    // The example of RFC 7636, appendix B.
    assert_eq!(
        challenge("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"),
        "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
    );
}

#[test]
fn a_code_is_exchanged_as_the_rfc_says_unless_the_type_says_otherwise() {
    let ask = |oauth2: &Oauth2, client: &Client| {
        token_request(oauth2, &values(), client, REDIRECT, &"co de".into(), &"v".into())
            .expect("a request")
    };
    let sent = ask(&oauth2(), &client(Some("s&1")));
    assert_eq!((sent.method.as_str(), sent.url.reveal()), ("POST", "https://e.com/token"));
    assert_eq!(
        sent.body.reveal(),
        "code=co%20de&code_verifier=v&grant_type=authorization_code&\
         redirect_uri=http%3A%2F%2F127.0.0.1%3A8460%2Fkeyrings.authorize"
    );
    let basic = format!("Basic {}", STANDARD.encode("id%3A1:s%261"));
    assert_eq!(headers(&sent, "authorization"), [basic]);
    assert_eq!(headers(&sent, "content-type"), ["application/x-www-form-urlencoded"]);

    let mut own = oauth2();
    own.authorize.token_query_parameters =
        map(&[("client_id", "[CLIENT_ID]"), ("client_secret", "[CLIENT_SECRET]")]);
    let sent = ask(&own, &client(Some("s&1")));
    assert!(headers(&sent, "authorization").is_empty(), "one way to show a client, not two");
    assert!(sent.body.reveal().contains("client_id=id%3A1&client_secret=s%261&"));

    let public = token_request(
        &own,
        &Values::default().with_client("id:1", None),
        &client(None),
        REDIRECT,
        &"c".into(),
        &"v".into(),
    )
    .expect("a request");
    assert!(public.body.reveal().contains("client_id=id%3A1&code=c"));
    assert!(!public.body.reveal().contains("client_secret"));
}

#[test]
fn refresh_and_revoke_follow_the_type_and_fill_what_it_leaves_out() {
    let token = SecretText::from("rt/1");
    let client = client(Some("s&1"));
    let sent = refresh_request(&oauth2(), &values(), &client, &token).expect("a request");
    assert_eq!(sent.body.reveal(), "grant_type=refresh_token&refresh_token=rt%2F1");
    assert_eq!(headers(&sent, "authorization").len(), 1);

    let mut own = oauth2();
    own.refresh = Some(ExternalRequest {
        url: "https://e.com/refresh".to_owned(),
        method: Some("POST".to_owned()),
        headers: map(&[
            ("Content-type", "application/x-www-form-urlencoded"),
            ("Authorization", "Basic [CLIENT_CREDENTIALS_BASE64]"),
        ]),
        query_parameters: map(&[("refresh_token", "[REFRESH_TOKEN]")]),
        response_jq: None,
    });
    let sent = refresh_request(&own, &values(), &client, &token).expect("a request");
    assert_eq!(
        sent.body.reveal(),
        "client_id=id%3A1&grant_type=refresh_token&refresh_token=rt%2F1"
    );
    assert_eq!(headers(&sent, "Authorization").len(), 1);
    assert!(headers(&sent, "authorization").is_empty());

    let tokens = Tokens { access_token: "at".into(), refresh_token: None };
    assert!(revoke_request(&own, &values(), &client, &tokens).is_none());
    own.revoke = Some(ExternalRequest {
        url: "https://e.com/revoke".to_owned(),
        query_parameters: map(&[("token", "[ACCESS_TOKEN]"), ("client_secret", "[CLIENT_SECRET]")]),
        ..ExternalRequest::default()
    });
    let sent = revoke_request(&own, &values(), &client, &tokens).expect("it says how");
    assert_eq!(
        sent.expect("a request").body.reveal(),
        "client_id=id%3A1&client_secret=s%261&token=at"
    );
}

fn read(status: u16, body: &str) -> Result<Grant, Refusal> {
    read_grant(status, None, body.as_bytes(), &["planted"])
}

#[test]
fn grants_come_in_several_shapes() {
    let json = r#"{"access_token":"a","refresh_token":"r","expires_in":"90","scope":"x,y z"}"#;
    let form = "access_token=a&refresh_token=r&expires_in=90&scope=x+y%20z&token_type=bearer";
    for body in [json, form] {
        let grant = read(200, body).expect(body);
        assert_eq!(grant.tokens.access_token.reveal(), "a");
        assert_eq!(grant.tokens.refresh_token.as_ref().map(SecretText::reveal), Some("r"));
        assert_eq!(grant.expires_in, Some(90));
        assert_eq!(grant.scopes.expect("said"), ["x", "y", "z"]);
    }
    let bare = read(200, r#"{"access_token":"a","error":""}"#).expect("the least there is");
    assert_eq!((bare.tokens.refresh_token, bare.expires_in, bare.scopes), (None, None, None));
    let silent = read(200, r#"{"access_token":"a","refresh_token":"r"}"#).expect("a grant");
    assert_eq!(silent.expires_in, Some(ASSUMED_SECONDS));
    let user = r#"{"ok":true,"authed_user":{"access_token":"u","expires_in":3.5e1}}"#;
    let user = read(200, user).expect("a grant");
    assert_eq!((user.tokens.access_token.reveal(), user.expires_in), ("u", Some(35)));
}

#[test]
fn refusals_are_told_apart() {
    use RefusalKind as K;
    let transient = K::Transient { retry_after: None };
    for (status, body, kind) in [
        (400, r#"{"error":"invalid_grant"}"#, K::Permanent),
        (401, r#"{"error":"invalid_client","error_description":"no"}"#, K::Permanent),
        (400, r#"{"error":"unauthorized_client"}"#, K::Permanent),
        (200, r#"{"ok":false,"error":"invalid_code"}"#, K::Permanent),
        (200, "error=bad_verification_code&error_description=x", K::Permanent),
        (400, r#"{"error":{"code":"invalid_grant"}}"#, K::Permanent),
        (400, r#"{"error":"temporarily_unavailable"}"#, transient),
        (503, r#"{"error":"invalid_grant"}"#, transient),
        (500, "oops", transient),
        (429, "", transient),
        (404, "<html>not here</html>", K::Unclear),
        (403, "{}", K::Unclear),
        (302, "", K::Unclear),
        (200, "<html>be right back</html>", K::Unclear),
        (200, "{\"token\":\"x\"}", K::Unclear),
        (200, "", K::Unclear),
    ] {
        let refusal = read(status, body).expect_err(body);
        assert_eq!(refusal.kind, kind, "{status} {body}: {}", refusal.message);
        assert!(refusal.message.contains(&status.to_string()), "{}", refusal.message);
    }
    let quoted = read(400, r#"{"error":"invalid_grant","error_description":"planted is old"}"#);
    let message = quoted.expect_err("refused").message;
    assert_eq!(message, "answered 400: invalid_grant ******** is old");
    let strange = read(200, r#"{"accessToken":"unknown-shape"}"#).expect_err("no token");
    assert!(!strange.message.contains("unknown-shape"), "{}", strange.message);
}

#[test]
fn failures_add_up() {
    assert_eq!(
        [1, 2, 3, 9, 10, 99].map(|it| pause_ms(it, None)),
        [1000, 2000, 4000, 256_000, 300_000, 300_000]
    );
    assert_eq!(pause_ms(1, Some(30)), 30_000);
    assert_eq!(pause_ms(1, Some(u64::MAX)), 3_600_000);
    assert!(is_lost(RefusalKind::Permanent, 1));
    assert!(!is_lost(RefusalKind::Transient { retry_after: None }, 1000));
    assert!(!is_lost(RefusalKind::Unclear, 4) && is_lost(RefusalKind::Unclear, 5));
}

#[test]
fn tokens_are_renewed_in_time() {
    let due_before_end = |seconds: u64| {
        let life = Life { given_ms: 1000, expires_ms: 1000 + seconds * 1000 };
        life.expires_ms - life.due_ms()
    };
    assert_eq!(due_before_end(3600), 360_000, "a tenth");
    assert_eq!(due_before_end(300), 60_000, "a minute");
    assert_eq!(due_before_end(20), 10_000, "half");
    assert_eq!(due_before_end(0), 0);
}

proptest! {
    #[test]
    fn any_answer_is_read(status in 100u16..600, body in ".*") {
        let _ = read(status, &body);
        let _ = read_grant(status, None, body.as_bytes(), &[]);
    }

    #[test]
    fn forms_are_read_back(name in "[a-z_]{1,8}", value in "\\PC{0,40}") {
        let parameters = BTreeMap::from([(name.clone(), SecretText::from(value.as_str()))]);
        let members = members_of(form(&parameters).reveal().as_bytes());
        prop_assert_eq!(members.get(&name).and_then(Value::as_str), Some(value.as_str()));
    }

    #[test]
    fn due_lies_in_the_second_half(given in 0u64..1_000_000, whole in 0u64..10_000_000) {
        let life = Life { given_ms: given, expires_ms: given + whole };
        prop_assert!(life.due_ms() >= given + whole / 2 && life.due_ms() <= life.expires_ms);
    }
}

#[test]
fn a_client_is_shown_in_the_same_way_everywhere() {
    let mut posted = oauth2();
    posted.authorize.token_query_parameters =
        map(&[("client_id", "[CLIENT_ID]"), ("client_secret", "[CLIENT_SECRET]"), ("x", "1")]);
    posted.revoke =
        Some(ExternalRequest { url: "https://e.com/revoke".to_owned(), ..Default::default() });
    let shown = client(Some("s&1"));
    let refresh = refresh_request(&posted, &values(), &shown, &"rt/1".into()).expect("a request");
    assert_eq!(headers(&refresh, "authorization"), Vec::<String>::new());
    assert_eq!(
        refresh.body.reveal(),
        "client_id=id%3A1&client_secret=s%261&grant_type=refresh_token&refresh_token=rt%2F1"
    );
    let tokens = Tokens { access_token: "at".into(), refresh_token: None };
    let revoke = revoke_request(&posted, &values(), &shown, &tokens).expect("it has one");
    let revoke = revoke.expect("a request");
    assert_eq!(headers(&revoke, "authorization"), Vec::<String>::new());
    assert_eq!(revoke.body.reveal(), "client_id=id%3A1&client_secret=s%261&token=at");

    // A secret does not go into an address that nobody asked for.
    posted.revoke = Some(ExternalRequest {
        url: "https://e.com/revoke".to_owned(),
        method: Some("DELETE".to_owned()),
        ..Default::default()
    });
    let revoke = revoke_request(&posted, &values(), &shown, &tokens).expect("it has one");
    let revoke = revoke.expect("a request");
    assert_eq!(headers(&revoke, "authorization").len(), 1);
    assert!(!revoke.url.reveal().contains("client_secret"));
}

#[test]
fn only_bearer_tokens_can_be_used() {
    let read = |token_type: &str| {
        let body = format!(r#"{{"access_token": "planted", "token_type": "{token_type}"}}"#);
        read_grant(200, None, body.as_bytes(), &[])
    };
    for known in ["bearer", "Bearer", "BEARER", "bot"] {
        assert!(read(known).is_ok(), "{known}");
    }
    assert!(read_grant(200, None, br#"{"access_token": "t"}"#, &[]).is_ok());
    for other in ["mac", "DPoP", "N_A"] {
        let refusal = read(other).expect_err(other);
        assert_eq!(refusal.kind, RefusalKind::Permanent);
        assert!(refusal.message.contains(other) && !refusal.message.contains("planted"));
    }
}

#[test]
fn codes_of_other_servers_are_known_by_their_issuer() {
    for (issuer, expected) in [
        ("https://acme.e.com", true),
        ("https://E.com/realms/a", true),
        ("https://e.com.evil.com", false),
        ("https://evil.com/?https://e.com", false),
        ("e.com", false),
        ("", false),
    ] {
        assert_eq!(is_issuer(&oauth2(), &values(), issuer), expected, "{issuer}");
    }
}
