//! What is made of tensors: layers, losses, metrics, schedules, and the functions and steps that run them. One binary, since each costs a
//! link.

mod adapters;
mod attention;
mod cache;
mod functions;
mod layers;
mod lengths;
mod losses;
mod metrics;
mod names;
mod packed;
mod parts;
mod recurrent;
mod schedules;
mod send;
mod updates;
mod words;
