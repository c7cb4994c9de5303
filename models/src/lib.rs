//! Small networks and sample digits trained and drawn for pocketnn.
