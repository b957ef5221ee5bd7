//! kiln: neural networks from raw data to a shipped model.
