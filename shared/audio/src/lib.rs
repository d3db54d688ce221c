#![doc = include_str!("../README.md")]

mod chunks;
pub mod mulaw;
mod pcm;
mod resample;
mod wav;

pub use self::{
    chunks::{LEAST_BYTES, MOST_BYTES, UNIT_BYTES, chunks},
    resample::resample,
    wav::{LONGEST_SECONDS, WavError, from_wav, to_wav},
};
