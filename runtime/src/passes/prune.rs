//! Nodes that nothing needs go. Constants that nothing reads are left out when the graph is finished.

use super::edit::Editor;

pub(super) fn run(e: &mut Editor) {
    for name in e.sweep() {
        e.note(name);
    }
}
