//! Updates of a real device: real bundles, a real engine, real PostgreSQL, and somebody who writes all the time.

use xtask::engines::Kind;

use crate::{
    site::Site,
    versions::{Bundles, V2_0_0, V2_1_0},
};

#[test]
#[ignore = "needs Docker engines; `cargo xtask ci` runs it"]
fn a_device_is_installed_updated_and_rolled_back() {
    install_update_rollback(Kind::Docker26Classic, Bundles::zstd());
}

fn install_update_rollback(kind: Kind, bundles: &'static Bundles) {
    let site = Site::with(kind, bundles, &V2_0_0);
    site.expect_runs(&V2_0_0);
    let witness = site.witness();
    let before = site.containers();

    site.apply(&V2_1_0).expect(0);
    site.expect_runs(&V2_1_0);
    witness.expect_writes();
    site.expect_nothing_lost(&witness);
    assert_eq!(site.sql("webmacs", "SELECT max(revision) FROM schema_revision"), "2");
    // What did not change was not restarted.
    let after = site.containers();
    for service in ["db", "frontend", "controller"] {
        assert_eq!(before[service], after[service], "{service}");
    }
    assert_ne!(before["backend"].id, after["backend"].id);

    site.run(&["rollback"]).expect(0);
    site.expect_runs(&V2_0_0);
    witness.expect_writes();
    site.expect_nothing_lost(&witness);
    assert_eq!(before["db"], site.containers()["db"]);
}
