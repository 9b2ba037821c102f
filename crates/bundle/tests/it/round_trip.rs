//! Everything that is packed is found again, and every changed byte is noticed.

use std::io::Cursor;
use std::sync::LazyLock;

use bundle::image::images_tar::Scope;
use bundle::read::{Trust, verify};
use proptest::prelude::*;

use crate::fixture::{Sample, platform};

fn layer() -> impl Strategy<Value = (usize, &'static str)> {
    // Around the edges of tar blocks, stored blocks, chunks and members.
    let edge = prop::sample::select(vec![512, 65_535, 983_025, 1_048_576]);
    let length = prop_oneof![
        0_usize..2000,
        (edge, -2_i32..3).prop_map(|(edge, by): (i32, i32)| (edge + by) as usize),
    ];
    (length, prop::sample::select(vec!["", "+gzip", "+zstd"]))
}

fn scope() -> impl Strategy<Value = Scope> {
    prop_oneof![
        Just(Scope::AllPlatforms),
        Just(Scope::OnePlatform(platform("linux/arm64"))),
        Just(Scope::OnePlatform(platform("linux/amd64"))),
    ]
}

fn in_place(bytes: Vec<u8>, sample: &Sample) -> Result<(), TestCaseError> {
    let mut verified = verify(Cursor::new(bytes), &Trust::Unsigned, &|_| {})
        .map_err(|error| TestCaseError::fail(error.to_string()))?;
    prop_assert_eq!(&**verified.manifest(), &sample.manifest);
    let blobs: Vec<_> = sample
        .manifest
        .image_details
        .iter()
        .flat_map(|image| image.platforms.iter().flat_map(|image| image.blobs()))
        .collect();
    for blob in blobs {
        let content = verified.open_blob(&blob.0).unwrap();
        prop_assert_eq!(bundle::hash_all(content).unwrap(), blob);
    }
    Ok(())
}

fn is_refused(bytes: Vec<u8>) -> bool {
    verify(Cursor::new(bytes), &Trust::Unsigned, &|_| {}).is_err()
}

static SMALL: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let arm64 = Scope::OnePlatform(platform("linux/arm64"));
    Sample::with(arm64, &[(70_000, "+zstd"), (600, "")]).tar_gz()
});

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn packed_is_found_again(layers in prop::collection::vec(layer(), 1..4), scope in scope()) {
        let sample = Sample::with(scope, &layers);
        in_place(sample.tar_gz(), &sample)?;
        in_place(sample.zip(), &sample)?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn a_changed_byte_is_noticed(at: prop::sample::Index, by in 1_u8..) {
        let mut bytes = SMALL.clone();
        let at = at.index(bytes.len());
        // Time, flags and system of a gzip header mean nothing, and are the only free bytes.
        let in_header = (at.saturating_sub(9)..=at).any(|begin| bytes[begin..].starts_with(&[0x1f, 0x8b, 8, 0]));
        prop_assume!(!in_header);
        bytes[at] ^= by;
        prop_assert!(is_refused(bytes));
    }

    #[test]
    fn garbage_is_refused_without_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..2000), zip: bool) {
        let magic: &[u8] = if zip { b"PK\x03\x04" } else { &[0x1f, 0x8b, 8, 0] };
        bytes.splice(0..0, magic.iter().copied());
        prop_assert!(is_refused(bytes));
    }
}
