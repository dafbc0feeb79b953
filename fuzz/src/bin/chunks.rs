//! The fuzz target `chunks`; run by `cargo xtask fuzz`.

#![no_main]

libfuzzer_sys::fuzz_target!(
    init: tarae_fuzz::write_seeds("chunks"),
    |input: &[u8]| tarae_fuzz::check("chunks", input)
);
