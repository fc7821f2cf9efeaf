//! The search list of resolv.conf(5): the names that a name in a configuration may stand for.

use hickory_resolver::proto::ProtoError;
use hickory_resolver::proto::rr::Name;

/// What is tried for a name that is not absolute. The default tries nothing but the name itself.
#[derive(Default)]
pub(super) struct Search {
    /// `search`, or `domain`.
    pub(super) domains: Vec<Name>,
    /// `options ndots`: a name with so many dots is tried as it stands before the search list, others after it.
    pub(super) dots: usize,
}

impl Search {
    /// The absolute names to ask for, in order; a name with a closing dot is one already. What would be too long a name is
    /// left out.
    ///
    /// # Errors
    /// When `host` is no name.
    pub(super) fn candidates(&self, host: &str) -> Result<Vec<Name>, ProtoError> {
        let mut itself = Name::from_ascii(host)?;
        if itself.is_fqdn() {
            return Ok(vec![itself]);
        }
        let searched = self.domains.iter().filter_map(|domain| itself.clone().append_domain(domain).ok());
        let mut candidates: Vec<Name> = searched.collect();
        itself.set_fqdn(true);
        let dots = host.bytes().filter(|byte| *byte == b'.').count();
        let place = if dots >= self.dots { 0 } else { candidates.len() };
        candidates.insert(place, itself);
        Ok(candidates)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidates(search: &Search, host: &str) -> Vec<String> {
        search.candidates(host).unwrap().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_search_list_comes_first_for_short_names_and_last_for_long_ones() {
        let domains = ["one.test", "two.test."].map(|domain| Name::from_ascii(domain).unwrap()).to_vec();
        let search = Search { domains, dots: 2 };
        assert_eq!(candidates(&search, "a"), ["a.one.test.", "a.two.test.", "a."]);
        assert_eq!(candidates(&search, "a.b"), ["a.b.one.test.", "a.b.two.test.", "a.b."]);
        assert_eq!(candidates(&search, "a.b.c"), ["a.b.c.", "a.b.c.one.test.", "a.b.c.two.test."]);
        assert_eq!(candidates(&search, "a."), ["a."]);
        let long = format!("{0}.{0}.{0}.{1}", "a".repeat(63), "b".repeat(55));
        assert_eq!(candidates(&search, &long), [format!("{long}.")]);
    }

    #[test]
    fn without_a_list_a_name_stands_for_itself() {
        assert_eq!(candidates(&Search::default(), "a"), ["a."]);
        assert_eq!(candidates(&Search::default(), "_a.b_c.test"), ["_a.b_c.test."]);
        assert!(Search::default().candidates(&"a".repeat(64)).is_err());
    }
}
