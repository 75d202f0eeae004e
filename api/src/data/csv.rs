//! A table as CSV (RFC 4180), in UTF-8 with a mark that says so: without it Excel reads Chinese as something else. What a spreadsheet would take
//! for a formula is made text.

use std::fmt::Write as _;

use super::table::{Cell, Table};

impl Table {
    /// With a line of names; `not given` is an empty field.
    pub fn csv(&self) -> String {
        let mut text = format!("\u{feff}{}\r\n", self.columns.join(","));
        for row in &self.rows {
            for (n, cell) in row.iter().enumerate() {
                if n > 0 {
                    text.push(',');
                }
                match cell {
                    Cell::Text(words) => field(&mut text, words),
                    Cell::Count(count) => drop(write!(text, "{count}")),
                    Cell::Number(number) => drop(write!(text, "{number}")),
                    Cell::NotGiven => {}
                }
            }
            text.push_str("\r\n");
        }
        text
    }
}

/// A text that begins as a formula does gets an apostrophe in front, which spreadsheets take for "this is text".
fn field(out: &mut String, text: &str) {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠']);
    let quoted = formula || text.contains([',', '"', '\r', '\n', ';']) || text.starts_with(' ') || text.ends_with(' ');
    if !quoted {
        return out.push_str(text);
    }
    out.push('"');
    if formula {
        out.push('\'');
    }
    out.push_str(&text.replace('"', "\"\""));
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_formula_is_text_and_quotes_are_doubled() {
        let mut table = Table::new("conditions", &["code", "people"]);
        for text in ["plain", "=1+1", "+1", "-1", "@x", "\t=1", "a,\"b\"", "two\nlines"] {
            table.rows.push(vec![Cell::Text(text.to_owned()), Cell::Count(-3)]);
        }
        table.rows.push(vec![Cell::NotGiven, Cell::Number(0.5)]);
        assert_eq!(
            table.csv(),
            "\u{feff}code,people\r\nplain,-3\r\n\"'=1+1\",-3\r\n\"'+1\",-3\r\n\"'-1\",-3\r\n\"'@x\",-3\r\n\"'\t=1\",-3\r\n\"a,\"\"b\"\"\",-3\r\n\"two\nlines\",-3\r\n,0.5\r\n"
        );
    }
}
