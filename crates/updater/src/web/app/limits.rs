//! Limits of wrong passwords and tokens: a bucket for each address, and one for all addresses.
//!
//! The one for all only slows down, and never locks the administrator out for long. The neighbourhood of an IPv6 address
//! (its first 64 bits) counts as one address.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// The largest number of addresses; the oldest ones are dropped.
const ADDRESSES: usize = 1024;

/// The number of free attempts, and the time after which one more is free.
#[derive(Clone, Copy, Debug)]
struct Rule {
    free: u32,
    every: Duration,
}

const PASSWORDS_OF_ONE: Rule = Rule {
    free: 5,
    every: Duration::from_secs(30),
};
const PASSWORDS_OF_ALL: Rule = Rule {
    free: 30,
    every: Duration::from_secs(2),
};
const TOKENS_OF_ONE: Rule = Rule {
    free: 60,
    every: Duration::from_secs(1),
};

/// Wrong attempts by address.
#[derive(Debug, Default)]
pub(crate) struct Limits {
    passwords: Mutex<Buckets>,
    tokens: Mutex<Buckets>,
}

#[derive(Debug, Default)]
struct Buckets {
    of_one: HashMap<Option<IpAddr>, Bucket>,
    of_all: Option<Bucket>,
}

/// When all attempts will be free again.
#[derive(Clone, Copy, Debug)]
struct Bucket(Instant);

impl Bucket {
    /// The time until an attempt is free; none if one is.
    fn wait(self, rule: Rule, now: Instant) -> Option<Duration> {
        let debt = self.0.saturating_duration_since(now);
        let wait = (debt + rule.every).saturating_sub(rule.every * rule.free);
        (!wait.is_zero()).then_some(wait)
    }

    fn after(bucket: Option<Self>, rule: Rule, now: Instant) -> Self {
        let free_again = bucket.map_or(now, |bucket| bucket.0.max(now));
        Self(free_again + rule.every)
    }
}

impl Limits {
    /// The time until a password may be tried from an address; none if it may.
    pub(crate) fn passwords_of(&self, address: Option<IpAddr>) -> Option<Duration> {
        let now = Instant::now();
        let buckets = self.passwords.lock().unwrap_or_else(PoisonError::into_inner);
        let of_one = buckets.of_one.get(&neighbourhood(address));
        let of_one = of_one.and_then(|bucket| bucket.wait(PASSWORDS_OF_ONE, now));
        let of_all = buckets.of_all.and_then(|bucket| bucket.wait(PASSWORDS_OF_ALL, now));
        of_one.max(of_all)
    }

    /// A password is tried: it counts until it turns out to be right.
    pub(crate) fn tried_password(&self, address: Option<IpAddr>) {
        let now = Instant::now();
        let mut buckets = self.passwords.lock().unwrap_or_else(PoisonError::into_inner);
        buckets.add(neighbourhood(address), PASSWORDS_OF_ONE, now);
        buckets.of_all = Some(Bucket::after(buckets.of_all, PASSWORDS_OF_ALL, now));
    }

    /// The password was right.
    pub(crate) fn right_password(&self, address: Option<IpAddr>) {
        let mut buckets = self.passwords.lock().unwrap_or_else(PoisonError::into_inner);
        buckets.of_one.remove(&neighbourhood(address));
    }

    /// The time until a token may be tried from an address; none if it may.
    pub(crate) fn tokens_of(&self, address: Option<IpAddr>) -> Option<Duration> {
        let buckets = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        let bucket = buckets.of_one.get(&neighbourhood(address))?;
        bucket.wait(TOKENS_OF_ONE, Instant::now())
    }

    /// A token was wrong.
    pub(crate) fn wrong_token(&self, address: Option<IpAddr>) {
        let mut buckets = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        buckets.add(neighbourhood(address), TOKENS_OF_ONE, Instant::now());
    }
}

impl Buckets {
    fn add(&mut self, address: Option<IpAddr>, rule: Rule, now: Instant) {
        if self.of_one.len() >= ADDRESSES {
            self.of_one.retain(|_, bucket| bucket.0 > now);
        }
        if self.of_one.len() >= ADDRESSES
            && let Some(oldest) = self
                .of_one
                .iter()
                .min_by_key(|(_, bucket)| bucket.0)
                .map(|(address, _)| *address)
        {
            self.of_one.remove(&oldest);
        }
        let bucket = Bucket::after(self.of_one.get(&address).copied(), rule, now);
        self.of_one.insert(address, bucket);
    }
}

fn neighbourhood(address: Option<IpAddr>) -> Option<IpAddr> {
    match address {
        Some(IpAddr::V6(address)) => Some(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn an_address_has_five_attempts_and_then_one_every_half_minute() {
        let limits = Limits::default();
        let [one, other] = ["10.0.0.1", "10.0.0.2"].map(address);
        for _ in 0..5 {
            assert_eq!(limits.passwords_of(one), None);
            limits.tried_password(one);
        }
        let wait = limits.passwords_of(one).unwrap();
        assert!(
            wait <= Duration::from_secs(30) && wait > Duration::from_secs(25),
            "{wait:?}"
        );
        assert_eq!(limits.passwords_of(other), None);
        limits.right_password(one);
        assert_eq!(limits.passwords_of(one), None);
    }

    #[test]
    fn all_addresses_together_are_slowed_down() {
        let limits = Limits::default();
        for number in 0..30u32 {
            let address = Some(IpAddr::from(number.to_be_bytes()));
            assert_eq!(limits.passwords_of(address), None, "{number}");
            limits.tried_password(address);
        }
        let wait = limits.passwords_of(address("10.9.9.9")).unwrap();
        assert!(wait <= Duration::from_secs(2), "{wait:?}");
    }

    #[test]
    fn neighbours_count_as_one_and_memory_has_an_end() {
        let limits = Limits::default();
        for number in 0..5 {
            limits.tried_password(address(&format!("fd00::{number}")));
        }
        assert!(limits.passwords_of(address("fd00::99")).is_some());
        for number in 0..5000u32 {
            limits.wrong_token(Some(IpAddr::from(number.to_be_bytes())));
        }
        assert!(limits.tokens.lock().unwrap().of_one.len() <= ADDRESSES);
    }
}
