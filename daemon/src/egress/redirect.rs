//! Where a redirect leads and what may go along. Decides only.

use reqwest::header::{self, HeaderMap};
use reqwest::{Method, Response, StatusCode, Url};

use super::{EgressError, parse_url, refused};

pub(super) struct Next {
    pub url: Url,
    pub method: Method,
    pub drops_body: bool,
}

/// The next request, if the response is a redirect that can be followed.
pub(super) fn next(
    url: &Url,
    method: &Method,
    response: &Response,
) -> Result<Option<Next>, EgressError> {
    let drops_body = match response.status() {
        StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND => method == Method::POST,
        StatusCode::SEE_OTHER => method != Method::GET && method != Method::HEAD,
        StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT => false,
        _ => return Ok(None),
    };
    let Some(location) = response.headers().get(header::LOCATION) else { return Ok(None) };
    let target = location.to_str().ok().and_then(|it| url.join(it).ok());
    let Some(target) = target else {
        return Err(refused(url, "redirected to something that is no URL"));
    };
    let target = parse_url(target.as_str())
        .map_err(|_| refused(url, "redirected to something other than http or https"))?;
    if url.scheme() == "https" && target.scheme() == "http" {
        return Err(refused(url, "redirected from https to http, which would lose the encryption"));
    }
    let method = if drops_body { Method::GET } else { method.clone() };
    Ok(Some(Next { url: target, method, drops_body }))
}

/// Another origin gets nothing that could be a credential: only headers known to be none.
pub(super) fn strip_headers(headers: &mut HeaderMap, from: &Url, to: &Url, drops_body: bool) {
    const HARMLESS: [header::HeaderName; 5] = [
        header::ACCEPT,
        header::ACCEPT_LANGUAGE,
        header::CONTENT_LANGUAGE,
        header::CONTENT_TYPE,
        header::USER_AGENT,
    ];
    if from.origin() != to.origin() {
        let names: Vec<_> = headers.keys().cloned().collect();
        for name in names.iter().filter(|it| !HARMLESS.contains(it)) {
            headers.remove(name);
        }
    }
    if drops_body {
        headers.remove(header::CONTENT_TYPE);
    }
}
