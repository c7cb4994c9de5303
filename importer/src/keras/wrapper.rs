pub const ROWS: &[super::rows::Row] = &[];
