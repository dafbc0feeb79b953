//! The fuzz target `multipart`; run by `cargo xtask fuzz`.

#![no_main]

libfuzzer_sys::fuzz_target!(
    init: tarae_fuzz::write_seeds("multipart"),
    |input: &[u8]| tarae_fuzz::check("multipart", input)
);
