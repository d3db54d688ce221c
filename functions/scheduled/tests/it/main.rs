//! The functions as Lambda starts them, against DynamoDB's semantics in process and the Exotel simulator.

mod evaluating;
mod sweeping;
