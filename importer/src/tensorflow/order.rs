//! Names of tensors, and which nodes outputs depend on, in an order in which they can run.

use std::collections::HashMap;

use super::proto::NodeDef;
use super::registry;
use crate::error::{ImportError, Result};
use crate::own::{OwnOperators, TENSORFLOW};

/// The nodes of a graph or of a function's body, by name.
pub(super) struct Nodes<'m> {
    pub list: &'m [NodeDef<'m>],
    index: HashMap<&'m str, usize>,
    /// Nodes are in a function, where tensors are called `node:output:number`.
    pub inner: bool,
    /// There are nodes that choose a branch, so that control inputs say which branch a node belongs to.
    branches: bool,
    /// Operations of the program's own, which know the names of their outputs.
    own: Option<&'m OwnOperators>,
}

/// What an input of a node names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source<'m> {
    /// Output of a node: position of the node, number of the output.
    Output(usize, usize),
    /// An argument of the function.
    Argument(&'m str),
    /// An input that only says what runs before.
    Control(&'m str),
}

impl<'m> Nodes<'m> {
    pub fn new(list: &'m [NodeDef<'m>], inner: bool) -> Result<Self> {
        let mut index = HashMap::with_capacity(list.len());
        for (i, n) in list.iter().enumerate() {
            if index.insert(n.name, i).is_some() {
                return Err(ImportError::invalid("two nodes share a name").at_node(n.name));
            }
        }
        let branches = list.iter().any(|n| matches!(n.op, "Switch" | "RefSwitch"));
        Ok(Self { list, index, inner, branches, own: None })
    }

    /// With operations of the program's own.
    pub fn with_own(self, own: &'m OwnOperators) -> Self {
        Self { own: Some(own), ..self }
    }

    pub fn get(&self, at: usize) -> Option<&'m NodeDef<'m>> {
        self.list.get(at)
    }

    pub fn find(&self, name: &str) -> Option<usize> {
        self.index.get(name).copied()
    }

    /// What the name of a tensor refers to; `None` where there is no such node (in a function: an argument, perhaps).
    ///
    /// # Errors
    /// `Invalid` when the number or name of the output makes no sense.
    pub fn source(&self, name: &'m str) -> Result<Source<'m>> {
        if let Some(node) = name.strip_prefix('^') {
            return Ok(Source::Control(node));
        }
        let bad = || ImportError::invalid("a tensor that does not exist").found(format!("`{name}`"));
        let number = |text: &str| text.parse::<usize>().map_err(|_| bad());
        let mut parts = name.splitn(3, ':');
        let node = parts.next().unwrap_or(name);
        let Some(at) = self.find(node) else {
            return if self.inner && !name.contains(':') { Ok(Source::Argument(name)) } else { Err(bad()) };
        };
        let (first, second) = (parts.next(), parts.next());
        let k = match (first, second) {
            (None, _) => 0,
            (Some(k), None) if k.starts_with(|c: char| c.is_ascii_digit()) => number(k)?,
            (Some(output), None) => self.output_number(at, output, 0)?,
            (Some(output), Some(k)) => self.output_number(at, output, number(k)?)?,
        };
        Ok(Source::Output(at, k))
    }

    /// The number of output `output`, `k`th of its list.
    fn output_number(&self, at: usize, output: &str, k: usize) -> Result<usize> {
        let op = self.get(at).map_or("", |n| n.op);
        let own = self.own.and_then(|o| o.get(TENSORFLOW, op)).map(|o| o.output_names().iter().map(String::as_str));
        let known = || registry::find(op).map_or(&[][..], |r| r.outputs).to_vec();
        let names: Vec<&str> = own.map_or_else(known, Iterator::collect);
        match names.iter().position(|n| *n == output) {
            Some(first) => Ok(first.saturating_add(k)),
            None if names.is_empty() => Ok(k),
            None => Err(ImportError::invalid("the operation has no output of this name")
                .expected(names.join(", "))
                .found(output)
                .at_op(op)),
        }
    }

    /// True where a control input says which branch a node belongs to.
    pub fn decides(&self, control: &str) -> Option<usize> {
        let at = self.find(control).filter(|_| self.branches)?;
        let op = self.get(at)?.op;
        matches!(op, "Switch" | "RefSwitch" | "Identity" | "RefIdentity").then_some(at)
    }

    /// The nodes that `wanted` depend on without passing through `stop`, each after what it reads.
    ///
    /// # Errors
    /// `Unsupported` when nodes depend on themselves: the loops of TensorFlow 1.
    pub fn order(&self, wanted: &[usize], stop: &dyn Fn(usize) -> bool) -> Result<Vec<usize>> {
        let mut state = vec![State::New; self.list.len()];
        let mut sorted = Vec::new();
        let mut open = Vec::new();
        for &start in wanted {
            open.push(start);
            while let Some(&at) = open.last() {
                let (Some(node), Some(now)) = (self.get(at), state.get_mut(at)) else { break };
                match now {
                    State::Done => {
                        open.pop();
                    }
                    State::Open => {
                        *now = State::Done;
                        sorted.push(at);
                        open.pop();
                    }
                    State::New if stop(at) => *now = State::Done,
                    State::New => {
                        *now = State::Open;
                        for before in self.reads(node)? {
                            match state.get(before) {
                                Some(State::New) => open.push(before),
                                Some(State::Open) => return Err(cycle(node)),
                                _ => {}
                            }
                        }
                    }
                }
            }
        }
        Ok(sorted)
    }

    /// The nodes whose outputs a node reads.
    pub fn reads(&self, node: &'m NodeDef<'m>) -> Result<Vec<usize>> {
        let mut all = Vec::with_capacity(node.inputs.len());
        for &name in &node.inputs {
            let source = self.source(name).map_err(|e| e.at_op(node.op).at_node(node.name))?;
            match source {
                Source::Output(at, _) => all.push(at),
                Source::Control(name) => all.extend(self.decides(name)),
                Source::Argument(_) => {}
            }
        }
        all.reverse();
        Ok(all)
    }
}

/// How far the sorting is with a node.
#[derive(Clone, Copy, PartialEq)]
enum State {
    New,
    /// What it reads is being sorted.
    Open,
    Done,
}

fn cycle(node: &NodeDef) -> ImportError {
    ImportError::unsupported("the loops of TensorFlow 1 (Enter, NextIteration, Exit) are not supported")
        .help("export the model with TensorFlow 2 (control flow v2), or as .keras or .h5")
        .at_op(node.op)
        .at_node(node.name)
}
