//! Which parts of secrets are secrets, and which are words of every text.

use super::*;

fn parts(secret: &str) -> Vec<String> {
    let mut parts: Vec<String> = secret_parts(secret).iter().map(|it| it.to_string()).collect();
    parts.sort();
    parts
}

#[test]
fn of_a_url_all_but_its_host_is_secret() {
    assert_eq!(
        parts("https://discord.example/api/v10/webhooks/1234567890/SeCrEt-ToKeN"),
        ["/api/v10/webhooks/1234567890/SeCrEt-ToKeN", "1234567890", "SeCrEt-ToKeN"]
    );
    assert_eq!(
        parts(
            "https://x.example:8443/workflows/aB3dE9/triggers/manual?sig=SiGnA1&wait=true&to=a%2Fbcd%20efg"
        ),
        [
            "/workflows/aB3dE9/triggers/manual",
            "/workflows/aB3dE9/triggers/manual?sig=SiGnA1&wait=true&to=a%2Fbcd%20efg",
            "/workflows/aB3dE9/triggers/manual?sig=SiGnA1&wait=true&to=a/bcd efg",
            "SiGnA1",
            "a%2Fbcd%20efg",
            "a/bcd efg",
            "sig=SiGnA1&wait=true&to=a%2Fbcd%20efg",
            "sig=SiGnA1&wait=true&to=a/bcd efg",
        ]
    );
    assert_eq!(parts("https://ops:hunt3r@x.example"), ["hunt3r", "ops:hunt3r"]);
    assert_eq!(parts("https://KeyAsName@x.example/"), ["KeyAsName"]);
    // A login that is sent as `Basic` is found in that form by what looks for it.
    assert_eq!(
        parts("postgres://ops:p%40ssword@db/main"),
        ["ops:p%40ssword", "ops:p@ssword", "p%40ssword", "p@ssword"]
    );
    assert!(parts("https://x.example/a?q=with+a+space").contains(&"with a space".to_owned()));
}

#[test]
fn what_everybody_says_is_no_secret() {
    for plain in [
        "https://hooks.example/api/webhooks/",
        "https://hooks.example/services/v2/Incoming/workflows?wait=true&v=1.2",
        "https://hooks.example",
        "swordfish",
        "application/json",
        "text/html; charset=utf-8",
        "no-cache, no-store",
        "aGVsbG8gd29ybGQhIQ==",
        "",
    ] {
        let left = parts(plain);
        let is_whole = |it: &String| it.starts_with("/services/v2") || it.starts_with("wait=true&");
        assert!(left.iter().all(is_whole), "{plain}: {left:?}");
    }
}

#[test]
fn of_a_header_what_follows_its_scheme_is_secret() {
    assert_eq!(parts("Token deadbeefcafe"), ["deadbeefcafe"]);
    assert_eq!(parts("bearer  abc123"), ["abc123"]);
    assert!(parts("GenieKey 0pSgEnIe-aaaa").contains(&"0pSgEnIe-aaaa".to_owned()));
    assert_eq!(
        parts("Basic dXNlcjpwYXNzd29yZC1zM2NyM3Q="),
        ["dXNlcjpwYXNzd29yZC1zM2NyM3Q=", "password-s3cr3t", "user:password-s3cr3t"]
    );
    // A name without password, as some services have keys.
    assert!(parts("Basic a2V5LWluLXRoZS1uYW1lOg").contains(&"key-in-the-name".to_owned()));
    let signed = parts("Signature keyId=\"key-1234\",signature=\"c2lnbmVk\"");
    assert!(["key-1234", "c2lnbmVk"].iter().all(|it| signed.contains(&(*it).to_owned())));
    assert!(parts("session=0123abcd; theme=dark").contains(&"0123abcd".to_owned()));
    assert_eq!(parts("123456:AAtElEgRaM"), ["AAtElEgRaM"]);
    // What is no header, but has lines.
    assert_eq!(parts("-----BEGIN KEY-----\nabcdefgh\n-----END KEY-----"), Vec::<String>::new());
}

#[test]
fn of_a_template_what_is_sent_as_it_is_is_secret() {
    assert_eq!(parts("key-{{trigger}}-SecretAfter99"), ["-SecretAfter99"]);
    assert_eq!(parts("Token SecretBefore-{{ id }}.x"), ["SecretBefore-", "Token SecretBefore-"]);
    assert_eq!(
        parts("https://x.example/SecretPath1/{{id}}?k={{id}}SecretQuery2"),
        ["/SecretPath1/", "SecretPath1", "SecretQuery2"]
    );
    assert_eq!(parts("}}{{id}} {{ broken-until-its-end"), [" broken-until-its-end".trim()]);
}

#[test]
fn of_a_document_its_texts_are_secret() {
    let found = parts(r#"{"client_id": "1", "keys": ["Bearer planted-key"], "n": 123456789}"#);
    assert_eq!(found, ["Bearer planted-key", "planted-key"]);
}

#[test]
fn parts_are_bounded_and_come_with_the_whole() {
    let long =
        format!("https://x/{}", (0..5_000).map(|it| format!("segment-{it}/")).collect::<String>());
    assert_eq!(secret_parts(&long).len(), MOST_PARTS);
    assert_eq!(parts("https://x.example/{{id}}"), Vec::<String>::new());
    let many = with_parts((0..20).map(|it| format!("{long}{it}")));
    assert!(
        many.len() <= 20 + MOST_TOGETHER && many.iter().any(|it| it.as_str() == format!("{long}7"))
    );
    let both = with_parts(["Bearer abc123".to_owned(), "abc123".to_owned(), "x".to_owned()]);
    assert_eq!(
        both.iter().map(|it| it.as_str()).collect::<Vec<_>>(),
        ["Bearer abc123", "abc123", "x"]
    );
    let deep = "Bearer ".repeat(1_000);
    assert!(secret_parts(&deep).len() <= DEEPEST + 2);
}
