//! Which address does what.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::body::Incoming;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, StatusCode};
use serde_json::{Map, Value, json};

use crate::answer::{HttpAnswer, content, json as answer, refused};
use crate::asking::Asking;
use crate::body::{self, Whole};
use crate::lane::aside;
use crate::models::Served;
use crate::refusal::Refusal;
use crate::service::Service;
use crate::{metrics, openapi, page, predict, v2};

/// The header by which a request says how many seconds its answer is of use.
pub const TIMEOUT: &str = "request-timeout";

/// An hour, in seconds.
const LONGEST: f64 = 3600.0;

/// Answers a request, whatever it is.
pub async fn route(service: &Arc<Service>, request: Request<Incoming>) -> HttpAnswer {
    service.metrics.requests.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let mut answer = match routed(service, request).await {
        Ok(answer) => answer,
        Err(refusal) => {
            if refusal.status.is_server_error() {
                tracing::error!(
                    status = refusal.status.as_u16(),
                    error = refusal.message,
                    "a request failed"
                );
            }
            refused(refusal)
        }
    };
    let nosniff = HeaderValue::from_static("nosniff");
    answer.headers_mut().insert(HeaderName::from_static("x-content-type-options"), nosniff);
    answer
}

/// What an address names.
enum Address<'p> {
    /// A page, or one of its parts.
    Page(HttpAnswer),
    /// Whether the server runs.
    Live,
    /// Whether it takes requests.
    Ready,
    Metrics,
    OpenApi,
    Models,
    Server,
    /// Something of a model.
    Model(Option<&'p str>, Option<&'p str>, OfModel),
}

/// What is asked of a model.
#[derive(Clone, Copy)]
enum OfModel {
    About,
    Report,
    Predict,
    Tensors,
    Ready,
    Infer,
}

/// What a path names.
fn place<'p>(parts: &[&'p str]) -> Option<Address<'p>> {
    let of = |name: &'p str, what| Some(Address::Model(Some(name), None, what));
    match *parts {
        ["predict"] => Some(Address::Model(None, None, OfModel::Predict)),
        ["healthz"] | ["v2", "health", "live"] => Some(Address::Live),
        ["readyz"] | ["v2", "health", "ready"] => Some(Address::Ready),
        ["metrics"] => Some(Address::Metrics),
        ["openapi.json"] => Some(Address::OpenApi),
        ["models"] => Some(Address::Models),
        ["models", name] => of(name, OfModel::About),
        ["models", name, "report"] => of(name, OfModel::Report),
        ["models", name, "predict"] => of(name, OfModel::Predict),
        ["models", name, "versions", version, "predict"] => {
            Some(Address::Model(Some(name), Some(version), OfModel::Predict))
        }
        ["v2"] => Some(Address::Server),
        ["v2", "models", name, ref rest @ ..] => {
            let (version, rest) = match *rest {
                ["versions", version, ref rest @ ..] => (Some(version), rest),
                _ => (None, rest),
            };
            let what = match *rest {
                [] => OfModel::Tensors,
                ["ready"] => OfModel::Ready,
                ["infer"] => OfModel::Infer,
                _ => return None,
            };
            Some(Address::Model(Some(name), version, what))
        }
        [name] => page::part(name).map(Address::Page),
        _ => None,
    }
}

async fn routed(service: &Arc<Service>, request: Request<Incoming>) -> Result<HttpAnswer, Refusal> {
    let began = Instant::now();
    let path = decoded(request.uri().path())?;
    // The root is one empty part.
    let parts: Vec<&str> = path.strip_prefix('/').unwrap_or(&path).split('/').collect();
    let Some(place) = place(&parts) else {
        return Err(Refusal::missing(format!("there is nothing at {path}; /api says what there is")));
    };
    let is_open = matches!(place, Address::Page(_) | Address::Live | Address::Ready);
    if !is_open && !service.options.tokens.allow(request.headers()) {
        return Err(Refusal::token());
    }
    match place {
        Address::Model(name, version, what @ (OfModel::Predict | OfModel::Infer)) => {
            only(&request, &[Method::POST], "POST")?;
            let served = service.models.get(name, version)?;
            let asked = ask(service, &served, what, request, began).await;
            let status = asked.as_ref().map_or_else(|refusal| refusal.status, HttpAnswer::status);
            served.metrics.answered(status.as_u16(), began.elapsed());
            asked
        }
        other => {
            only(&request, &[Method::GET, Method::HEAD], "GET")?;
            looked(service, other)
        }
    }
}

fn only(request: &Request<Incoming>, methods: &[Method], said: &'static str) -> Result<(), Refusal> {
    if methods.contains(request.method()) { Ok(()) } else { Err(Refusal::method(said)) }
}

/// Answers what only looks.
fn looked(service: &Service, place: Address) -> Result<HttpAnswer, Refusal> {
    let plain = "text/plain; charset=utf-8";
    match place {
        Address::Page(answer) => Ok(answer),
        Address::Live => Ok(content(StatusCode::OK, plain, "ok\n")),
        Address::Ready if service.stops() => {
            Ok(content(StatusCode::SERVICE_UNAVAILABLE, plain, "stopping\n"))
        }
        Address::Ready => Ok(content(StatusCode::OK, plain, "ready\n")),
        Address::Metrics => {
            let models = service.models.metrics();
            let each = models.iter().map(|(name, metrics)| (name.as_str(), &**metrics));
            Ok(content(StatusCode::OK, "text/plain; version=0.0.4", metrics::text(&service.metrics, each)))
        }
        Address::OpenApi => Ok(answer(StatusCode::OK, &openapi::document(&service.models.latest()))),
        Address::Models => Ok(answer(StatusCode::OK, &listed(service))),
        Address::Server => Ok(v2::server()),
        Address::Model(name, version, what) => {
            let served = service.models.get(name, version)?;
            match what {
                OfModel::About => {
                    let troubles = troubles(service, &served.name);
                    let mut about = about(&served);
                    about.insert("troubles".to_string(), troubles.into());
                    Ok(answer(StatusCode::OK, &about.into()))
                }
                OfModel::Report => page::report(&served),
                OfModel::Ready => Ok(v2::ready(&served)),
                OfModel::Tensors => {
                    let versions =
                        service.models.latest().into_iter().find(|(one, _)| one.name == served.name);
                    Ok(v2::model(&served, &versions.map(|(_, versions)| versions).unwrap_or_default()))
                }
                OfModel::Predict | OfModel::Infer => Err(Refusal::method("POST")),
            }
        }
    }
}

/// A model, as its page needs it.
fn about(served: &Served) -> Map<String, Value> {
    let mut about = served.about.form.clone();
    about.insert("name".to_string(), served.name.clone().into());
    about.insert("version".to_string(), served.version.clone().into());
    about.insert("report".to_string(), served.about.has_report().into());
    about
}

/// Why files of a model aren't served.
fn troubles(service: &Service, name: &str) -> Vec<Value> {
    let troubles = service.models.troubles().into_iter().filter(|(found, _)| found.name == name);
    let one = |(found, trouble): (crate::sources::FoundModel, String)| json!({ "version": found.version, "error": trouble });
    troubles.map(one).collect()
}

fn listed(service: &Service) -> Value {
    let one = |(served, versions): (Arc<Served>, Vec<String>)| {
        json!({
            "name": served.name,
            "version": served.version,
            "versions": versions,
            "takes": served.about.takes.name(),
            "troubles": troubles(service, &served.name),
        })
    };
    json!({ "models": service.models.latest().into_iter().map(one).collect::<Vec<_>>() })
}

/// Answers what asks a model.
async fn ask(
    service: &Service,
    served: &Served,
    what: OfModel,
    request: Request<Incoming>,
    began: Instant,
) -> Result<HttpAnswer, Refusal> {
    let (head, incoming) = request.into_parts();
    let asking = Asking {
        lane: &service.lane,
        decoders: &service.decoders,
        deadline: began + timeout(&head.headers, service.options.deadline)?,
    };
    let options = &service.options;
    let body: Whole = body::read(incoming, options.body_limit, options.body_timeout, &service.room).await?;
    match what {
        OfModel::Infer => {
            let length = length(&head.headers)?;
            let request = aside(body.bytes.len(), || v2::InferRequest::read(&body.bytes, length))?;
            v2::infer(&asking, served, request, body.bytes.len()).await
        }
        OfModel::Predict | OfModel::About | OfModel::Report | OfModel::Tensors | OfModel::Ready => {
            predict::predict(&asking, served, &head.headers, body).await
        }
    }
}

/// How long an answer is of use.
fn timeout(headers: &HeaderMap, default: Duration) -> Result<Duration, Refusal> {
    let Some(said) = headers.get(TIMEOUT) else { return Ok(default) };
    let seconds = said.to_str().ok().and_then(|said| said.trim().parse::<f64>().ok());
    match seconds.filter(|seconds| (0.0..=LONGEST).contains(seconds)) {
        Some(seconds) => Ok(Duration::from_secs_f64(seconds)),
        None => Err(Refusal::bad(format!("{TIMEOUT} is a number of seconds, {LONGEST} at most"))),
    }
}

/// How many bytes of a body are JSON.
fn length(headers: &HeaderMap) -> Result<Option<usize>, Refusal> {
    let Some(said) = headers.get(v2::HEADER_LENGTH) else { return Ok(None) };
    let length = said.to_str().ok().and_then(|said| said.trim().parse().ok());
    match length {
        Some(length) => Ok(Some(length)),
        None => Err(Refusal::bad(format!("{} is a number of bytes", v2::HEADER_LENGTH))),
    }
}

/// A path without its escapes.
fn decoded(path: &str) -> Result<String, Refusal> {
    if !path.contains('%') {
        return Ok(path.to_string());
    }
    let bytes = path.as_bytes();
    let (mut decoded, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while let Some(&byte) = bytes.get(at) {
        let digit = |place: usize| bytes.get(place).and_then(|&digit| char::from(digit).to_digit(16));
        match (byte, digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                decoded.push((high * 16 + low) as u8);
                at += 3;
            }
            _ => {
                decoded.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8(decoded).map_err(|_| Refusal::bad("the path isn't UTF-8"))
}
