//! Growth: what the n-th million rows cost, and the pages at 100,000 exports: `cargo bench -p bulkhead-tests --bench growth`.

mod pages;
mod rows;

use bulkhead_tests::bench::Bench;

#[tokio::main]
async fn main() {
    let bench = Bench::start("growth");
    if bench.wants("rows") {
        rows::measure(&bench).await;
    }
    if bench.wants("pages") {
        pages::measure(&bench).await;
    }
}
