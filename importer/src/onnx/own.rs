//! Operators of the program's own: what [`crate::own::OperatorLowering`] sees of a node.

use pocketnn::ValueId;

use super::attrs::Attrs;
use super::elem::Elem;
use super::graph::Walker;
use super::node::{Lowered, V, Value};
use super::proto;
use crate::error::{ImportError, Result};
use crate::own::{OperatorCall, OperatorLowering};

impl Walker<'_> {
    /// The outputs of a node of the program's own.
    pub(super) fn own(
        &mut self,
        own: &dyn OperatorLowering,
        n: &proto::Node,
        inputs: &[Option<Value>],
        attrs: &Attrs,
    ) -> Result<Lowered> {
        let mut operands = Vec::with_capacity(inputs.len());
        for input in inputs {
            operands.push(match input {
                None => None,
                Some(Value::Tensor(v)) => Some(v.id),
                Some(_) => {
                    return Err(ImportError::unsupported("a sequence or optional as an operand of an own operator"));
                }
            });
        }
        let mut call = OperatorCall {
            builder: &mut self.builder,
            domain: &n.domain,
            op: &n.op_type,
            name: if n.name.is_empty() { n.outputs.first().map_or("", String::as_str) } else { &n.name },
            attributes: attrs.json()?,
            options: &[],
            inputs: operands,
            outputs: n.outputs.len(),
        };
        let values = own.lower(&mut call)?;
        let typed = |id: ValueId| Value::from(V { id, elem: Elem::of_stored(self.builder.ty(id).dtype) });
        Ok(values.into_iter().map(typed).collect())
    }
}
