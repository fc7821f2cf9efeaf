//! Every form of every address of the list, and the grammar of exceptions.

use super::*;

/// The list of the specification, written once more; and what the registries have beside it.
const REFUSED_V4: &str = "0.0.0.0/8 127.0.0.0/8 169.254.0.0/16 10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 100.64.0.0/10 \
    192.0.0.0/24 198.18.0.0/15 192.0.2.0/24 198.51.100.0/24 203.0.113.0/24 224.0.0.0/4 240.0.0.0/4 \
    255.255.255.255/32 192.88.99.0/24";
const REFUSED_V6: &str = "::/128 ::1/128 fe80::/10 fc00::/7 2001:db8::/32 3fff::/20 ff00::/8 fec0::/10 100::/64 \
    100:0:0:1::/64 2001:2::/48 2001:10::/28 5f00::/16";

fn networks(list: &str) -> Vec<IpNet> {
    list.split_whitespace().map(|network| network.parse().unwrap()).collect()
}

fn egress(policy: EgressPolicy, allow: &[&str]) -> Egress {
    Egress { policy, allowed: allow.iter().map(|text| Allowed::read(text).expect(text)).collect() }
}

fn v6(text: &str) -> Ipv6Addr {
    text.parse().expect(text)
}

/// An address of the public Internet, for those halves of a form that are not looked at.
const HARMLESS: Ipv4Addr = Ipv4Addr::new(8, 8, 4, 4);

/// Every IPv6 form of an IPv4 address, by its name.
fn forms(address: Ipv4Addr) -> Vec<(&'static str, Ipv6Addr)> {
    let bits = u128::from(address.to_bits());
    let [a, b, c, d] = address.octets();
    let behind = |prefix: &str| Ipv6Addr::from_bits(v6(prefix).to_bits() | bits);
    let local = |places: [usize; 4]| {
        let mut octets = v6("64:ff9b:1::").octets();
        places.into_iter().zip([a, b, c, d]).for_each(|(place, octet)| octets[place] = octet);
        Ipv6Addr::from(octets)
    };
    let harmless = u128::from(HARMLESS.to_bits());
    let turned = |client: u128, server: u128| {
        Ipv6Addr::from_bits(v6("2001::").to_bits() | server << 64 | 0x8000_ffff << 32 | !client & 0xffff_ffff)
    };
    vec![
        ("mapped", behind("::ffff:0:0")),
        ("compatible", behind("::")),
        ("translated", behind("::ffff:0:0:0")),
        ("nat64", behind("64:ff9b::")),
        ("local nat64, /96", local([12, 13, 14, 15])),
        ("6to4", Ipv6Addr::from_bits(v6("2002::1").to_bits() | bits << 80)),
        ("teredo's client", turned(bits, harmless)),
        ("teredo's server", turned(harmless, bits)),
        ("isatap", behind("2606:4700::5efe:0:0")),
        ("isatap, unique", behind("2606:4700::200:5efe:0:0")),
        ("local nat64, /48", local([6, 7, 9, 10])),
        ("local nat64, /56", local([7, 9, 10, 11])),
        ("local nat64, /64", local([9, 10, 11, 12])),
    ]
}

/// The last three of the forms may be read in several ways, and are refused when one of them is.
const PLAIN_FORMS: usize = 10;

/// The first, a middle and the last address of a network, and those beside it that are in none of `all`.
fn probes(network: &IpNet, all: &[IpNet]) -> (Vec<u128>, Vec<u128>) {
    let bits = |address| match address {
        IpAddr::V4(address) => u128::from(Ipv4Addr::to_bits(address)),
        IpAddr::V6(address) => Ipv6Addr::to_bits(address),
    };
    let (first, last) = (bits(network.network()), bits(network.broadcast()));
    let end = if network.max_prefix_len() == 32 { u128::from(u32::MAX) } else { u128::MAX };
    let beside = [first.checked_sub(1), last.checked_add(1).filter(|next| *next <= end)];
    let is_in_one = |&address: &u128| {
        all.iter().any(|other| (bits(other.network())..=bits(other.broadcast())).contains(&address))
    };
    let beside = beside.into_iter().flatten().filter(|address| !is_in_one(address)).collect();
    (vec![first, first + (last - first) / 2, last], beside)
}

fn v4s(addresses: Vec<u128>) -> impl Iterator<Item = Ipv4Addr> {
    addresses.into_iter().map(|bits| Ipv4Addr::from_bits(bits as u32))
}

#[test]
fn under_public_every_form_of_what_is_inside_is_refused_and_of_what_is_outside_is_not() {
    let public = egress(EgressPolicy::Public, &[]);
    let permits = |address: IpAddr| public.permits(address, None, true);
    let all = networks(REFUSED_V4);
    let mut beside_any = 0;
    for network in &all {
        let (inside, beside) = probes(network, &all);
        for address in v4s(inside) {
            assert!(permits(address.into()).is_err(), "{address}");
            for (form, written) in forms(address) {
                // Where nothing is, nothing is carried: 64:ff9b:1:: itself is read as 0.0.0.0 all the same.
                assert!(permits(written.into()).is_err(), "{address} {form}: {written}");
            }
        }
        for address in v4s(beside) {
            beside_any += 1;
            assert_eq!(permits(address.into()), Ok(()), "{address}");
            for (form, written) in forms(address).into_iter().take(PLAIN_FORMS) {
                assert_eq!(permits(written.into()), Ok(()), "{address} {form}: {written}");
            }
        }
    }
    assert!(beside_any > 20, "{beside_any}");
}

#[test]
fn under_public_ipv6_has_its_own_networks() {
    let public = egress(EgressPolicy::Public, &[]);
    let all = networks(REFUSED_V6);
    for network in &all {
        let (inside, beside) = probes(network, &all);
        for address in inside.into_iter().map(Ipv6Addr::from_bits) {
            assert!(public.permits(address.into(), None, true).is_err(), "{address}");
        }
        for address in beside.into_iter().map(Ipv6Addr::from_bits).filter(|address| *address != v6("::2")) {
            assert_eq!(public.permits(address.into(), None, true), Ok(()), "{address}");
        }
    }
    for address in ["2606:4700::1111", "2a00:1450:4001::", "2001:4860:4860::8888"] {
        assert_eq!(public.permits(v6(address).into(), None, true), Ok(()), "{address}");
    }
}

#[test]
fn under_any_nothing_but_169_254_is_refused_in_all_its_forms() {
    let any = egress(EgressPolicy::Any, &[]);
    let permits = |address: IpAddr| any.permits(address, None, false);
    let secret = "169.254.0.0/16".parse().unwrap();
    let (inside, beside) = probes(&secret, &[secret]);
    for address in v4s(inside).chain([Ipv4Addr::new(169, 254, 169, 254)]) {
        assert!(permits(address.into()).is_err(), "{address}");
        for (form, written) in forms(address) {
            let carried = written.to_ipv4_mapped().is_none().then_some(address);
            let why = Forbidden::Address { kind: "link-local", carried };
            assert_eq!(permits(written.into()), Err(why), "{address} {form}: {written}");
        }
    }
    for address in v4s(beside) {
        for (form, written) in forms(address) {
            assert_eq!(permits(written.into()), Ok(()), "{address} {form}: {written}");
        }
    }
    for list in [REFUSED_V4, REFUSED_V6] {
        for network in networks(list).iter().filter(|network| **network != secret) {
            assert_eq!(permits(network.network()), Ok(()), "{network}");
        }
    }
    assert_eq!(any.permits_socket(), Ok(()));
    assert_eq!(any.permits_some_of("app.internal", false), Ok(()));
}

#[test]
fn in_the_clear_public_permits_only_exceptions() {
    let public = egress(EgressPolicy::Public, &["10.1.0.0/16", "2600::/32", "app.internal"]);
    let permits = |address: &str, name| public.permits(address.parse().unwrap(), name, false);
    for address in [
        "10.1.0.1",
        "::ffff:10.1.0.1",
        "64:ff9b::10.1.255.255",
        "2002:0a01:0203::1",
        "64:ff9b:1::10.1.2.3",
        "2600::1",
    ] {
        assert_eq!(permits(address, None), Ok(()), "{address}");
    }
    for address in ["8.8.8.8", "2606::1", "64:ff9b::8.8.8.8", "2606::5efe:10.1.2.3"] {
        assert_eq!(permits(address, None), Err(Forbidden::NotHttps), "{address}");
        assert_eq!(public.permits(address.parse().unwrap(), None, true), Ok(()), "{address}");
        assert_eq!(permits(address, Some("app.internal")), Ok(()), "{address}");
        assert_eq!(permits(address, Some("other.internal")), Err(Forbidden::NotHttps), "{address}");
    }
    assert_eq!(public.permits_socket(), Err(Forbidden::Socket));
    // Its addresses may be exceptions, or not.
    assert_eq!(public.permits_some_of("other.internal", false), Ok(()));
    let named = egress(EgressPolicy::Public, &["app.internal"]);
    assert_eq!(named.permits_some_of("app.internal", false), Ok(()));
    assert_eq!(named.permits_some_of("other.internal", false), Err(Forbidden::NotHttps));
    assert_eq!(named.permits_some_of("other.internal", true), Ok(()));
}

#[test]
fn an_exception_is_one_of_what_is_carried_too() {
    let allow = egress(EgressPolicy::Public, &["10.0.0.0/8"]);
    for (form, written) in forms(Ipv4Addr::new(10, 1, 1, 1)).into_iter().take(PLAIN_FORMS) {
        assert_eq!(allow.permits(written.into(), None, true), Ok(()), "{form}: {written}");
    }
    for (form, written) in forms(Ipv4Addr::new(172, 16, 1, 1)) {
        assert!(allow.permits(written.into(), None, true).is_err(), "{form}: {written}");
    }
    // A Teredo address has two, and an interface identifier does not make a network public.
    let teredo = v6("2001:0:ac10:101:8000:ffff:f5fe:fefe");
    assert!(allow.permits(teredo.into(), None, true).is_err());
    assert!(allow.permits(v6("fe80::5efe:10.1.1.1").into(), None, true).is_err());
}

#[test]
fn an_allowed_network_lets_nothing_through_that_carries_what_is_refused() {
    let secret = Ipv4Addr::new(169, 254, 169, 254);
    for policy in [EgressPolicy::Any, EgressPolicy::Public] {
        let wide = egress(policy, &["::/0", "64:ff9b::/96", "2002::/16", "2001::/32", "fe80::/10"]);
        for (form, written) in forms(secret) {
            assert!(wide.permits(written.into(), None, true).is_err(), "{form}: {written}");
        }
        assert_eq!(wide.permits(v6("fe80::1").into(), None, false), Ok(()));
        assert_eq!(wide.permits(v6("::1").into(), None, false), Ok(()));
        let inner = egress(policy, &["169.254.169.254"]);
        assert_eq!(inner.permits(secret.into(), None, false), Ok(()));
        for (form, written) in forms(secret).into_iter().take(PLAIN_FORMS) {
            assert_eq!(inner.permits(written.into(), None, true), Ok(()), "{form}: {written}");
        }
        assert!(inner.permits(Ipv4Addr::new(169, 254, 169, 253).into(), None, true).is_err());
    }
}

#[test]
fn names_are_exceptions_in_every_spelling() {
    let secret = Ipv4Addr::new(169, 254, 169, 254).into();
    let allow = egress(EgressPolicy::Any, &["App.Internal.", "*.corp.internal", "bücher.example"]);
    let permits = |name| allow.permits(secret, Some(name), false).is_ok();
    for name in
        ["app.internal", "app.internal.", "a.corp.internal", "a.b.corp.internal.", "xn--bcher-kva.example"]
    {
        assert!(permits(name), "{name}");
    }
    for name in
        ["internal", "x.app.internal", "corp.internal", "xcorp.internal", ".corp.internal", "app.internal.x"]
    {
        assert!(!permits(name), "{name}");
    }
    assert!(allow.permits(secret, None, false).is_err());
}

#[test]
fn exceptions_are_read_in_one_spelling() {
    let network = |text: &str| Allowed::Network(text.parse().unwrap());
    for (written, read) in [
        ("10.1.0.0/16", network("10.1.0.0/16")),
        ("10.1.2.3/16", network("10.1.0.0/16")),
        ("192.0.2.7", network("192.0.2.7/32")),
        ("::ffff:192.0.2.7", network("192.0.2.7/32")),
        ("::ffff:10.0.0.0/104", network("10.0.0.0/8")),
        ("::ffff:0:0/96", network("0.0.0.0/0")),
        ("::/0", network("::/0")),
        ("fd00::/8", network("fd00::/8")),
        ("fd00::7", network("fd00::7/128")),
        ("[fd00::7]", network("fd00::7/128")),
        ("192.0.2.7.", network("192.0.2.7/32")),
        ("\u{ff11}92.0.2.7", network("192.0.2.7/32")),
        ("App.Internal.", Allowed::Name("app.internal".to_owned())),
        ("*.Corp.Internal", Allowed::Below("corp.internal".to_owned())),
    ] {
        assert_eq!(Allowed::read(written), Ok(read), "{written}");
    }
}

#[test]
fn what_is_no_exception_is_refused_with_a_hint() {
    for (written, part) in [
        ("*", "allow everything"),
        ("http://app.internal:80/x", "write \"app.internal\""),
        ("app.internal:8080", "write \"app.internal\""),
        ("10.0.0.1:80", "write \"10.0.0.1\""),
        ("[fd00::7]:80", "write \"fd00::7\""),
        ("app.internal/admin", "write \"app.internal\""),
        ("10.1/16", "no network"),
        ("10.1.0.0/33", "no network"),
        ("10.1.0.0/", "no network"),
        ("/16", "no network"),
        ("10.1.0.*", "stands alone"),
        ("app.*", "stands alone"),
        ("*.10.0.0.1", "wildcard"),
        ("127.1", "neither an IPv4 address"),
        ("0xa9fea9fe", "neither an IPv4 address"),
        ("2852039166", "neither an IPv4 address"),
        ("", "no host name"),
        ("a b", "no host name"),
    ] {
        let fault = Allowed::read(written).expect_err(written);
        let told = format!("{} {}", fault.message, fault.help.unwrap_or_default());
        assert!(told.contains(part), "{written}: {told}");
    }
}
