//! The bridge and the addresses of one engine.

use anyhow::{Context as _, Result};
use pipeline::system::process;
use xshell::{Shell, cmd};

use super::Kind;

/// A bridge that is made before its engine starts, which then does not touch `docker0`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bridge {
    /// Its name; the kernel allows 15 characters.
    pub(crate) name: String,
    /// Its address and prefix.
    pub(crate) address: String,
    /// Where the engine takes the networks of Compose projects from.
    pub(crate) pool: String,
}

impl Bridge {
    /// The bridge of `kind` for the cache that the hexadecimal `id` stands for.
    ///
    /// Addresses lie in the block that RFC 2544 sets aside for tests of network equipment: 64 caches with four
    /// engines each find room for 8 networks a /21.
    pub(crate) fn new(kind: Kind, id: &str) -> Self {
        let cache = u8::from_str_radix(id.get(..2).unwrap_or_default(), 16).unwrap_or_default() % 16;
        let slot = u16::from(cache) * 4 + u16::from(kind.number());
        // 198.18.0.0/15 holds 64 blocks of 8 /24 networks: the first is the bridge's, the rest are the pool's.
        let network = slot * 8;
        let (second, third) = (18 + network / 256, network % 256);
        Self {
            name: format!("xt{}{}", id.get(..8).unwrap_or_default(), kind.number()),
            address: format!("198.{second}.{third}.1/24"),
            pool: format!("198.{second}.{}.0/22", third + 4),
        }
    }

    /// Makes it, unless it is there.
    pub(crate) fn make(&self, sh: &Shell) -> Result<()> {
        let Self { name, address, .. } = self;
        // `/sys` may show another network namespace's.
        if process::read(cmd!(sh, "ip link show {name}")).is_err() {
            process::read(cmd!(sh, "ip link add {name} type bridge"))
                .and_then(|_| process::read(cmd!(sh, "ip address add {address} dev {name}")))
                .with_context(|| format!("cannot make the network bridge {name}"))?;
        }
        process::read(cmd!(sh, "ip link set {name} up"))
            .with_context(|| format!("cannot bring up the network bridge {name}"))?;
        Ok(())
    }
}

impl Bridge {
    /// Removes the bridges of Compose projects that an engine has left, which was wiped or killed with projects on it: each
    /// keeps one of the few networks of the pool.
    pub(crate) fn remove_left(&self, sh: &Shell) -> Result<()> {
        let addresses = process::read(cmd!(sh, "ip -oneline -4 address show"))?;
        for name in left_in(&addresses, &self.pool) {
            process::read(cmd!(sh, "ip link delete {name}"))
                .with_context(|| format!("cannot delete the network bridge {name}"))?;
        }
        Ok(())
    }
}

/// The bridges of Docker networks with addresses in a pool of four /24 networks, by what `ip -oneline address` says.
fn left_in<'a>(addresses: &'a str, pool: &str) -> Vec<&'a str> {
    let network = |address: &str| -> Option<(String, u8)> {
        let mut parts = address.splitn(4, '.');
        let start = format!("{}.{}", parts.next()?, parts.next()?);
        Some((start, parts.next()?.parse().ok()?))
    };
    let Some((start, first)) = network(pool) else {
        return Vec::new();
    };
    let lines = addresses
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>());
    lines
        .filter_map(|words| match words[..] {
            [_, name, "inet", address, ..] if name.starts_with("br-") => Some((name, network(address)?)),
            _ => None,
        })
        .filter(|(_, (its_start, third))| *its_start == start && (first..first.saturating_add(4)).contains(third))
        .map(|(name, _)| name)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bridges_that_were_left_are_found() {
        let addresses = "\
1: lo    inet 127.0.0.1/8 scope host lo\\ valid_lft forever
7: br-0a1b2c3d4e5f    inet 198.18.196.1/24 brd 198.18.196.255 scope global br-0a1b2c3d4e5f\\ valid_lft forever
8: br-111111111111    inet 198.18.200.1/24 brd 198.18.200.255 scope global br-111111111111\\ valid_lft forever
9: xt112233442    inet 198.18.197.1/24 scope global xt112233442\\ valid_lft forever
";
        assert_eq!(left_in(addresses, "198.18.196.0/22"), ["br-0a1b2c3d4e5f"]);
    }

    #[test]
    fn addresses_stay_in_the_test_block() {
        for (id, kind, address, pool) in [
            ("00000000", Kind::Builder, "198.18.0.1/24", "198.18.4.0/22"),
            (
                "0f000000",
                Kind::Docker26Containerd,
                "198.19.248.1/24",
                "198.19.252.0/22",
            ),
            ("ff000000", Kind::Docker20, "198.19.232.1/24", "198.19.236.0/22"),
        ] {
            let bridge = Bridge::new(kind, id);
            assert_eq!((bridge.address.as_str(), bridge.pool.as_str()), (address, pool));
            assert!(bridge.name.len() <= 15);
        }
    }
}
