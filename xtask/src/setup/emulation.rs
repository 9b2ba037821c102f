//! Emulation of arm64: the kernel hands arm64 programs to `qemu-aarch64`.
//!
//! The kernel keeps the emulator open from registration on, so that it works inside of every container and root
//! directory. Registration does not survive a reboot; then setup registers again.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use pipeline::system::process;
use xshell::{Shell, cmd};

use super::{
    apt::{Packages, Suite},
    cache::Cache,
};

/// The emulator, statically linked.
pub(super) const QEMU: Packages = Packages {
    name: "qemu",
    suite: Suite::Trixie,
    packages: &["qemu-user"],
};

const BINFMT: &str = "/proc/sys/fs/binfmt_misc";

/// The start of a 64-bit little-endian ELF file for AArch64, and which of its bits matter, in the kernel's escapes.
/// Source: elf(5), `e_ident` and `e_machine` 183; the mask leaves the ABI byte open and takes executables and
/// shared objects.
const MAGIC: &str = r"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00";
const MASK: &str = r"\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff";

/// `P`: keep the program's own name; `O`, `C`: open it with its own rights; `F`: open the emulator now.
const FLAGS: &str = "POCF";

/// The name of what runs arm64 programs here, if anything does.
pub(super) fn registered() -> Option<String> {
    if cfg!(target_arch = "aarch64") {
        return Some("this machine is arm64".to_owned());
    }
    let entries = fs::read_dir(BINFMT).ok()?;
    entries
        .filter_map(|entry| fs::read_to_string(entry.ok()?.path()).ok())
        .find_map(|text| interpreter(&text))
}

/// The emulator that a registration's text names, if it is enabled and takes AArch64 files.
fn interpreter(text: &str) -> Option<String> {
    let mut lines = text.lines();
    let is_enabled = lines.next() == Some("enabled");
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
    let magic = field("magic ")?;
    // Bytes 18 and 19 of an ELF file name the machine; 0xb7 is AArch64.
    let is_aarch64 = magic.starts_with("7f454c46") && magic.get(36..40) == Some("b700");
    (is_enabled && is_aarch64).then(|| field("interpreter ").unwrap_or_default().to_owned())
}

/// Registers the emulator out of the cache; gives its path.
///
/// # Errors
/// It cannot be downloaded, or the kernel does not take it.
pub(super) fn register(sh: &Shell, cache: &Cache) -> Result<PathBuf> {
    let qemu = QEMU.unpack(sh, cache)?.join("usr/bin/qemu-aarch64");
    let register = Path::new(BINFMT).join("register");
    if !register.exists() {
        process::read(cmd!(sh, "mount -t binfmt_misc binfmt_misc {BINFMT}"))
            .context("this kernel has no binfmt_misc\nhint: load its module with `modprobe binfmt_misc`")?;
    }
    let rule = format!(":qemu-aarch64:M::{MAGIC}:{MASK}:{}:{FLAGS}", qemu.display());
    fs::write(&register, rule).with_context(|| format!("the kernel refuses {}", qemu.display()))?;
    Ok(qemu)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENTRY: &str = "enabled\ninterpreter /usr/bin/qemu-aarch64\nflags: POCF\noffset 0\n\
                         magic 7f454c460201010000000000000000000200b700\nmask ffffffffffffff00fffffffffffffffffeffffff\n";

    #[test]
    fn finds_an_enabled_emulator_of_aarch64_only() {
        assert_eq!(interpreter(ENTRY).as_deref(), Some("/usr/bin/qemu-aarch64"));
        assert_eq!(interpreter(&ENTRY.replace("enabled", "disabled")), None);
        assert_eq!(interpreter(&ENTRY.replace("b700", "f300")), None);
    }
}
