//! `docs/support.md` is what the tables say.

use std::path::Path;

#[test]
fn the_page_of_support_is_that_of_the_tables() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/support.md");
    let written = std::fs::read_to_string(path).expect("docs/support.md");
    let page = pocketnn_importer::support::page();
    let line = written.lines().zip(page.lines()).position(|(a, b)| a != b);
    assert!(
        written == page,
        "docs/support.md is not that of the tables (first other line: {line:?}); run `cargo run -p pocketnn-tests --bin support`"
    );
}
