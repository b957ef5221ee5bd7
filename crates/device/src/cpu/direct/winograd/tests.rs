//! The maps against what they stand for, and the whole against the sum it replaces.
