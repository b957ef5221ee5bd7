//! Compiled programs: what they give, what a target makes of them, and what the passes tell. One binary, since each costs a link.

mod attention;
mod code;
mod legalise;
mod packed;
mod passes;
mod program;
mod recompute;
