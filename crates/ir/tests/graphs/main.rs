//! Graphs: what they mean, their gradients, and what simplifying leaves of them. One binary, since each costs a link.

mod deep;
mod gradients;
mod lines;
mod oracle;
mod print;
mod random;
mod scan;
mod simplify;
mod table;
