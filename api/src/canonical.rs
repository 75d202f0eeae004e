//! JSON whose bytes do not depend on the order of its members, and hashes of it.

use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// SHA-256 of the canonical form.
pub fn hash(value: &Value) -> Vec<u8> {
    let mut text = String::new();
    write(value, &mut text);
    Sha256::digest(text).to_vec()
}

fn write(value: &Value, out: &mut String) {
    match value {
        Value::Object(members) => {
            let mut names: Vec<&String> = members.keys().collect();
            names.sort();
            out.push('{');
            for (i, name) in names.into_iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                out.push_str(&Value::from(name.as_str()).to_string());
                out.push(':');
                write(&members[name], out);
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write(item, out);
            }
            out.push(']');
        }
        scalar => out.push_str(&scalar.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_members_does_not_matter_but_that_of_items_does() {
        let of = |text: &str| hash(&serde_json::from_str(text).unwrap());
        assert_eq!(of(r#"{"a": 1, "b": {"c": [1, 2], "d": "x"}}"#), of(r#"{"b":{"d":"x","c":[1,2]},"a":1}"#));
        assert_ne!(of("[1,2]"), of("[2,1]"));
        assert_ne!(of(r#"["1"]"#), of("[1]"));
    }
}
