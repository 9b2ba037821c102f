//! The command line that every repository's xtask gets.

mod arguments;
mod bundle;
mod changelog;
mod check;
mod command;
mod output;
mod publish;
mod release;
mod vendor;

pub use bundle::BundleCommand;
pub use changelog::ChangelogArgs;
pub use check::CheckArgs;
pub use command::{Command, KeygenArgs, SchemaArgs, run};
pub use publish::{PublishArgs, PublishOptions};
pub use release::{BuildArgs, BuildOptions, ReleaseArgs};
pub use vendor::{LockArgs, VendorArgs};
