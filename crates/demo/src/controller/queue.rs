//! Readings that wait for their acknowledgement: first in, first out, bounded.

use std::collections::VecDeque;

use uuid::Uuid;

use crate::reading::Reading;

/// A bounded queue that drops its oldest reading when it is full: newer ones say more.
#[derive(Debug)]
pub struct Queue {
    readings: VecDeque<Reading>,
    capacity: usize,
    dropped: u64,
}

impl Queue {
    /// An empty queue for `capacity` readings.
    pub fn new(capacity: usize) -> Self {
        Self {
            readings: VecDeque::new(),
            capacity,
            dropped: 0,
        }
    }

    /// Puts a reading at the end; the oldest one when there was no room.
    pub fn push(&mut self, reading: Reading) -> Option<Reading> {
        self.readings.push_back(reading);
        let dropped = (self.readings.len() > self.capacity)
            .then(|| self.readings.pop_front())
            .flatten();
        self.dropped += u64::from(dropped.is_some());
        dropped
    }

    /// The oldest reading. It stays until [`Queue::remove`].
    pub fn oldest(&self) -> Option<&Reading> {
        self.readings.front()
    }

    /// Removes the oldest reading if it has this id; it may have been dropped meanwhile.
    pub fn remove(&mut self, id: Uuid) {
        if self.readings.front().is_some_and(|reading| reading.id == id) {
            self.readings.pop_front();
        }
    }

    /// How many readings wait.
    pub fn len(&self) -> usize {
        self.readings.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.readings.is_empty()
    }

    /// How many were dropped since the start.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn reading(number: u128) -> Reading {
        Reading {
            id: Uuid::from_u128(number),
            source: "s".to_owned(),
            name: "n".to_owned(),
            value: 0.0,
            unit: None,
            measured_at: Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn a_full_queue_drops_its_oldest() {
        let mut queue = Queue::new(2);
        assert_eq!(queue.push(reading(1)), None);
        assert_eq!(queue.push(reading(2)), None);
        assert_eq!(queue.push(reading(3)), Some(reading(1)));
        assert_eq!(
            (queue.oldest(), queue.len(), queue.dropped()),
            (Some(&reading(2)), 2, 1)
        );
    }

    #[test]
    fn an_acknowledgement_removes_only_its_own_reading() {
        let mut queue = Queue::new(1);
        queue.push(reading(1));
        queue.push(reading(2));
        queue.remove(reading(1).id);
        assert_eq!(queue.oldest(), Some(&reading(2)));
        queue.remove(reading(2).id);
        assert!(queue.is_empty());
    }
}
