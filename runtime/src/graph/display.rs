//! A graph as text.

use super::Graph;
use std::fmt;

impl fmt::Display for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "graph {}", self.name)?;
        for &i in &self.inputs {
            writeln!(f, "  input  {} {}", self.value(i).name, self.ty(i))?;
        }
        for n in &self.nodes {
            let show = |v: &Option<super::ValueId>| match v {
                None => "-".to_string(),
                Some(v) if self.constant(*v).is_some() => self.ty(*v).to_string(),
                Some(v) => self.value(*v).name.clone(),
            };
            let inputs: Vec<String> = n.inputs.iter().map(show).collect();
            let outputs: Vec<String> =
                n.outputs.iter().map(|&v| format!("{} {}", self.value(v).name, self.ty(v))).collect();
            let attrs: Vec<String> = n.op.attributes().iter().map(|(k, v)| format!(" {k}={v}")).collect();
            writeln!(f, "  {} = {}({}){}", outputs.join(", "), n.op.name(), inputs.join(", "), attrs.concat())?;
        }
        for &o in &self.outputs {
            writeln!(f, "  output {} {}", self.value(o).name, self.ty(o))?;
        }
        Ok(())
    }
}
