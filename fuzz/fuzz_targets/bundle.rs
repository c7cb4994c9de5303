#![no_main]
pocketnn_fuzz::target!("bundle");
