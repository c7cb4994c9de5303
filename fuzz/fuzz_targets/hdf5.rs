#![no_main]
pocketnn_fuzz::target!("hdf5");
