//! The same commit gives the same bytes.

use crate::support::{files::sha256, product::Product};

#[test]
#[ignore = "needs Docker engines; `cargo xtask ci` runs it"]
fn two_clones_give_the_same_bundles() {
    let here = Product::new();
    let first = here.release(&["--zip"]);
    let there = here.clone_elsewhere();
    assert_ne!(here.root(), there.root());
    let second = there.release(&["--zip", "--no-cache"]);
    assert_eq!(first.digests().len(), 6);
    assert_eq!(second.digests(), first.digests());
    for bundle in &second.bundles {
        assert_eq!(sha256(&there.path("dist").join(&bundle.name)), bundle.sha256);
    }
    assert_eq!(
        sha256(&there.path("dist/SHA256SUMS")),
        sha256(&here.path("dist/SHA256SUMS"))
    );
}
