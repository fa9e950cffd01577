//! `/artifacts/ID`: the bytes of artifacts, by a signed URL, or with a token of the API. They are
//! streamed in both directions; the rest of the API speaks JSON and is elsewhere.
//!
//! Invariant: what others called a file, or its type, breaks no header and is no page of this host:
//! whatever it is, it is sent as an attachment, with a type that is not guessed at, and may run nothing.

use actix_web::body::SizedStream;
use actix_web::http::{Method, StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, web};
use futures_util::stream;
use serde::Deserialize;
use serde_json::json;

use super::access::admit;
use super::artifact_parents::{Seen, is_own};
use super::artifacts::one;
use super::byte_ranges::{Sent, Wanted, names, sent, wanted};
use super::disposition::attachment;
use super::error::{ApiError, Code};
use super::form_data::{FormReader, Piece, boundary_of};
use super::paced_body::PacedBody;
use super::rights::Right;
use super::{Api, artifacts};
use crate::engine::artifacts::{ArtifactError, Artifacts, Start, Uploading, check_total};
use crate::model::artifact::{ArtifactState, place_of};
use crate::model::id::{ArtifactId, ContentId};
use crate::secrets::{SignatureError, UrlPurpose};
use crate::store::ArtifactRecord;

/// What can be done there.
const METHODS: [&str; 4] = ["GET", "HEAD", "POST", "PUT"];

#[derive(Default, Deserialize)]
struct Parameters {
    until: Option<u64>,
    signature: Option<String>,
    /// Where the bytes go that are sent.
    offset: Option<u64>,
}

/// Serves an artifact's URL.
pub(super) async fn serve(
    api: web::Data<Api>,
    request: HttpRequest,
    payload: web::Payload,
) -> HttpResponse {
    let method = request.method();
    let outcome = if method == Method::GET || method == Method::HEAD {
        download(&api, &request).await
    } else if method == Method::PUT || method == Method::POST {
        upload(&api, &request, payload).await
    } else {
        let message = format!("artifacts are not read or sent with {method}");
        Err(ApiError::new(Code::MethodNotAllowed, message).allowing(&METHODS))
    };
    let mut response = outcome.unwrap_or_else(|error| error.respond());
    let headers = response.headers_mut();
    // The address is as good as a token.
    for (name, value) in [
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; sandbox"),
    ] {
        headers.insert(name, header::HeaderValue::from_static(value));
    }
    response
}

/// Which artifact it is, when the URL or its caller may have it.
async fn admitted(
    api: &Api,
    request: &HttpRequest,
    parameters: &Parameters,
    purpose: UrlPurpose,
) -> Result<(ArtifactId, ArtifactRecord), ApiError> {
    let text = request.match_info().query("id");
    let nothing = || ApiError::not_found("artifact", &text.chars().take(64).collect::<String>());
    let id: ArtifactId = text.parse().map_err(|_| nothing())?;
    if let (Some(until_ms), Some(signature)) = (parameters.until, &parameters.signature) {
        let now_ms = api.services.clock.now_ms();
        api.url_signer.check(purpose, id, until_ms, signature, now_ms).map_err(|error| {
            let another = match purpose {
                UrlPurpose::Download => "artifacts.locate",
                UrlPurpose::Upload => "artifacts.prepare with its `id`",
            };
            let message = match error {
                SignatureError::Expired | SignatureError::Invalid => {
                    format!("{error}; {another} gives another one")
                }
            };
            ApiError::new(Code::Forbidden, message)
        })?;
        return Ok((id, api.artifacts.find(id)?.ok_or_else(nothing)?));
    }
    let found = match purpose {
        UrlPurpose::Download => {
            let caller = admit(api, request, Right::ReadArtifacts).await?;
            let seen = Seen::by(api, &caller)?;
            api.artifacts.find(id)?.filter(|it| seen.has(it))
        }
        UrlPurpose::Upload => {
            let caller = admit(api, request, Right::WriteArtifacts).await?;
            api.artifacts.find(id)?.filter(|it| is_own(&caller, it))
        }
    };
    Ok((id, found.ok_or_else(nothing)?))
}

fn parameters(request: &HttpRequest) -> Result<Parameters, ApiError> {
    web::Query::<Parameters>::from_query(request.query_string())
        .map(web::Query::into_inner)
        .map_err(|error| ApiError::new(Code::BadRequest, error.to_string()))
}

fn header_text(request: &HttpRequest, name: header::HeaderName) -> Option<&str> {
    request.headers().get(name)?.to_str().ok()
}

// Out.

async fn download(api: &Api, request: &HttpRequest) -> Result<HttpResponse, ApiError> {
    let (_, record) = admitted(api, request, &parameters(request)?, UrlPurpose::Download).await?;
    let ArtifactState::Complete { size, sha256 } = &record.state else {
        let received = record.state.bytes();
        let message = format!("the artifact is not complete: {received} bytes of it are there");
        return Err(ApiError::new(Code::Conflict, message).with("received", json!(received)));
    };
    let (size, tag) = (*size, format!("\"{sha256}\""));
    if header_text(request, header::IF_NONE_MATCH).is_some_and(|it| names(it, &tag)) {
        return Ok(HttpResponse::NotModified().insert_header((header::ETAG, tag)).finish());
    }
    // A part of what it was before is no part of what it is.
    let is_current = header_text(request, header::IF_RANGE).is_none_or(|it| it.trim() == tag);
    let range = header_text(request, header::RANGE).filter(|_| is_current);
    let (status, first, length) = match wanted(range, size) {
        Wanted::Whole => (StatusCode::OK, 0, size),
        Wanted::Part { first, last } => (StatusCode::PARTIAL_CONTENT, first, last - first + 1),
        Wanted::Nothing => {
            let message = format!("the artifact has {size} bytes, and none of those asked for");
            let mut response = ApiError::new(Code::RangeNotSatisfiable, message).respond();
            let range = header::HeaderValue::from_str(&format!("bytes */{size}"));
            if let Ok(range) = range {
                response.headers_mut().insert(header::CONTENT_RANGE, range);
            }
            return Ok(response);
        }
    };
    let mut response = HttpResponse::build(status);
    response
        .insert_header((header::CONTENT_TYPE, record.file_type.as_str()))
        .insert_header((header::CONTENT_DISPOSITION, attachment(&record.file_name)))
        .insert_header((header::ETAG, tag))
        .insert_header((header::ACCEPT_RANGES, "bytes"))
        .insert_header((header::CACHE_CONTROL, "private, no-cache"));
    if status == StatusCode::PARTIAL_CONTENT {
        let range = format!("bytes {first}-{}/{size}", first + length - 1);
        response.insert_header((header::CONTENT_RANGE, range));
    }
    Ok(response
        .body(SizedStream::new(length, bytes_of(&api.artifacts, record.content, first, length))))
}

/// So many bytes of a content from one on, a chunk at a time.
fn bytes_of(
    artifacts: &Artifacts,
    content: ContentId,
    first: u64,
    length: u64,
) -> impl stream::Stream<Item = Result<web::Bytes, std::io::Error>> + use<> {
    let artifacts = artifacts.clone();
    stream::try_unfold((first, length), move |(at, left)| {
        let artifacts = artifacts.clone();
        async move {
            if left == 0 {
                return Ok(None);
            }
            let (index, skipped) = place_of(at);
            let read = web::block(move || artifacts.chunk(content, index)).await;
            let read = read.map_err(std::io::Error::other)?.map_err(std::io::Error::other)?;
            let gone = || std::io::Error::other("the artifact was deleted meanwhile");
            let chunk = web::Bytes::from(read.ok_or_else(gone)?);
            let end = usize::try_from(left).unwrap_or(usize::MAX).saturating_add(skipped);
            let end = end.min(chunk.len());
            if skipped >= end {
                return Err(std::io::Error::other("a chunk is shorter than it was"));
            }
            let bytes = chunk.slice(skipped..end);
            let count = bytes.len() as u64;
            Ok(Some((bytes, (at + count, left - count))))
        }
    })
}

// In.

/// What is to become of the bytes that come.
struct Plan {
    start: Start,
    /// So many come; unknown when they are all that there are.
    length: Option<u64>,
    /// How many there will be altogether, if that was said.
    total: Option<u64>,
    /// Whether that is all then.
    completes: bool,
}

async fn upload(
    api: &Api,
    request: &HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let mut body = PacedBody::new(payload, api.limits.request_body_seconds);
    let parameters = parameters(request)?;
    let (id, record) = admitted(api, request, &parameters, UrlPurpose::Upload).await?;
    let content_type = header_text(request, header::CONTENT_TYPE).unwrap_or_default();
    if request.method() == Method::POST
        && let Some(boundary) = boundary_of(content_type)
    {
        let boundary = boundary.map_err(|it| ApiError::new(Code::BadRequest, it.to_string()))?;
        return upload_form(api, id, &boundary, body).await;
    }
    let range = match request.headers().get(header::CONTENT_RANGE) {
        None => None,
        Some(text) => Some(text.to_str().ok().and_then(sent).ok_or_else(|| {
            let message = "Content-Range is wrong: expected `bytes FIRST-LAST/TOTAL`, with `*` for \
                           a total that is not known, or `bytes */TOTAL` without a body";
            ApiError::new(Code::BadRequest, message)
        })?),
    };
    if range.is_some() && parameters.offset.is_some() {
        let message = "`offset` and Content-Range say the same: send one of them";
        return Err(ApiError::field("offset", message));
    }
    let total = match range {
        Some(Sent::Part { total, .. } | Sent::Nothing { total }) => total,
        None => None,
    };
    if let (Some(total), Some(expected)) = (total, record.expected_size)
        && total != expected
    {
        let message = format!("{total} bytes are to come, but {expected} were announced");
        return Err(ApiError::new(Code::Invalid, message));
    }
    let plan = match range {
        Some(Sent::Nothing { total }) => {
            while let Some(bytes) = body.next().await? {
                if !bytes.is_empty() {
                    let message =
                        "`Content-Range: bytes */...` comes with no body: say which bytes they are";
                    return Err(ApiError::new(Code::BadRequest, message));
                }
            }
            check_total(&record, total)?;
            let received = record.state.bytes();
            if total != Some(received) || matches!(record.state, ArtifactState::Complete { .. }) {
                return Ok(answer(id, record));
            }
            let uploading = api.artifacts.upload(id, Start::After(received), total).await?;
            let (id, record) = uploading.complete().await?;
            return Ok(answer(id, record));
        }
        Some(Sent::Part { first, last, total }) => Plan {
            start: Start::After(first),
            length: Some(last - first + 1),
            total,
            completes: total == Some(last + 1),
        },
        None => {
            let start = parameters.offset.map_or(Start::Anew, Start::After);
            Plan { start, length: None, total: None, completes: true }
        }
    };
    receive(api, id, &plan, body).await
}

/// Takes raw bytes.
async fn receive(
    api: &Api,
    id: ArtifactId,
    plan: &Plan,
    mut body: PacedBody,
) -> Result<HttpResponse, ApiError> {
    let mut uploading = api.artifacts.upload(id, plan.start, plan.total).await?;
    let first = uploading.at();
    loop {
        let next = tokio::select! {
            biased;
            () = uploading.taken_over() => return Err(ArtifactError::TakenOver.into()),
            next = body.next() => match next {
                Ok(next) => next,
                Err(error) => return Err(kept(uploading, error).await),
            },
        };
        let Some(bytes) = next else { break };
        let came = uploading.at() - first + bytes.len() as u64;
        if let Some(length) = plan.length.filter(|it| came > *it) {
            let message = format!("more came than the {length} bytes that Content-Range says");
            return Err(kept(uploading, ApiError::new(Code::BadRequest, message)).await);
        }
        uploading.push(&bytes).await?;
    }
    let came = uploading.at() - first;
    if let Some(length) = plan.length.filter(|it| came < *it) {
        let message = format!("{came} bytes came of the {length} that Content-Range says");
        return Err(kept(uploading, ApiError::new(Code::BadRequest, message)).await);
    }
    if plan.completes {
        let (id, record) = uploading.complete().await?;
        return Ok(answer(id, record));
    }
    uploading.keep().await?;
    drop(uploading);
    let record = api.artifacts.find(id)?;
    let record = record.ok_or_else(|| ApiError::not_found("artifact", &id.to_string()))?;
    Ok(answer(id, record))
}

/// Takes a form with a file in it.
async fn upload_form(
    api: &Api,
    id: ArtifactId,
    boundary: &str,
    mut body: PacedBody,
) -> Result<HttpResponse, ApiError> {
    let mut reader = FormReader::new(boundary);
    let mut uploading: Option<Uploading> = None;
    let mut has_ended = false;
    loop {
        let taken_over = async {
            match &uploading {
                Some(uploading) => uploading.taken_over().await,
                None => std::future::pending().await,
            }
        };
        let next = tokio::select! {
            biased;
            () = taken_over => return Err(ArtifactError::TakenOver.into()),
            next = body.next() => next?,
        };
        let Some(bytes) = next else { break };
        let pieces = reader.push(&bytes);
        for piece in pieces.map_err(|it| ApiError::new(Code::BadRequest, it.to_string()))? {
            match piece {
                Piece::File => {
                    uploading = Some(api.artifacts.upload(id, Start::Anew, None).await?);
                }
                Piece::Bytes(bytes) => {
                    if let Some(uploading) = &mut uploading {
                        uploading.push(&bytes).await?;
                    }
                }
                Piece::Field { name, value } => {
                    if name == "key" && value != id.to_string().as_bytes() {
                        let message = "`key` is that of another artifact than the URL";
                        return Err(ApiError::field("key", message));
                    }
                }
                Piece::End => has_ended = true,
            }
        }
    }
    match uploading {
        Some(uploading) if has_ended => {
            let (id, record) = uploading.complete().await?;
            Ok(answer(id, record))
        }
        Some(_) => Err(ApiError::new(Code::BadRequest, "the form broke off: send it again")),
        None => Err(ApiError::field("file", "the form has no field `file`")),
    }
}

/// Stores what came, so that the next request goes on from there.
async fn kept(mut uploading: Uploading, error: ApiError) -> ApiError {
    match uploading.keep().await {
        Ok(received) => error.with("received", json!(received)),
        Err(failure) => failure.into(),
    }
}

/// What became of an upload: 200 when it is complete, 202 when more is to come.
fn answer(id: ArtifactId, record: ArtifactRecord) -> HttpResponse {
    let is_complete = matches!(record.state, ArtifactState::Complete { .. });
    let status = if is_complete { StatusCode::OK } else { StatusCode::ACCEPTED };
    let shown: artifacts::OneArtifact = one(id, record);
    HttpResponse::build(status).json(shown)
}
