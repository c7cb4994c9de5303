//! Operations of the program's own: what [`crate::own::OperatorLowering`] sees of a node.

use super::attrs::Attrs;
use super::elem::Elem;
use super::graph::{Slot, Walker, values};
use super::node::{Lowered, Node, V};
use super::order::{Nodes, Source};
use super::proto::NodeDef;
use crate::error::Result;
use crate::own::{OperatorCall, OperatorLowering, TENSORFLOW};

/// Outputs of a node as far as others read them.
fn used(n: &NodeDef, nodes: &Nodes) -> Result<usize> {
    let mut most = 1;
    for name in nodes.list.iter().flat_map(|other| &other.inputs) {
        if let Source::Output(at, k) = nodes.source(name)?
            && nodes.get(at).is_some_and(|other| other.name == n.name)
        {
            most = most.max(k.saturating_add(1));
        }
    }
    Ok(most)
}

impl<'m> Walker<'m> {
    /// The outputs of a node of the program's own.
    pub(super) fn own(
        &mut self,
        own: &dyn OperatorLowering,
        n: &'m NodeDef<'m>,
        nodes: &Nodes<'m>,
        inputs: Vec<Slot<'m>>,
    ) -> Result<Lowered<'m>> {
        self.count_op()?;
        let outputs = used(n, nodes)?.max(own.output_names().len());
        let attrs = Attrs::new(&n.attrs, self.cx.meter);
        let attributes = attrs.json()?;
        let inputs = values(inputs).unwrap_or_default();
        let mut cx = Node { walker: self, node: n, attrs, inputs, base: n.name };
        let operands = cx.all_inputs()?;
        let mut call = OperatorCall {
            builder: &mut cx.walker.builder,
            domain: TENSORFLOW,
            op: n.op,
            name: n.name,
            attributes,
            options: &[],
            inputs: operands.into_iter().map(|v| Some(v.id)).collect(),
            outputs,
        };
        let ids = own.lower(&mut call)?;
        let mut out = Vec::with_capacity(ids.len());
        for id in ids {
            let elem = Elem::of_stored(cx.walker.builder.ty(id).dtype)?;
            let v: V = cx.typed(id, elem)?;
            out.push(Slot::Value(v.into()));
        }
        self.bind(n, &out);
        Ok(out)
    }
}
