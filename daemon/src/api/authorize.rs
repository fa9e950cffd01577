//! `/keyrings.authorize`: where external systems send people back to (RFC 6749 §4.1.2). No token: the
//! `state` in the request is what proves that it was begun here. The answer is a page for a person;
//! every text in it is escaped, and it loads nothing and runs nothing.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;

use super::Api;
use super::dispatch::read_body;
use super::error::ApiError;
use crate::connections::secret::SecretText;
use crate::engine::keyrings::Return;

/// Where people come back to.
pub(super) const PATH: &str = "/keyrings.authorize";
/// The same, beside the other calls.
pub(super) const API_PATH: &str = "/api/v1/keyrings.authorize";
/// More than any server sends.
const MOST_BYTES: usize = 64 * 1024;

/// What the external system sends along.
#[derive(Default, Deserialize)]
struct Parameters {
    state: Option<String>,
    code: Option<String>,
    error: Option<String>,
    error_description: Option<String>,
    iss: Option<String>,
}

pub(super) async fn by_query(api: web::Data<Api>, request: HttpRequest) -> HttpResponse {
    take_back(&api, request.query_string()).await
}

/// `response_mode=form_post`.
pub(super) async fn by_form(api: web::Data<Api>, payload: web::Payload) -> HttpResponse {
    match read_body(&api, payload, MOST_BYTES).await {
        Ok(body) => take_back(&api, &String::from_utf8_lossy(&body)).await,
        Err(error) => refusal(&error),
    }
}

async fn take_back(api: &Api, query: &str) -> HttpResponse {
    // What cannot be read has no state either, and is refused for that.
    let sent = web::Query::<Parameters>::from_query(query);
    let Parameters { state, code, error, error_description, iss } =
        sent.map(web::Query::into_inner).unwrap_or_default();
    let code = code.map(SecretText::from);
    let back = Return { state, code, error, error_description, issuer: iss };
    match api.operations.grant_keyring(back).await {
        Ok((_, record)) => {
            let owner = &record.owner;
            let scope =
                owner.snap_in().map(|id| api.services.store.read(|tables| tables.snap_in(id)));
            let snap_in = match scope {
                Some(Ok(Some(snap_in))) => snap_in.scope.to_string(),
                Some(Ok(None) | Err(_)) | None => "its snap-in".to_owned(),
            };
            let organization = record.organization.as_ref();
            let of = organization.map(|it| it.name.as_deref().unwrap_or(&it.id));
            let of = of.map(|it| format!(" to {it}")).unwrap_or_default();
            let text = format!(
                "The keyring {} of {snap_in} is connected{of}. You can close this window.",
                owner.name()
            );
            page(StatusCode::OK, "Connected", &text)
        }
        Err(error) => refusal(&error.into()),
    }
}

fn refusal(error: &ApiError) -> HttpResponse {
    let status = StatusCode::from_u16(error.code().status()).unwrap_or(StatusCode::BAD_REQUEST);
    page(status, "Not connected", error.message())
}

fn page(status: StatusCode, title: &str, text: &str) -> HttpResponse {
    let (title, text) = (escaped(title), escaped(text));
    let body = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>{title}</title>\n</head>\n\
         <body>\n<h1>{title}</h1>\n<p>{text}</p>\n</body>\n</html>\n"
    );
    HttpResponse::build(status)
        .insert_header(("content-type", "text/html; charset=utf-8"))
        .insert_header((
            "content-security-policy",
            "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        ))
        // The address of this page holds the code.
        .insert_header(("referrer-policy", "no-referrer"))
        .insert_header(("cache-control", "no-store"))
        .insert_header(("x-content-type-options", "nosniff"))
        .body(body)
}

fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for it in text.chars() {
        match it {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            other => safe.push(other),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_becomes_markup() {
        assert_eq!(escaped("<a b='c' d=\"e\">&"), "&lt;a b=&#39;c&#39; d=&quot;e&quot;&gt;&amp;");
    }
}
