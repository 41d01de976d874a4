//! Schemas of plain values.

use utoipa::openapi::schema::{Object, ObjectBuilder, Type};

pub fn string() -> Object {
    ObjectBuilder::new().schema_type(Type::String).build()
}

/// One of these.
pub fn one_of(words: &[&str]) -> Object {
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words.iter().copied())).build()
}

pub fn whole_number(format: &str) -> Object {
    let format = utoipa::openapi::SchemaFormat::Custom(format.to_owned());
    ObjectBuilder::new().schema_type(Type::Integer).format(Some(format)).build()
}

/// An id.
pub fn id() -> Object {
    whole_number("int64")
}
