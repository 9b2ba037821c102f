//! The controller over an outage of the backend.

use std::{collections::BTreeSet, thread, time::Duration};

use crate::{
    backend::stored,
    eventually,
    postgres::Postgres,
    process::{Running, free_port, healthcheck},
};

/// The ids that the controller logged as acknowledged.
fn acknowledged(log: &str) -> BTreeSet<String> {
    log.lines()
        .filter(|line| line.contains(" acknowledged "))
        .filter_map(|line| line.split("id=").nth(1)?.split(' ').next())
        .map(str::to_owned)
        .collect()
}

#[test]
fn readings_wait_for_a_backend_that_is_away() {
    let postgres = Postgres::start();
    let port = free_port();
    let backend = Running::backend(port, &postgres.url());
    let variables = [
        ("BACKEND_URL", &*format!("http://127.0.0.1:{port}")),
        ("SOURCE", "plant"),
    ];
    let controller = Running::start("controller", free_port(), &variables);
    let state = |name: &str| controller.get("/health").unwrap().json()[name].clone();
    eventually("acknowledgements", || {
        (acknowledged(&controller.log()).len() >= 8).then_some(())
    });

    backend.kill();
    eventually("the outage is noticed", || (state("status") == "waiting").then_some(()));
    assert!(state("error").is_string());
    thread::sleep(Duration::from_secs(2));
    assert!(state("queued").as_u64().unwrap() >= 8, "{}", controller.log());
    assert_eq!(
        healthcheck("controller", controller.port).status.code(),
        Some(0),
        "measuring goes on"
    );

    let backend = Running::backend(port, &postgres.url());
    eventually("the queue is empty", || {
        (state("queued") == 0 && state("status") == "ok").then_some(())
    });
    assert_eq!((state("refused"), state("dropped")), (0.into(), 0.into()));
    let (status, log) = controller.stop();
    assert_eq!(status.code(), Some(0), "{log}");

    let kept: BTreeSet<_> = stored(backend.port).into_keys().collect();
    let acknowledged = acknowledged(&log);
    assert!(
        acknowledged.is_subset(&kept),
        "lost: {:?}",
        acknowledged.difference(&kept)
    );
    let gap = "SELECT max(gap) < interval '1.9 s' FROM (SELECT measured_at - lag(measured_at) OVER
               (PARTITION BY name ORDER BY measured_at) AS gap FROM datapoints WHERE source = 'plant') AS gaps";
    assert_eq!(postgres.query(gap), "t", "no second is missing");
}
