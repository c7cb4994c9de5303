//! Custom operators: what [`crate::own::OperatorLowering`] sees of one.

use serde_json::{Map, Value as Json};

use super::flex;
use super::model::Operator;
use super::node::{Lowered, Value, all};
use super::walk::Walker;
use crate::error::{ImportError, Result};
use crate::own::{OperatorCall, OperatorLowering, TFLITE};

/// The error for a custom operator that the program has not registered.
pub(super) fn unknown(name: &str) -> ImportError {
    ImportError::unsupported(format!("the custom operator `{name}` is not part of TFLite")).help(format!(
        "fetch the tensors in front of it (--fetch NAME) and compute it in the app, or register a lowering \
         (ImportOptions::register_operator(\"{TFLITE}\", \"{name}\", ..))"
    ))
}

/// What the options hold by name, or their bytes.
fn attributes(options: &[u8]) -> Map<String, Json> {
    match flex::read(options) {
        Some(Json::Object(map)) => map,
        _ if options.is_empty() => Map::new(),
        _ => std::iter::once(("custom_options".to_owned(), Json::from(options.to_vec()))).collect(),
    }
}

impl Walker<'_> {
    /// The outputs of an operator of the program's own.
    pub(super) fn own(
        &mut self,
        own: &dyn OperatorLowering,
        name: &str,
        node: &Operator,
        base: &str,
        inputs: &[Option<Value>],
    ) -> Result<Lowered> {
        self.count_op()?;
        let mut operands = Vec::with_capacity(inputs.len());
        for input in inputs {
            operands.push(match input {
                None => None,
                Some(Value::Tensor(v)) => Some(*v),
                Some(Value::Resource(_)) => {
                    return Err(ImportError::unsupported("a handle as an operand of a custom operator"));
                }
            });
        }
        let mut call = OperatorCall {
            builder: &mut self.builder,
            domain: TFLITE,
            op: name,
            name: base,
            attributes: attributes(node.custom),
            options: node.custom,
            inputs: operands,
            outputs: node.outputs.len(),
        };
        all(own.lower(&mut call)?)
    }
}
