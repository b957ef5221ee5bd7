//! WHERE it is computed: the device trait and the CPU behind it. All `unsafe` lives here.
