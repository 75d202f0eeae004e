//! Numbers, sizes and times as people read them.

use askama::filters::Safe;
use chrono::{DateTime, SecondsFormat, Utc};

use super::texts::{Language, fill};

/// 12345 -> "12,345": both languages write it so.
pub fn number(n: i64) -> String {
    let digits = n.unsigned_abs().to_string();
    let mut shown = if n < 0 { "-".to_owned() } else { String::new() };
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

/// A number that was not counted further than this.
pub fn up_to(n: i64, most: i64) -> String {
    if n > most { format!("{}+", number(most)) } else { number(n) }
}

/// 12345 -> "12.3 kB": three digits, units of a thousand.
#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
pub fn bytes(n: i64) -> String {
    const UNITS: [&str; 6] = ["B", "kB", "MB", "GB", "TB", "PB"];
    let (mut value, mut unit) = (n.max(0) as f64, 0);
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    let decimals = if unit == 0 || value >= 99.95 {
        0
    } else if value >= 9.995 {
        1
    } else {
        2
    };
    format!("{value:.decimals$}\u{a0}{}", UNITS[unit])
}

/// The two largest units: "2 h 5 min".
pub fn duration(language: Language, seconds: i64) -> String {
    let seconds = seconds.max(0);
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    let part = |key: &str, n: i64| fill(language.text(key), &[&number(n)]).replace(' ', "\u{a0}");
    let two = |first: (&str, i64), second: (&str, i64)| {
        if second.1 == 0 { part(first.0, first.1) } else { format!("{}\u{a0}{}", part(first.0, first.1), part(second.0, second.1)) }
    };
    if days > 0 {
        two(("unit.d", days), ("unit.h", hours))
    } else if hours > 0 {
        two(("unit.h", hours), ("unit.min", minutes))
    } else if minutes > 0 {
        two(("unit.min", minutes), ("unit.s", seconds % 60))
    } else if seconds == 0 {
        language.text("unit.none").to_owned()
    } else {
        part("unit.s", seconds)
    }
}

/// "3 minutes ago", or "in 2 hours"; the moment itself in the title.
pub fn relative(language: Language, now: DateTime<Utc>, at: DateTime<Utc>) -> String {
    let seconds = (now - at).num_seconds();
    let (unit, n) = match seconds.abs() {
        0..=4 => return language.text("time.now").to_owned(),
        n @ 5..=59 => ("s", n),
        n @ 60..=3599 => ("min", n / 60),
        n @ 3600..=86_399 => ("h", n / 3600),
        n => ("d", n / 86_400),
    };
    let direction = if seconds >= 0 { "ago" } else { "in" };
    let form = if n == 1 { "one" } else { "other" };
    let key = format!("time.{direction}.{unit}.{form}");
    let key = if language.has(&key) { key } else { format!("time.{direction}.{unit}.other") };
    fill(language.text(&key), &[&number(n)])
}

/// A `<time>`: relative to now, absolute in its title, exact for machines.
pub fn time(language: Language, now: DateTime<Utc>, at: DateTime<Utc>) -> Safe<String> {
    let words = relative(language, now, at);
    Safe(format!("<time datetime=\"{}\" title=\"{}\">{words}</time>", at.to_rfc3339_opts(SecondsFormat::Secs, true), absolute(at)))
}

/// 2026-11-26 08:05:09 UTC
pub fn absolute(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// Of a server's address what people know it by.
pub fn host(url: &str) -> String {
    let parsed = url::Url::parse(url).ok();
    let host = parsed.as_ref().and_then(|url| Some((url.host_str()?, url.port())));
    match host {
        Some((host, Some(port))) => format!("{host}:{port}"),
        Some((host, None)) => host.to_owned(),
        None => url.to_owned(),
    }
}

/// Of a worker's name its machine and process: what follows is only there to be like no other.
pub fn worker(name: &str) -> &str {
    name.rsplit_once(':').map_or(name, |(known, _)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        for (n, shown) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567"), (-1000, "-1,000")] {
            assert_eq!(number(n), shown);
        }
    }

    #[test]
    fn sizes_have_three_digits() {
        for (n, shown) in
            [(0, "0 B"), (999, "999 B"), (1000, "1.00 kB"), (12_345, "12.3 kB"), (999_500, "1.00 MB"), (123_456_789, "123 MB")]
        {
            assert_eq!(bytes(n).replace('\u{a0}', " "), shown);
        }
    }

    #[test]
    fn durations_have_two_units() {
        for (n, english, chinese) in [
            (0, "<1 s", "<1 秒"),
            (5, "5 s", "5 秒"),
            (125, "2 min 5 s", "2 分 5 秒"),
            (3600, "1 h", "1 小时"),
            (90_000, "1 d 1 h", "1 天 1 小时"),
        ] {
            assert_eq!(duration(Language::English, n).replace('\u{a0}', " "), english);
            assert_eq!(duration(Language::Chinese, n).replace('\u{a0}', " "), chinese);
        }
    }

    #[test]
    fn times_are_relative_and_say_when() {
        let at = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
        let after = |seconds| at + chrono::TimeDelta::seconds(seconds);
        for (seconds, english, chinese) in
            [(0, "just now", "刚刚"), (60, "1 minute ago", "1 分钟前"), (7300, "2 hours ago", "2 小时前"), (-90_000, "in 1 day", "1 天后")]
        {
            assert_eq!(relative(Language::English, after(seconds), at), english);
            assert_eq!(relative(Language::Chinese, after(seconds), at), chinese);
        }
        let shown = time(Language::English, after(60), at).0;
        assert_eq!(shown, "<time datetime=\"2023-11-14T22:13:20Z\" title=\"2023-11-14 22:13:20 UTC\">1 minute ago</time>");
    }
}
