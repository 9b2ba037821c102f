//! Why a call is refused.

/// Why GitHub refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) message: String,
    /// Resource, field, code and message of what is wrong, as in a 422's `errors`.
    pub(crate) error: Option<[&'static str; 3]>,
}

impl Refusal {
    pub(crate) fn not_found() -> Self {
        Self {
            status: 404,
            message: "Not Found".to_owned(),
            error: None,
        }
    }

    pub(crate) fn new(status: u16, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
            error: None,
        }
    }

    /// A 422 about a field.
    pub(crate) fn invalid(resource: &'static str, field: &'static str, code: &'static str) -> Self {
        Self {
            status: 422,
            message: "Validation Failed".to_owned(),
            error: Some([resource, field, code]),
        }
    }
}
