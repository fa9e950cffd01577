//! A testing URL: where the server of an author takes events.

use std::fmt;

use super::Exchange;
use crate::model::http::{Destination, Place};

const MOST_BYTES: usize = 2048;

/// A URL that was checked: http or https, a host, perhaps a port and a path, and nothing else.
#[derive(Clone, PartialEq, Eq)]
pub struct TestingUrl {
    /// Without a slash at its end.
    base: String,
    /// Scheme, host and port, as written.
    origin: String,
    destination: Destination,
}

impl fmt::Debug for TestingUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TestingUrl").field(&self.origin).finish()
    }
}

impl TestingUrl {
    /// Reads one; an error says what is wrong without quoting it.
    pub fn parse(text: &str) -> Result<TestingUrl, String> {
        let text = text.trim();
        if text.len() > MOST_BYTES {
            return Err(format!("the testing URL is longer than {MOST_BYTES} bytes"));
        }
        let (scheme, rest) = text.split_once("://").unwrap_or_default();
        let (scheme, default_port) = match scheme.to_ascii_lowercase().as_str() {
            "http" => ("http", 80),
            "https" => ("https", 443),
            _ => return Err("the testing URL does not start with http:// or https://".to_owned()),
        };
        let (authority, path) = match rest.find(['/', '?', '#', '\\']) {
            Some(end) => rest.split_at(end),
            None => (rest, ""),
        };
        if authority.contains('@') {
            return Err(
                "the testing URL holds a user name or password, which would be stored and \
                        shown: leave it out, and have the server know the daemon by something else"
                    .to_owned(),
            );
        }
        if path.contains(['?', '#']) {
            return Err(
                "the testing URL has a query or a fragment: `/handle/sync` is put after it, \
                        so it ends with a path"
                    .to_owned(),
            );
        }
        if !path.bytes().all(|it| it.is_ascii_graphic() && !b"\\\"<>`{|}^".contains(&it)) {
            return Err("the testing URL holds characters that a URL cannot have".to_owned());
        }
        let (host, port) = split_port(authority)?;
        let port = port.unwrap_or(default_port);
        let destination = format!("{host}:{port}").parse::<Destination>();
        let is_host = !host.is_empty() && !host.contains(['*', '/']);
        let destination = destination.ok().filter(|_| is_host).ok_or_else(|| {
            "the testing URL has no host, such as in http://localhost:8000".to_owned()
        })?;
        let origin = format!("{scheme}://{}", authority.to_ascii_lowercase());
        let base = format!("{origin}{}", path.trim_end_matches('/'));
        Ok(TestingUrl { base, origin, destination })
    }

    /// The URL as it is stored: one text for all ways to write it.
    pub fn as_str(&self) -> &str {
        &self.base
    }

    /// Scheme, host and port, for messages.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Its host and port: requests may go there and nowhere else.
    pub fn destination(&self) -> Destination {
        self.destination.clone()
    }

    /// Whether it is written as this host itself: `localhost` or a loopback address.
    pub fn is_this_host(&self) -> bool {
        match &self.destination.place {
            Place::Host(name) => name == "localhost",
            Place::Network { address, .. } => address.is_loopback(),
            Place::Below(_) => false,
        }
    }

    /// Where an event is posted.
    pub fn endpoint(&self, exchange: Exchange) -> String {
        let last = match exchange {
            Exchange::Sync => "sync",
            Exchange::Async => "async",
        };
        format!("{}/handle/{last}", self.base)
    }
}

fn split_port(authority: &str) -> Result<(&str, Option<u16>), String> {
    let wrong = || "the port of the testing URL is no number from 1 to 65535".to_owned();
    let (host, port) = match authority.strip_prefix('[').and_then(|it| it.split_once(']')) {
        Some((inside, after)) => (&authority[..inside.len() + 2], after.strip_prefix(':')),
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    let port = match port {
        None | Some("") => None,
        Some(port) => match port.parse::<u16>() {
            Ok(0) | Err(_) => return Err(wrong()),
            Ok(port) => Some(port),
        },
    };
    Ok((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_as_people_write_them() {
        for (text, endpoint, origin, destination) in [
            (
                "http://localhost:8000",
                "http://localhost:8000/handle/sync",
                "http://localhost:8000",
                "localhost:8000",
            ),
            (
                " HTTPS://Dev.Example/ ",
                "https://dev.example/handle/sync",
                "https://dev.example",
                "dev.example:443",
            ),
            (
                "http://127.0.0.1/a/B/",
                "http://127.0.0.1/a/B/handle/sync",
                "http://127.0.0.1",
                "127.0.0.1/32:80",
            ),
            (
                "http://[::1]:8000/x",
                "http://[::1]:8000/x/handle/sync",
                "http://[::1]:8000",
                "[::1/128]:8000",
            ),
        ] {
            let url = TestingUrl::parse(text).expect(text);
            assert_eq!(url.endpoint(Exchange::Sync), endpoint);
            assert_eq!(url.origin(), origin);
            assert_eq!(url.destination().to_string(), destination);
            assert_eq!(TestingUrl::parse(url.as_str()), Ok(url));
        }
        let url = TestingUrl::parse("http://x/secret-path").expect("fine");
        assert_eq!(format!("{url:?}"), "TestingUrl(\"http://x\")");
    }

    #[test]
    fn what_is_no_testing_url_is_refused_with_why() {
        for (text, why) in [
            ("", "does not start with"),
            ("ftp://x", "does not start with"),
            ("localhost:8000", "does not start with"),
            ("http://", "no host"),
            ("http://:80", "no host"),
            ("http://*.example.com", "no host"),
            ("http://10.0.0.0%2f8", "no host"),
            ("http://a b/", "no host"),
            ("http://user:planted@host/", "user name or password"),
            ("http://host/x?token=planted", "query"),
            ("http://host/#x", "query"),
            ("http://host:0", "port"),
            ("http://host:99999", "port"),
            ("http://host:80:80", "port"),
            ("http://host/a b", "characters"),
            ("http://host\\@evil/", "characters"),
        ] {
            let error = TestingUrl::parse(text).expect_err(text);
            assert!(error.contains(why), "{text}: {error}");
            assert!(!error.contains("planted"), "{error}");
        }
    }
}
