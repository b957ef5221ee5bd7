//! What people write: tensors, parameters, modules and compiled steps.
