//! Fields as HTTP/2 compresses them (RFC 7541). Pure.
//!
//! What clients send is taken as they like to send it. What is sent to them refers to the static table only: to remember what is sent
//! costs more than the bytes that it saves.

mod decoder;
mod encoder;
mod field;
mod huffman;
mod table;

pub(super) use self::{
    decoder::Decoder,
    encoder::{NOTHING_IS_REMEMBERED, answer, fields},
    field::{Field, Name, Value},
};
