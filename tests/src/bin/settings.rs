//! Prints the table of settings for `deploy/OPERATIONS.md`.

fn main() {
    print!("{}", bulkhead_tests::settings_table::settings_table());
}
