//! Errors as RFC 9457 problem details with a stable code and a hint.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use digue_proto::fleet::{OrderRefused, StatementRefused};
use digue_proto::trust_chain::TrustError;
use digue_proto::verify::VerifyError;
use serde::Serialize;

use crate::authority::NotAccepted;
use crate::store::StoreError;

/// A request that was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub(crate) struct Problem {
    /// A URI for the kind of problem.
    #[serde(rename = "type")]
    kind: String,
    /// What went wrong, in general.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// What went wrong, in this case.
    detail: String,
    /// A stable code, for `digue explain`.
    code: &'static str,
    /// What to do.
    hint: &'static str,
}

impl Problem {
    pub(crate) fn new(
        status: StatusCode,
        code: &'static str,
        title: &'static str,
        detail: impl ToString,
        hint: &'static str,
    ) -> Self {
        let kind = format!("urn:digue:problem:{code}");
        Self { kind, title, status: status.as_u16(), detail: detail.to_string(), code, hint }
    }

    /// The stable code.
    pub(crate) const fn code(&self) -> &'static str {
        self.code
    }

    /// The body is not what this address takes.
    pub(crate) fn malformed(detail: impl ToString) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "E0501",
            "the request body is not readable",
            detail,
            "send exactly one JSON document of the form in the OpenAPI description",
        )
    }

    /// A part of the address or query that cannot be read.
    pub(crate) fn bad_parameter(detail: impl ToString) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "E0502",
            "a parameter is not acceptable",
            detail,
            "see the parameters of this address in the OpenAPI description",
        )
    }

    /// Nothing there.
    pub(crate) fn not_found(detail: impl ToString) -> Self {
        let hint = "list what exists with a GET on the collection";
        Self::new(StatusCode::NOT_FOUND, "E0503", "not found", detail, hint)
    }

    pub(crate) fn no_such_address(detail: impl ToString) -> Self {
        let hint = "the addresses are listed in the OpenAPI description (digue-controller openapi)";
        Self::new(StatusCode::NOT_FOUND, "E0504", "no such address", detail, hint)
    }

    pub(crate) fn method(detail: impl ToString) -> Self {
        let hint = "the methods of each address are listed in the OpenAPI description";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "E0505", "method not allowed", detail, hint)
    }

    pub(crate) fn too_large(limit: usize) -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "E0506",
            "the request body is too large",
            format!("the limit here is {limit} bytes"),
            "split the order into batches of fewer hosts",
        )
    }

    pub(crate) fn unauthorised() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "E0507",
            "no valid bearer token",
            "this address needs the header Authorization: Bearer TOKEN",
            "name the token file in the context, or use the unix socket",
        )
    }

    pub(crate) fn busy(detail: &'static str) -> Self {
        let hint = "try again in a moment";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "E0508", "not now", detail, hint)
    }

    fn conflict(code: &'static str, detail: impl ToString, hint: &'static str) -> Self {
        let title = "it contradicts what is stored";
        Self::new(StatusCode::CONFLICT, code, title, detail, hint)
    }

    fn refused(code: &'static str, detail: impl ToString, hint: &'static str) -> Self {
        let title = "the signed document is not acceptable";
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, code, title, detail, hint)
    }

    fn no_root() -> Self {
        let detail = "no trust root is known yet";
        Self::conflict("E0510", detail, "publish the trust root first: digue trust publish")
    }

    pub(crate) fn internal(detail: impl ToString) -> Self {
        let hint = "see the controller's journal";
        let title = "the controller failed";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "E0509", title, detail, hint)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self).unwrap_or_default();
        (status, [(header::CONTENT_TYPE, "application/problem+json")], body).into_response()
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        if error.disk_full() {
            Self::new(
                StatusCode::INSUFFICIENT_STORAGE,
                "E0520",
                "the controller's disk is full",
                format!("nothing was stored and nothing was sent: {error}"),
                "free space on the controller's disk; until then use the courier",
            )
        } else {
            Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "E0521",
                "the controller cannot store anything",
                format!("nothing was stored and nothing was sent: {error}"),
                "see the controller's journal; until then use the courier",
            )
        }
    }
}

impl From<VerifyError> for Problem {
    fn from(error: VerifyError) -> Self {
        let hint = match &error {
            VerifyError::Threshold { .. } => "collect the missing signatures and send it again",
            VerifyError::NewerRoot { .. } => "publish the newer trust root first: digue trust publish",
            VerifyError::Deployment(_) => "check that the context names the right deployment",
            VerifyError::Bounds(_)
            | VerifyError::WrongType { .. }
            | VerifyError::NoForensic
            | VerifyError::NotByHost(_)
            | VerifyError::Payload { .. }
            | VerifyError::Order(_)
            | VerifyError::Statement(_)
            | VerifyError::WrongClass { .. }
            | VerifyError::Inventory(_) => "make the document again with the digue command",
        };
        Self::refused(error.code(), &error, hint)
    }
}

impl From<TrustError> for Problem {
    fn from(error: TrustError) -> Self {
        match error {
            TrustError::Verify(error) => error.into(),
            TrustError::NotNext { .. } => {
                Self::conflict(error.code(), &error, "publish the roots one after the other")
            }
            TrustError::NotPinned { .. }
            | TrustError::OtherDeployment
            | TrustError::Epoch { .. }
            | TrustError::ProtocolTooNew(_)
            | TrustError::Contents(_) => {
                Self::refused(error.code(), &error, "make the root again with digue trust")
            }
        }
    }
}

impl From<OrderRefused> for Problem {
    fn from(error: OrderRefused) -> Self {
        match error {
            OrderRefused::NoRoot => Self::no_root(),
            OrderRefused::Verify(error) => error.into(),
            OrderRefused::Bundle(_) => Self::refused("E0511", &error, "make the order again from its plan"),
            OrderRefused::OtherContents { .. } => {
                Self::conflict("E0512", &error, "plan the order again: each order has a name of its own")
            }
            OrderRefused::Signature(_) => Self::signature(&error),
            OrderRefused::Cancelled(_) => Self::conflict("E0514", &error, "plan a new order"),
            OrderRefused::AlreadySealed(_) => {
                Self::conflict("E0515", &error, "a newer order of the same stream replaces it")
            }
            OrderRefused::Unknown(_) => Self::not_found(&error),
        }
    }
}

impl From<StatementRefused> for Problem {
    fn from(error: StatementRefused) -> Self {
        match error {
            StatementRefused::NoRoot => Self::no_root(),
            StatementRefused::Verify(error) => error.into(),
            StatementRefused::Signature(_) => Self::signature(&error),
            StatementRefused::Unknown(_) => Self::not_found(&error),
        }
    }
}

impl Problem {
    fn signature(error: &dyn std::fmt::Display) -> Self {
        let hint = "sign with a key that the trust root names for this class, in its namespace";
        Self::refused("E0513", error, hint)
    }
}

impl From<NotAccepted> for Problem {
    fn from(error: NotAccepted) -> Self {
        match error {
            NotAccepted::Root(error) => error.into(),
            NotAccepted::Inventory(error) => error.into(),
            NotAccepted::InventoryNotNewer { .. } => {
                Self::conflict("E0516", &error, "start from the inventory in force and raise its version")
            }
            NotAccepted::NoRoot => Self::no_root(),
            NotAccepted::Order(error) => error.into(),
            NotAccepted::Statement(error) => error.into(),
            NotAccepted::Form(error) => Self::malformed(error),
            NotAccepted::Frame(_) => {
                Self::refused("E0517", &error, "shorten the order: an agent takes at most 1 MiB")
            }
            NotAccepted::Store(error) => error.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_names_its_code_in_type_and_member() {
        let problem = Problem::from(OrderRefused::NoRoot);
        let json = serde_json::to_value(&problem).expect("json");
        assert_eq!(json["type"], "urn:digue:problem:E0510");
        assert_eq!(json["code"], "E0510");
        assert_eq!(json["status"], 409);
        for member in ["title", "detail", "hint"] {
            assert!(json[member].as_str().is_some_and(|text| !text.is_empty()), "{member}");
        }
    }
}
