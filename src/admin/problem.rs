//! Errors as `application/problem+json` (RFC 9457): what went wrong, and what to do about it.

use crate::engine::LeverError;
use axum::{
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};

/// The media type of every error.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// What went wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// The HTTP status's name.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What went wrong and the remedy, one line.
    pub detail: String,
    /// Where there are several: each, one line.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<String>,
}

impl Problem {
    /// One line.
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        let title = status.canonical_reason().unwrap_or("Error").to_owned();
        Self { title, status: status.as_u16(), detail: detail.into(), faults: Vec::new() }
    }

    /// The request is wrong in itself.
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// There is no such thing.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    /// Not known yet, or not now.
    pub fn unavailable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, detail)
    }

    /// With several faults.
    #[must_use]
    pub fn with_faults(self, faults: Vec<String>) -> Self {
        Self { faults, ..self }
    }
}

impl From<LeverError> for Problem {
    fn from(error: LeverError) -> Self {
        match error {
            LeverError::NotFound(detail) => Self::not_found(detail),
            LeverError::Refused(detail) => Self::new(StatusCode::CONFLICT, detail),
            LeverError::Failed(detail) => Self::unavailable(detail),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_string(&self).unwrap_or_default();
        let mut response = (status, [(header::CONTENT_TYPE, PROBLEM_JSON)], body).into_response();
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, header::HeaderValue::from_static("Bearer"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_of_a_lever_has_its_status() {
        let status = |error| Problem::from(error).status;
        assert_eq!(status(LeverError::NotFound("no such fleet".into())), 404);
        assert_eq!(status(LeverError::Refused("it only observes".into())), 409);
        assert_eq!(status(LeverError::Failed("the disk is full".into())), 503);
    }

    #[test]
    fn a_problem_reads_aloud() {
        let problem = Problem::not_found("there is no fleet `tarin`; is it `train`?");
        assert_eq!(
            serde_json::to_string(&problem).unwrap(),
            r#"{"title":"Not Found","status":404,"detail":"there is no fleet `tarin`; is it `train`?"}"#
        );
    }
}
