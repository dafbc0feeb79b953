//! The fuzz target `head`; run by `cargo xtask fuzz`.

#![no_main]

libfuzzer_sys::fuzz_target!(
    init: tarae_fuzz::write_seeds("head"),
    |input: &[u8]| tarae_fuzz::check("head", input)
);
