//! Refuses, in one clear sentence, to be built for a system it cannot run on.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let target = |what: &str| std::env::var(format!("CARGO_CFG_TARGET_{what}")).unwrap_or_default();
    let (os, arch) = (target("OS"), target("ARCH"));
    if os != "linux" || !["x86_64", "aarch64"].contains(&arch.as_str()) {
        println!(
            "cargo::error=tarae runs on Linux on x86_64 and aarch64 only, and this build is for \
             {os} on {arch}; elsewhere use the Dockerfile of the repository or a Linux VM"
        );
    }
}
