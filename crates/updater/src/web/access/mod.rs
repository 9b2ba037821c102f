//! Who calls, and what they may do.
//!
//! A call is a person's, by the session cookie that [`login`] sets, or a script's, by a bearer token. A bearer token
//! goes first: the product's own front end adds one to calls that bring the cookie too. Browsers send the cookie with
//! every request to this device, also with requests of other sites, so a call that changes something must come from our
//! own page ([`origin`]).
//!
//! `client` (where a call comes from) → `origin`, `password` → `caller` → `audit`, `login`.

pub(crate) mod audit;
pub(crate) mod caller;
pub(crate) mod client;
pub(crate) mod login;
pub(crate) mod origin;
pub(crate) mod password;

pub(crate) use self::caller::{Admin, Caller, Reader, Who};
