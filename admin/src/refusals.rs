//! What the egress policy refuses, in the log: a line when an address comes to be refused, and none while it stays so.

use std::collections::HashSet;
use std::sync::Arc;

use ringway_engine::{Address, BackendHandle};

/// So many addresses one publication names in the log at most; the others are counted in one more line. A name may have any
/// number of addresses, and a policy may refuse them all.
const TOLD_PER_PUBLICATION_MAX: usize = 16;

/// The addresses that were refused when it was looked last, each with its upstream.
#[derive(Default)]
pub(crate) struct Refusals {
    refused: HashSet<Identity>,
}

type Identity = (Arc<str>, Address);

/// What came to be refused, each with why.
struct News<W> {
    told: Vec<(Identity, W)>,
    /// How many more there are.
    untold: usize,
}

impl Refusals {
    /// Looks at what was published, and tells what is refused since then.
    pub(crate) fn look(&mut self, backends: &[BackendHandle]) {
        let refused = backends.iter().filter_map(|backend| {
            let why = backend.forbidden()?;
            Some(((backend.upstream().clone(), backend.address().clone()), why))
        });
        let News { told, untold } = self.news(refused);
        for ((upstream, address), why) in told {
            tracing::warn!(
                event = "backend_forbidden",
                upstream = &*upstream,
                backend = %address,
                "backend {address} gets no requests: the egress policy refuses it: {why}"
            );
        }
        if untold > 0 {
            tracing::warn!(
                event = "backends_forbidden",
                backends = untold,
                "{untold} more backends get no requests: the egress policy refuses them, too"
            );
        }
    }

    /// Takes what is `refused` now in the place of what was.
    fn news<W>(&mut self, refused: impl Iterator<Item = (Identity, W)>) -> News<W> {
        let before = std::mem::take(&mut self.refused);
        let mut news = News { told: Vec::new(), untold: 0 };
        for (identity, why) in refused {
            let is_new = self.refused.insert(identity.clone()) && !before.contains(&identity);
            match is_new {
                true if news.told.len() < TOLD_PER_PUBLICATION_MAX => news.told.push((identity, why)),
                true => news.untold += 1,
                false => {}
            }
        }
        news
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};
    use std::ops::Range;

    use super::*;

    /// The ports that are told, and how many are not, when those of `refused` are.
    fn look(refusals: &mut Refusals, refused: Range<u16>) -> (Vec<u16>, usize) {
        let identity = |port| ("u".into(), Address::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, port))));
        let News { told, untold } = refusals.news(refused.map(|port| (identity(port), port)));
        (told.into_iter().map(|(_, port)| port).collect(), untold)
    }

    #[test]
    fn what_comes_to_be_refused_is_told_once() {
        let mut refusals = Refusals::default();
        assert_eq!(look(&mut refusals, 1..3), (vec![1, 2], 0));
        assert_eq!(look(&mut refusals, 1..3), (vec![], 0));
        assert_eq!(look(&mut refusals, 2..4), (vec![3], 0));
        assert_eq!(look(&mut refusals, 1..2), (vec![1], 0));
    }

    #[test]
    fn one_publication_names_so_many_and_counts_the_others() {
        let mut refusals = Refusals::default();
        assert_eq!(look(&mut refusals, 1..1001), ((1..17).collect(), 984));
        assert_eq!(look(&mut refusals, 1..1002), (vec![1001], 0), "what was counted is known");
    }
}
