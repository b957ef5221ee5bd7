//! The page to try models, and the reports beside them. Nothing in it comes from elsewhere, and its policy lets nothing do so.

use hyper::StatusCode;
use hyper::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderName, HeaderValue, REFERRER_POLICY};

use crate::answer::{HttpAnswer, content};
use crate::models::Served;
use crate::openapi;
use crate::refusal::Refusal;

/// What the page may do: run its own script and ask this server.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' blob: data:; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// What a report may do: show what is in it.
const OF_REPORTS: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// A part of the page, by its name; the root is the empty one.
pub fn part(name: &str) -> Option<HttpAnswer> {
    let html = "text/html; charset=utf-8";
    let (kind, body) = match name {
        "" => (html, include_str!("page/page.html").to_string()),
        "page.js" => ("text/javascript; charset=utf-8", include_str!("page/page.js").to_string()),
        "page.css" => ("text/css; charset=utf-8", include_str!("page/page.css").to_string()),
        "api" => (html, openapi::page()),
        _ => return None,
    };
    Some(guarded(content(StatusCode::OK, kind, body), POLICY))
}

fn guarded(mut answer: HttpAnswer, policy: &'static str) -> HttpAnswer {
    let headers = answer.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    let camera = HeaderValue::from_static("camera=(self), microphone=(), geolocation=()");
    headers.insert(HeaderName::from_static("permissions-policy"), camera);
    answer
}

/// The report beside a model's file.
///
/// # Errors
/// Where there is none, or it can't be read.
pub fn report(served: &Served) -> Result<HttpAnswer, Refusal> {
    let none = || Refusal::missing(format!("no report lies beside the file of model \"{}\"", served.name));
    let path = served.about.report.as_ref().filter(|report| report.is_file()).ok_or_else(none)?;
    let report =
        std::fs::read(path).map_err(|error| Refusal::fault(format!("the report can't be read: {error}")))?;
    Ok(guarded(content(StatusCode::OK, "text/html; charset=utf-8", report), OF_REPORTS))
}
