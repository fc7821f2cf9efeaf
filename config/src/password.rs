//! Passwords, as the configuration has them: hashed with argon2id (RFC 9106) or bcrypt. What a hash may cost is bounded, and
//! neither a hash nor a password is ever shown: not by `Debug`, and not by an error.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use argon2::password_hash::phc;
use argon2::{Algorithm, Argon2, Params, Version};
use subtle::ConstantTimeEq;

use crate::problem::Fault;

/// A longer password matches nothing, in bytes: what a client may have hashed is bounded.
pub const PASSWORD_BYTES_MAX: usize = 1024;

/// bcrypt looks at no more bytes of a password. A longer one never matches, so that none matches by its beginning.
const BCRYPT_PASSWORD_BYTES_MAX: usize = 72;

/// The logarithm of bcrypt's rounds; each step doubles the time. 16 is about 4 s on a CPU of 2020.
const BCRYPT_COST_MAX: u32 = 16;
/// What bcrypt itself has at least.
const BCRYPT_COST_MIN: u32 = 4;

/// The bounds on argon2's parameters, in KiB, passes over the memory, and lanes.
const ARGON2_MEMORY_KIB_MAX: u32 = 256 << 10;
const ARGON2_PASSES_MAX: u32 = 16;
const ARGON2_LANES_MAX: u32 = 16;

/// What `ringway hash-password` takes: the parameters that OWASP's Password Storage Cheat Sheet names first.
const OWN_MEMORY_KIB: u32 = 19_456;
const OWN_PASSES: u32 = 2;
const OWN_LANES: u32 = 1;
const OWN_OUTPUT_BYTES: usize = 32;

/// The bytes of a salt that [`PasswordHash::make`] is given.
pub const SALT_BYTES: usize = 16;

const HELP: &str =
    "`ringway hash-password` makes a hash; those of argon2id ($argon2id$…) and bcrypt ($2b$…) are taken";

/// A password's hash. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(Arc<Kind>);

#[derive(PartialEq, Eq)]
enum Kind {
    Argon2id {
        params: Params,
        salt: phc::Salt,
        output: phc::Output,
    },
    /// The text, which was checked: 60 characters.
    Bcrypt(String),
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match *self.0 {
            Kind::Argon2id { .. } => "PasswordHash(argon2id)",
            Kind::Bcrypt(_) => "PasswordHash(bcrypt)",
        })
    }
}

/// Why a password is none that a hash is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadPassword {
    /// It has no character.
    Empty,
    /// It has more than [`PASSWORD_BYTES_MAX`] bytes.
    TooLong,
    /// It has a control character, which no client may send (RFC 7617 section 2).
    Control,
    /// There is not enough memory to hash it.
    NoMemory,
}

impl fmt::Display for BadPassword {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => out.write_str("the password is empty"),
            Self::TooLong => write!(out, "a password has at most {PASSWORD_BYTES_MAX} bytes"),
            Self::Control => out.write_str("a password has no control characters: clients may not send them"),
            Self::NoMemory => write!(out, "there is no memory: hashing takes {} MiB", OWN_MEMORY_KIB >> 10),
        }
    }
}

impl PasswordHash {
    /// Reads an argon2id hash (a PHC string) or a bcrypt hash of the versions 2a, 2b and 2y, which are the same.
    ///
    /// # Errors
    /// What is wrong, without a word of the text.
    pub(crate) fn parse(text: &str) -> Result<Self, Fault> {
        let kind = match algorithm(text) {
            Some("argon2id") => argon2id(text)?,
            Some("2a" | "2b" | "2y") => bcrypt(text)?,
            other => return Err(foreign(other, text)),
        };
        Ok(Self(Arc::new(kind)))
    }

    /// Hashes a new password with argon2id, for the configuration. `salt` is random.
    ///
    /// # Errors
    /// Why there is no hash of it.
    pub fn make(password: &str, salt: [u8; SALT_BYTES]) -> Result<String, BadPassword> {
        if password.is_empty() {
            return Err(BadPassword::Empty);
        }
        if password.len() > PASSWORD_BYTES_MAX {
            return Err(BadPassword::TooLong);
        }
        if password.chars().any(char::is_control) {
            return Err(BadPassword::Control);
        }
        let made = own_params().and_then(|params| {
            let mut output = [0; OWN_OUTPUT_BYTES];
            hasher(&params).hash_password_into(password.as_bytes(), &salt, &mut output).ok()?;
            let (salt, output) = (phc::Salt::new(&salt).ok()?, phc::Output::new(&output).ok()?);
            Some(format!("$argon2id$v=19$m={OWN_MEMORY_KIB},t={OWN_PASSES},p={OWN_LANES}${salt}${output}"))
        });
        made.ok_or(BadPassword::NoMemory)
    }

    /// A hash that no password is known for, as costly as those of [`make`](Self::make): for users who are not there, where
    /// there is no other hash to take in its place. `None` where a parameter of this file is none that argon2 takes.
    pub fn decoy() -> Option<Self> {
        let (salt, output) =
            (phc::Salt::new(&[0; SALT_BYTES]).ok()?, phc::Output::new(&[0; OWN_OUTPUT_BYTES]).ok()?);
        Some(Self(Arc::new(Kind::Argon2id { params: own_params()?, salt, output })))
    }

    /// Whether this is `password`'s hash. Takes as long as its parameters say, up to seconds, and as much memory, whether it is
    /// or not: it is called on threads that wait for nothing else. Without memory the answer is no.
    pub fn verify(&self, password: &[u8]) -> bool {
        if password.len() > PASSWORD_BYTES_MAX {
            return false;
        }
        match &*self.0 {
            Kind::Argon2id { params, salt, output } => {
                let mut found = [0; phc::Output::MAX_LENGTH];
                let Some(found) = found.get_mut(..output.len()) else { return false };
                let hashed = hasher(params).hash_password_into(password, salt, found);
                hashed.is_ok() && found.ct_eq(output.as_bytes()).into()
            }
            Kind::Bcrypt(text) => {
                let same = bcrypt::verify(password, text).unwrap_or(false);
                // A NUL ends what bcrypt repeats: "a\0a" would be "a".
                same && password.len() <= BCRYPT_PASSWORD_BYTES_MAX && !password.contains(&0)
            }
        }
    }
}

fn own_params() -> Option<Params> {
    Params::new(OWN_MEMORY_KIB, OWN_PASSES, OWN_LANES, Some(OWN_OUTPUT_BYTES)).ok()
}

fn hasher(params: &Params) -> Argon2<'static> {
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone())
}

/// What stands between the first two dollars.
fn algorithm(text: &str) -> Option<&str> {
    text.strip_prefix('$')?.split('$').next()
}

fn argon2id(text: &str) -> Result<Kind, Fault> {
    let broken = || Fault::new("this argon2id hash is cut short or misspelt").help(HELP);
    let read = phc::PasswordHash::from_str(text).map_err(|_| broken())?;
    if read.version != Some(Version::V0x13.into()) {
        return Err(Fault::new("an argon2id hash has the version 19 ($argon2id$v=19$…)").help(HELP));
    }
    if !read.params.iter().map(|(name, _)| name.to_string()).eq(["m", "t", "p"]) {
        return Err(Fault::new("an argon2id hash has the parameters m, t and p, in this order").help(HELP));
    }
    let number = |name: &str| read.params.get_decimal(name).ok_or_else(broken);
    let (memory_kib, passes, lanes) = (number("m")?, number("t")?, number("p")?);
    let bounds = [
        (memory_kib, ARGON2_MEMORY_KIB_MAX, "KiB of memory (m)"),
        (passes, ARGON2_PASSES_MAX, "passes (t)"),
        (lanes, ARGON2_LANES_MAX, "lanes (p)"),
    ];
    for (wanted, max, what) in bounds {
        if wanted > max {
            let fault = Fault::new(format!("{wanted} {what} are too much for each login: {max} at most"));
            return Err(fault.help(HELP));
        }
    }
    let (Some(salt), Some(output)) = (read.salt, read.hash) else { return Err(broken()) };
    let params = Params::new(memory_kib, passes, lanes, Some(output.len()));
    let params =
        params.map_err(|error| Fault::new(format!("argon2id cannot be asked so: {error}")).help(HELP))?;
    Ok(Kind::Argon2id { params, salt, output })
}

fn bcrypt(text: &str) -> Result<Kind, Fault> {
    let read = bcrypt::HashParts::from_str(text);
    let read = read.map_err(|_| {
        Fault::new("this bcrypt hash is cut short or misspelt: it has 60 characters").help(HELP)
    })?;
    match read.get_cost() {
        BCRYPT_COST_MIN..=BCRYPT_COST_MAX => Ok(Kind::Bcrypt(text.to_owned())),
        cost if cost < BCRYPT_COST_MIN => {
            Err(Fault::new(format!("bcrypt has no cost of {cost}: {BCRYPT_COST_MIN} at least")).help(HELP))
        }
        cost => {
            let fault = Fault::new(format!("a bcrypt cost of {cost} is too much for each login"));
            Err(fault.help(format!("{BCRYPT_COST_MAX} at most; {HELP}")))
        }
    }
}

/// Says what was written instead, as far as one can tell.
fn foreign(algorithm: Option<&str>, text: &str) -> Fault {
    let hexadecimal = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let what = match (algorithm, text.len()) {
        (Some("apr1" | "1"), _) => "MD5 (htpasswd's default), which is guessed in no time",
        (Some("5" | "6"), _) => "SHA-2 crypt, which is not supported",
        (Some("y" | "7" | "scrypt"), _) => "scrypt or yescrypt, which is not supported",
        (Some("argon2i" | "argon2d"), _) => "argon2i or argon2d, and not argon2id",
        (Some("2x" | "2"), _) => "bcrypt of an old version with a bug",
        (Some(name), _) if name.starts_with("pbkdf2") => "PBKDF2, which is not supported",
        (None, _) if text.starts_with("{SHA}") || text.starts_with("{SSHA}") => {
            "SHA-1, which is guessed in no time"
        }
        (None, 32 | 40 | 64 | 128) if hexadecimal => "a bare digest, which is guessed in no time",
        _ => return Fault::new("this is no password hash").help(HELP),
    };
    Fault::new(format!("this hash is of {what}")).help(HELP)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> PasswordHash {
        PasswordHash::parse(text).expect(text)
    }

    fn refused(text: &str) -> String {
        let fault = PasswordHash::parse(text).expect_err(text);
        assert!(fault.help.is_some_and(|help| help.contains("hash-password")), "{text}");
        fault.message
    }

    #[test]
    fn what_is_made_is_taken_and_verifies() {
        let made = PasswordHash::make("correct horse", [7; SALT_BYTES]).unwrap();
        assert!(made.starts_with("$argon2id$v=19$m=19456,t=2,p=1$BwcHBwcHBwcHBwcHBwcHBw$"), "{made}");
        let hash = parse(&made);
        assert!(hash.verify(b"correct horse") && !hash.verify(b"correct horsf") && !hash.verify(b""));
        assert!(!PasswordHash::decoy().unwrap().verify(b"correct horse"));
        assert_ne!(made, PasswordHash::make("correct horse", [8; SALT_BYTES]).unwrap());
    }

    #[test]
    fn what_no_client_could_send_has_no_hash() {
        for (password, why) in [
            (String::new(), BadPassword::Empty),
            ("a\nb".to_owned(), BadPassword::Control),
            ("a\u{85}b".to_owned(), BadPassword::Control),
            ("x".repeat(PASSWORD_BYTES_MAX + 1), BadPassword::TooLong),
        ] {
            assert_eq!(PasswordHash::make(&password, [0; SALT_BYTES]), Err(why));
        }
    }

    #[test]
    fn hashes_of_other_programs() {
        for (hash, password) in [
            // RFC 9106's reference implementation (argon2 20190702), and the crypt(3) of OpenBSD, PHP and Apache.
            (
                "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
                "password",
            ),
            (
                "$argon2id$v=19$m=256,t=2,p=2$c29tZXNhbHQ$bQk8UB/VmZZF4Oo79iDXuL5/0ttZwg2f/5U52iv1cDc",
                "password",
            ),
            ("$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "U*U"),
            ("$2y$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "U*U"),
            ("$2b$05$XXXXXXXXXXXXXXXXXXXXXOAcXxm9kjPGEMsLznoKqmqw7tc8WCx4a", "U*U*U"),
        ] {
            let parsed = parse(hash);
            assert!(parsed.verify(password.as_bytes()) && !parsed.verify(b"passwore"), "{hash}");
        }
    }

    #[test]
    fn bcrypt_takes_no_password_by_its_beginning() {
        let hashed = |password: &[u8]| {
            let hash = bcrypt::hash_with_salt(password, BCRYPT_COST_MIN, [3; 16]).unwrap();
            parse(&hash.to_string())
        };
        let long = [b'x'; BCRYPT_PASSWORD_BYTES_MAX + 1];
        let (longest, _) = long.split_at(BCRYPT_PASSWORD_BYTES_MAX);
        assert!(hashed(longest).verify(longest) && !hashed(longest).verify(&long));
        assert!(!hashed(&long).verify(&long));
        assert!(hashed(b"a").verify(b"a") && !hashed(b"a").verify(b"a\0a") && !hashed(b"a").verify(b"a\0"));
    }

    #[test]
    fn passwords_are_bounded() {
        let long = "x".repeat(PASSWORD_BYTES_MAX);
        let salt = phc::Salt::new(b"saltsalt").unwrap();
        let params = Params::new(64, 2, 2, Some(32)).unwrap();
        let mut output = [0; 32];
        hasher(&params).hash_password_into(long.as_bytes(), &salt, &mut output).unwrap();
        let hash =
            parse(&format!("$argon2id$v=19$m=64,t=2,p=2${salt}${}", phc::Output::new(&output).unwrap()));
        assert!(hash.verify(long.as_bytes()) && !hash.verify(format!("{long}x").as_bytes()));
    }

    #[test]
    fn costs_are_bounded() {
        let argon2 = |params: &str| {
            refused(&format!(
                "$argon2id$v=19${params}$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"
            ))
        };
        assert!(argon2("m=262145,t=1,p=1").contains("262144 at most"));
        assert!(argon2("m=64,t=17,p=1").contains("16 at most"));
        assert!(argon2("m=4096,t=1,p=17").contains("16 at most"));
        assert!(argon2("m=4294967295,t=4294967295,p=4294967295").contains("at most"));
        assert!(argon2("m=64,t=1,p=16").contains("cannot be asked so"));
        assert!(argon2("m=64,t=0,p=1").contains("cannot be asked so"));
        assert!(argon2("m=64,t=1").contains("in this order"));
        assert!(argon2("m=64,m=64,t=1,p=1").contains("in this order"));
        assert!(argon2("m=64,t=1,p=1,keyid=Zm9v").contains("in this order"));
        let bcrypt = |cost: &str| {
            refused(&format!("$2b${cost}$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"))
        };
        assert!(bcrypt("17").contains("too much") && bcrypt("31").contains("too much"));
        assert!(bcrypt("03").contains("no cost of 3") && bcrypt("xx").contains("misspelt"));
    }

    #[test]
    fn hashes_that_are_not_taken_are_named() {
        for (text, said) in [
            ("$apr1$r31.....$HqJZimcKQFAMYayBlzkrA/", "MD5"),
            ("{SHA}VBPuJHI7uixaa6LQGWx4s+5GKNE=", "SHA-1"),
            ("$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjlO/O817G3", "SHA-2 crypt"),
            ("$y$j9T$F5Jx5fExrKuPp53xLKQ..1$X3DX6M94c7o.9agCG9G317fhZg9SqC.5i5rd.RhAtQ7", "yescrypt"),
            ("$argon2i$v=19$m=64,t=1,p=1$c29tZXNhbHQ$abc", "argon2i"),
            ("$2x$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "with a bug"),
            ("5f4dcc3b5aa765d61d8327deb882cf99", "a bare digest"),
            ("hunter2", "no password hash"),
            ("", "no password hash"),
            ("$", "no password hash"),
            ("$2b$12$tooshort", "60 characters"),
            ("$2b$05$ääääääääääääääääääääääääää.", "60 characters"),
            ("$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ", "cut short"),
            ("$argon2id$m=64,t=1,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc", "version 19"),
            (
                "$argon2id$v=16$m=64,t=1,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
                "version 19",
            ),
            ("$argon2id$", "cut short"),
            (
                "$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc$x",
                "cut short",
            ),
        ] {
            assert!(refused(text).contains(said), "{text}: {}", refused(text));
        }
    }

    #[test]
    fn nothing_of_a_hash_is_shown() {
        let hash = parse("$2b$05$XXXXXXXXXXXXXXXXXXXXXOAcXxm9kjPGEMsLznoKqmqw7tc8WCx4a");
        assert_eq!(format!("{hash:?}"), "PasswordHash(bcrypt)");
        let secret = "$2b$05$secretsecretsecret";
        assert!(!refused(secret).contains("secret"));
    }
}
