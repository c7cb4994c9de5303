//! The `pocketnn` command.

fn main() {}
