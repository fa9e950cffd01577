//! What a client wants of the proxy: the head of its first request, understood and made fit for the
//! server. Pure.

/// Longer heads are refused.
pub(super) const LONGEST_HEAD: usize = 64 * 1024;

/// What a client wants.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub host: String,
    pub port: u16,
    /// The request as the server is to see it; nothing for a tunnel, which begins with an answer.
    pub request: Option<Vec<u8>>,
    /// How many bytes of the client the head took.
    pub length: usize,
}

/// Understands a head; `None` until all of it is there.
pub(super) fn understand(bytes: &[u8]) -> Result<Option<Wanted>, String> {
    let Some(end) = bytes.windows(4).position(|it| it == b"\r\n\r\n") else {
        if bytes.len() > LONGEST_HEAD {
            return Err(format!("the request's head is longer than {LONGEST_HEAD} bytes"));
        }
        return Ok(None);
    };
    let length = end + 4;
    let head = std::str::from_utf8(&bytes[..end])
        .map_err(|_| "the request's head is not UTF-8".to_owned())?;
    // Servers take a bare line feed for the end of a line, and two for the end of the head.
    let is_whole_line = |it: &str| {
        !it.is_empty() && !it.contains(['\r', '\n', '\0']) && !it.starts_with([' ', '\t'])
    };
    if !head.split("\r\n").all(is_whole_line) {
        return Err(
            "the request's head has a line that does not end in CR LF, is empty, or goes on \
                    from the one before"
                .to_owned(),
        );
    }
    let mut lines = head.split("\r\n");
    let mut words = lines.next().unwrap_or_default().split(' ');
    let (Some(method), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err("the first line is none of HTTP".to_owned());
    };
    if !version.starts_with("HTTP/1.") {
        return Err("the first line is none of HTTP/1.1".to_owned());
    }
    if method == "CONNECT" {
        let (host, port) = host_and_port(target, None)?;
        return Ok(Some(Wanted { host, port, request: None, length }));
    }
    let scheme = target.get(..7).unwrap_or_default();
    if !scheme.eq_ignore_ascii_case("http://") {
        return Err(
            "this is a proxy: ask for an absolute http:// URL, and for https:// with CONNECT"
                .to_owned(),
        );
    }
    let rest = &target[7..];
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    // Names and passwords in a URL are for the client.
    let authority = authority.rsplit_once('@').map_or(authority, |(_, it)| it);
    let (host, port) = host_and_port(authority, Some(80))?;
    let slash = if path.starts_with('/') { "" } else { "/" };
    let mut request = format!("{method} {slash}{path} {version}\r\nHost: {authority}\r\n");
    for line in lines {
        let name = line.split(':').next().unwrap_or_default().trim();
        let is_for_us = ["host", "connection", "keep-alive", "proxy-connection"]
            .iter()
            .chain(&["proxy-authorization", "proxy-authenticate"])
            .any(|it| name.eq_ignore_ascii_case(it));
        if !is_for_us {
            request.push_str(line);
            request.push_str("\r\n");
        }
    }
    // The next request of the client may be for another host.
    request.push_str("Connection: close\r\n\r\n");
    Ok(Some(Wanted { host, port, request: Some(request.into_bytes()), length }))
}

fn host_and_port(authority: &str, default: Option<u16>) -> Result<(String, u16), String> {
    let bad = || {
        let shown: String = authority.chars().take(64).collect();
        format!("`{shown}` is no host and port")
    };
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']').ok_or_else(bad)?;
            (host, port.strip_prefix(':'))
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    let port = match (port, default) {
        (Some(port), _) => port.parse().map_err(|_| bad())?,
        (None, Some(default)) => default,
        (None, None) => return Err(bad()),
    };
    if host.is_empty() { Err(bad()) } else { Ok((host.to_owned(), port)) }
}

/// The answer to what cannot be done, with the reason for people.
pub(super) fn refusal(status: &str, reason: &str) -> Vec<u8> {
    let body = format!("{reason}\n");
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_become_what_servers_expect() {
        let head = "GET http://u:p@a.example:81/x?y HTTP/1.1\r\nHost: other\r\nProxy-Connection: \
                    keep-alive\r\nAccept: */*\r\n\r\nbody";
        let wanted = understand(head.as_bytes()).expect("good").expect("whole");
        assert_eq!((wanted.host.as_str(), wanted.port), ("a.example", 81));
        assert_eq!(wanted.length, head.len() - 4);
        let request = "GET /x?y HTTP/1.1\r\nHost: a.example:81\r\nAccept: */*\r\nConnection: \
                       close\r\n\r\n";
        assert_eq!(wanted.request.as_deref(), Some(request.as_bytes()));
        let end = head.find("body").expect("there");
        for length in 0..end {
            assert_eq!(understand(&head.as_bytes()[..length]), Ok(None));
        }
        let query = understand(b"GET HTTP://a?b HTTP/1.0\r\n\r\n").expect("good").expect("whole");
        assert!(query.request.is_some_and(|it| it.starts_with(b"GET /?b HTTP/1.0\r\nHost: a\r\n")));
    }

    #[test]
    fn tunnels_go_where_they_say() {
        for (target, host, port) in
            [("a.example:443", "a.example", 443), ("[::1]:8443", "::1", 8443)]
        {
            let head = format!("CONNECT {target} HTTP/1.1\r\nHost: x\r\n\r\n");
            let wanted = understand(head.as_bytes()).expect("good").expect("whole");
            assert_eq!((wanted.host.as_str(), wanted.port), (host, port));
            assert_eq!(wanted.request, None);
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for head in [
            "GET / HTTP/1.1",
            "GET https://a/ HTTP/1.1",
            "CONNECT a HTTP/1.1",
            "CONNECT a:b HTTP/1.1",
            "CONNECT [::1 HTTP/1.1",
            "GET http:///x HTTP/1.1",
            "PRI * HTTP/2.0",
            "GET http://a/ HTTP/1.1\r\nA: b\n\nC: d",
            "GET http://a/ HTTP/1.1\nA: b",
            "GET http://a/ HTTP/1.1\r\nA: b\rC: d",
            "GET http://a/ HTTP/1.1\r\nA: b\r\n c",
            "hello",
            "",
        ] {
            assert!(understand(format!("{head}\r\n\r\n").as_bytes()).is_err(), "{head}");
        }
        assert!(understand(&[b'a'; LONGEST_HEAD + 1]).is_err());
        assert!(understand(b"GET \xff\r\n\r\n").is_err());
    }
}
