//! Requests and answers of HTTP functions behind API Gateway's HTTP API or a Function URL (payload format 2.0).

mod answer;
mod problem;
mod request;
mod serve;

pub use self::{
    answer::{Response, empty, json, list, redirect},
    problem::Problem,
    request::{Family, IdempotencyKey, Page, Request, Route},
    serve::{answer, serve, serve_streaming},
};
