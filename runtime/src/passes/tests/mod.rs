//! Every pass on a graph that it changes and on one that it must leave alone; random graphs before and after all of them.

mod channels;
mod fold;
mod patterns;
mod random;
mod simplify;
mod support;
mod transpose;
