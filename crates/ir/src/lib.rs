//! WHAT is computed: dtypes, shapes, the closed set of operations, and the graph they form.
