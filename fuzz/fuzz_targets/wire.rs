#![no_main]
pocketnn_fuzz::target!("wire");
