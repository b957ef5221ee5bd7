//! Tests of the tensor.
