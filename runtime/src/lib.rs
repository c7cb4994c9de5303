//! On-device neural-network inference: graph, plan, session and the .pnn format.
