//! The fuzz target `connection`; run by `cargo xtask fuzz`.

#![no_main]

libfuzzer_sys::fuzz_target!(
    init: tarae_fuzz::write_seeds("connection"),
    |input: &[u8]| tarae_fuzz::check("connection", input)
);
