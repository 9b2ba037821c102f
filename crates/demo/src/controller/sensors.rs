//! Simulated sensors: smooth waves that depend on the time alone, so that curves go on after a restart.

use std::f64::consts::TAU;

use jiff::Timestamp;
use uuid::Uuid;

use crate::reading::Reading;

/// How many sensors there are.
pub const COUNT: usize = SENSORS.len();

struct Sensor {
    name: &'static str,
    unit: &'static str,
    middle: f64,
    /// A slow and a fast wave: height, and period in seconds.
    waves: [(f64, f64); 2],
}

const SENSORS: [Sensor; 4] = [
    Sensor {
        name: "temperature",
        unit: "°C",
        middle: 21.5,
        waves: [(2.4, 540.0), (0.35, 47.0)],
    },
    Sensor {
        name: "pressure",
        unit: "bar",
        middle: 6.2,
        waves: [(0.5, 310.0), (0.09, 19.0)],
    },
    Sensor {
        name: "humidity",
        unit: "%",
        middle: 46.0,
        waves: [(7.5, 820.0), (0.9, 61.0)],
    },
    Sensor {
        name: "flow",
        unit: "l/min",
        middle: 12.4,
        waves: [(2.8, 140.0), (0.5, 23.0)],
    },
];

/// One reading of each sensor.
pub fn read(source: &str, at: Timestamp) -> impl Iterator<Item = Reading> {
    SENSORS.iter().map(move |sensor| Reading {
        id: Uuid::new_v4(),
        source: source.to_owned(),
        name: sensor.name.to_owned(),
        value: sensor.value(at),
        unit: Some(sensor.unit.to_owned()),
        measured_at: at,
    })
}

impl Sensor {
    /// The value in the sensor's unit, to three decimals.
    fn value(&self, at: Timestamp) -> f64 {
        // Exact to the millisecond until long after these sensors are gone.
        let seconds = at.as_millisecond() as f64 / 1000.0;
        let swing: f64 = self
            .waves
            .iter()
            .map(|(height, period)| height * (TAU * seconds / period).sin())
            .sum();
        ((self.middle + swing) * 1000.0).round() / 1000.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(second: i64) -> Vec<f64> {
        let at = Timestamp::from_second(1_800_000_000 + second).unwrap();
        read("s", at).map(|reading| reading.value).collect()
    }

    #[test]
    fn the_same_time_gives_the_same_values() {
        assert_eq!(values(0), values(0));
        assert_ne!(values(0), values(1));
        assert_eq!(values(0).len(), COUNT);
    }

    #[test]
    fn waves_are_smooth_and_stay_in_their_range() {
        for second in 0..2000 {
            for ((now, next), sensor) in values(second).iter().zip(values(second + 1)).zip(&SENSORS) {
                let height: f64 = sensor.waves.iter().map(|(height, _)| height).sum();
                assert!((now - next).abs() < height / 10.0, "{}: {now} → {next}", sensor.name);
                assert!((now - sensor.middle).abs() <= height + 0.001, "{}: {now}", sensor.name);
            }
        }
    }
}
