//! Whether setup changes the machine.

/// What a person asks of setup.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Do what is missing.
    #[default]
    Execute,
    /// Only say what is missing.
    Plan,
}
