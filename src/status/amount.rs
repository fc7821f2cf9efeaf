//! Numbers as people read them: short, and of the same form whatever their size.

/// A count, in groups of three digits.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// A time in seconds, by its two largest units: `45s`, `12m 5s`, `3h 20m`, `2d 4h`.
pub(super) fn age(seconds: u64) -> String {
    const UNITS: [(u64, &str); 4] = [(86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")];
    let largest = UNITS.iter().position(|(unit, _)| seconds >= *unit).unwrap_or(UNITS.len() - 1);
    let mut rest = seconds;
    let mut parts = Vec::new();
    for (unit, name) in UNITS.iter().skip(largest).take(2) {
        let number = rest / unit;
        rest %= unit;
        if number > 0 || parts.is_empty() {
            parts.push(format!("{number}{name}"));
        }
    }
    parts.join(" ")
}

/// A latency in milliseconds, to three digits or so.
pub(super) fn latency(ms: f64) -> String {
    match ms {
        ..10.0 => format!("{ms:.2}ms"),
        ..100.0 => format!("{ms:.1}ms"),
        ..10_000.0 => format!("{ms:.0}ms"),
        _ => format!("{:.0}s", ms / 1000.0),
    }
}

/// An amount of memory or traffic, in bytes.
pub(super) fn bytes(number: u64) -> String {
    const UNITS: [(u64, &str); 4] = [(1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match UNITS.iter().find(|(unit, _)| number >= *unit) {
        Some((unit, name)) => format!("{:.1} {name}", number as f64 / *unit as f64),
        None => format!("{number} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_grouped() {
        let counted = [0, 999, 1_000, 12_345, 1_234_567, u64::MAX].map(count);
        assert_eq!(counted, ["0", "999", "1,000", "12,345", "1,234,567", "18,446,744,073,709,551,615"]);
    }

    #[test]
    fn ages_have_their_two_largest_units() {
        let told = [0, 59, 60, 725, 3_600, 12_000, 86_400, 187_200, 86_460].map(age);
        assert_eq!(told, ["0s", "59s", "1m", "12m 5s", "1h", "3h 20m", "1d", "2d 4h", "1d"]);
    }

    #[test]
    fn latencies_have_about_three_digits() {
        let told = [0.0, 0.123, 9.99, 12.34, 123.4, 9_999.0, 61_000.0].map(latency);
        assert_eq!(told, ["0.00ms", "0.12ms", "9.99ms", "12.3ms", "123ms", "9999ms", "61s"]);
    }

    #[test]
    fn bytes_have_units() {
        assert_eq!(
            [0, 1023, 1024, 1_572_864, 5 << 40].map(bytes),
            ["0 B", "1023 B", "1.0 KiB", "1.5 MiB", "5.0 TiB"]
        );
    }
}
