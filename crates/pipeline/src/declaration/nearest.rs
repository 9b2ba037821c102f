//! The nearest of several names, for hints about misspelled ones.

/// The candidate that is nearest to `name`, if one is near enough to be what was meant.
pub(crate) fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(name, candidate), candidate))
        .filter(|(score, _)| *score > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_finds_a_misspelling_and_nothing_far_away() {
        let keys = ["platforms", "product", "images"];
        assert_eq!(nearest("platfrom", keys), Some("platforms"));
        assert_eq!(nearest("wheels", keys), None);
    }
}
