//! Bundles in parts, for places that take no file of 2 GiB: `<bundle>.part-001`, `<bundle>.part-002`, …, and
//! `<bundle>.parts.json`, which names them.
//!
//! ```text
//! release side   split: one pass, a part at a time, the list last
//! device side    Source::open → Read + Seek over all parts → read::verify, in place
//! ```
//!
//! Parts are the bundle cut at some bytes; `cat` joins them. Verification is the bundle's own and knows of no parts: the
//! digests in the list only tell which part to fetch again ([`find_damage`]), and nothing vouches for them. A part belongs
//! to a bundle because the list names it, with its size and its place; what else lies beside it is never joined.

mod joined;
mod list;
mod split;

pub use crate::names::file_name::{LIST_ENDING, bundle_of_list, bundle_of_part, list_name, part_name};
pub use joined::{Joined, Source, find_damage};
pub use list::{DEFAULT_PART_SIZE, MAX_PARTS, Part, PartsError, PartsList};
pub use split::{SplitError, list_parts, split};
