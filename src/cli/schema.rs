//! `tasrih schema`: the JSON Schema of the policy files, for editors that complete and check while one writes.

use crate::register::schema::schema;

/// Print the JSON Schema of the policy files
#[derive(clap::Args)]
pub struct Arguments {}

pub fn main(Arguments {}: Arguments) -> u8 {
    println!("{:#}", schema());
    super::FINE
}
