//! Numbers for people: durations, sizes, counts, rates and shares, each with its unit, three digits long.
//!
//! A value that is no number (a bug further up) prints as `-`, never as `NaN`.

/// What stands for a value that is not known.
pub const UNKNOWN: &str = "-";

/// `450 ns`, `45.6 us`, `1.23 ms`, `2.00 s`, `3.5 min`, `2.1 h` from seconds.
pub fn duration(seconds: f64) -> String {
    if !seconds.is_finite() {
        return UNKNOWN.into();
    }
    if seconds < 0.0 {
        return format!("-{}", duration(-seconds));
    }
    // The limits sit where rounding to three digits would carry over to the next unit: 999.6 us is 1.00 ms.
    match seconds {
        0.0 => "0 s".into(),
        s if s < 999.5e-9 => format!("{:.0} ns", s * 1e9),
        s if s < 999.5e-6 => format!("{} us", three_digits(s * 1e6)),
        s if s < 999.5e-3 => format!("{} ms", three_digits(s * 1e3)),
        s if s < 119.5 => format!("{} s", three_digits(s)),
        s if s < 7170.0 => format!("{:.1} min", s / 60.0),
        s => format!("{:.1} h", s / 3600.0),
    }
}

/// `512 B`, `4.10 kB`, `1.50 GB`: powers of 1000, as the unit's name says.
pub fn bytes(bytes: f64) -> String {
    if !bytes.is_finite() || bytes < 0.0 {
        return UNKNOWN.into();
    }
    if bytes < 999.5 {
        return format!("{bytes:.0} B");
    }
    let mut value = bytes / 1e3;
    for unit in ["kB", "MB", "GB", "TB"] {
        if value < 999.5 {
            return format!("{} {unit}", three_digits(value));
        }
        value /= 1e3;
    }
    format!("{value:.0} PB")
}

/// `1,234,567`.
pub fn count(count: u64) -> String {
    let digits = count.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.char_indices() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// `41.1/s` from a count and the seconds it took.
pub fn rate(count: u64, seconds: f64) -> String {
    let rate = count as f64 / seconds;
    if !rate.is_finite() || rate < 0.0 {
        return UNKNOWN.into();
    }
    match rate {
        r if r >= 999.5 => format!("{}/s", self::count(r.round() as u64)),
        // A rare event is not a rate of nothing.
        r if r > 0.0 && r < 0.005 => "<0.01/s".into(),
        r => format!("{}/s", three_digits(r)),
    }
}

/// `1.2 %` of a whole.
pub fn share(part: u64, whole: u64) -> String {
    match (part, whole) {
        (_, 0) => UNKNOWN.into(),
        (0, _) => "0 %".into(),
        _ => {
            let percent = 100.0 * part as f64 / whole as f64;
            if percent < 0.1 { "<0.1 %".into() } else { format!("{percent:.1} %") }
        }
    }
}

/// A small amount without a unit, such as the mean of rows: `3`, `2.5`, `1,200`.
pub fn amount(amount: f64) -> String {
    if !amount.is_finite() || amount < 0.0 {
        return UNKNOWN.into();
    }
    if amount.fract() == 0.0 || amount >= 99.95 {
        count(amount.round() as u64)
    } else {
        format!("{amount:.1}")
    }
}

/// `count` things: `1 request`, `1,234 requests`.
pub fn things(count: u64, one: &str, many: &str) -> String {
    format!("{} {}", self::count(count), if count == 1 { one } else { many })
}

fn three_digits(value: f64) -> String {
    match value {
        v if v < 9.995 => format!("{v:.2}"),
        v if v < 99.95 => format!("{v:.1}"),
        v => format!("{v:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_three_digits_and_a_unit() {
        let cases = [
            (0.0, "0 s"),
            (450e-9, "450 ns"),
            (45.6e-6, "45.6 us"),
            (999.6e-6, "1.00 ms"),
            (1.234e-3, "1.23 ms"),
            (0.0999, "99.9 ms"),
            (0.25, "250 ms"),
            (0.9996, "1.00 s"),
            (2.0, "2.00 s"),
            (61.0, "61.0 s"),
            (180.0, "3.0 min"),
            (7200.0, "2.0 h"),
            (-0.002, "-2.00 ms"),
        ];
        for (seconds, text) in cases {
            assert_eq!(duration(seconds), text, "{seconds}");
        }
    }

    #[test]
    fn what_is_no_number_is_never_printed() {
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(duration(value), "-");
            assert_eq!(bytes(value), "-");
            assert_eq!(amount(value), "-");
        }
        assert_eq!(rate(5, 0.0), "-");
        assert_eq!(rate(0, 0.0), "-");
        assert_eq!(rate(5, f64::NAN), "-");
        assert_eq!(share(0, 0), "-");
    }

    #[test]
    fn sizes_counts_rates_and_shares() {
        assert_eq!(bytes(0.0), "0 B");
        assert_eq!(bytes(999.0), "999 B");
        assert_eq!(bytes(4_096.0), "4.10 kB");
        assert_eq!(bytes(1.5e9), "1.50 GB");
        assert_eq!(bytes(2e18), "2000 PB");
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(rate(1233, 30.0), "41.1/s");
        assert_eq!(rate(1, 3600.0), "<0.01/s");
        assert_eq!(rate(120_000, 30.0), "4,000/s");
        assert_eq!(share(12, 1233), "1.0 %");
        assert_eq!(share(1, 1_000_000), "<0.1 %");
        assert_eq!(amount(2.5), "2.5");
        assert_eq!(amount(1200.4), "1,200");
        assert_eq!(things(1, "request", "requests"), "1 request");
    }
}
