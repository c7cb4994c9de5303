//! The protobuf wire format, read in place.
//!
//! # Why a reader of our own
//!
//! TensorFlow's messages (`GraphDef`, `SavedModel`, `BundleEntryProto`, ...) are read without generated code. A frozen graph is a
//! list of nodes and one big constant a layer; a generated decoder copies every byte of it, builds maps and strings for attributes
//! that nobody asks for, recurses as deep as the file tells it to, and needs the schema of a framework that changes with every
//! release. Here a message is a range of the file ([`Message`]): fields are met one after the other, what is known is looked
//! at, what is not known is passed over, text and weights are slices of the file, and the depth of nesting is that of the code
//! which reads. So a field of a newer release costs nothing, and nothing is allocated because a length says so: lists of
//! numbers ask a [`Meter`] first.
//!
//! # Rules
//!
//! Every length lies inside its message, numbers have at most 64 bits, groups (never used by these schemas) are refused, text is
//! UTF-8. What breaks a rule is a `Format` error with its byte offset.

mod reader;

pub(crate) use reader::{Field, Message, Meter, varint};
