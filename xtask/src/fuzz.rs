//! `cargo xtask fuzz`: the targets of `fuzz/` on a stable toolchain.
//!
//! What cargo-fuzz passes to a nightly compiler for coverage is stable; it is only the address sanitizer that is not, and the
//! readers of files hold no unsafe code. libFuzzer itself comes with the crate `libfuzzer-sys` and needs a C++ compiler.

use std::path::Path;
use std::process::Command;

use crate::stage::{Result, Stages, cargo, output, root};

/// The targets, each one a format.
const TARGETS: [&str; 5] = ["h5", "json", "keras", "npy", "yaml"];

/// What cargo-fuzz compiles with, without a sanitizer.
const FLAGS: [&str; 7] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Ccodegen-units=1",
    "--cfg=fuzzing",
];

/// Builds the targets and runs each for so many seconds, or those of them that are named.
pub(crate) fn run(named: &[String], seconds: u32) -> Result<()> {
    let mut stages = Stages::default();
    if let Some(unknown) = named.iter().find(|name| !TARGETS.contains(&name.as_str())) {
        return Err(format!("choosing fuzz targets: expected {}, received {unknown}", TARGETS.join(", ")));
    }
    let folder = root().join("fuzz");
    let host = host()?;
    let manifest = folder.join("Cargo.toml").display().to_string();
    let mut build =
        cargo(&["build", "--quiet", "--release", "--manifest-path", &manifest, "--target", &host, "--bins"]);
    build.env("RUSTFLAGS", FLAGS.join(" ")).env("CARGO_TARGET_DIR", folder.join("target"));
    stages.run("fuzz build", build)?;
    let chosen = TARGETS.iter().filter(|target| named.is_empty() || named.iter().any(|name| name == *target));
    let mut runs = Vec::new();
    for target in chosen {
        let artifacts = folder.join("artifacts").join(target);
        std::fs::create_dir_all(&artifacts).map_err(|e| format!("making {}: {e}", artifacts.display()))?;
        let mut command = Command::new(folder.join("target").join(&host).join("release").join(target));
        command.current_dir(&folder).arg(folder.join("corpus").join(target)).args([
            format!("-max_total_time={seconds}"),
            // Seconds for one input that waits; the targets bound what it computes, and its memory.
            "-timeout=20".into(),
            "-rss_limit_mb=2048".into(),
            "-max_len=100000".into(),
            "-verbosity=0".into(),
            format!("-artifact_prefix={}/", artifacts.display()),
        ]);
        if Path::new("/dev/shm").is_dir() {
            // The files that the readers are given.
            command.env("TMPDIR", "/dev/shm");
        }
        runs.push((format!("fuzz {target}"), command));
    }
    stages.run_together(runs).map_err(|error| {
        let artifacts = folder.join("artifacts").display().to_string();
        format!("{error}; its input is the newest in {artifacts}: mend it, keep it in tests/fixtures/fuzz")
    })?;
    stages.report();
    Ok(())
}

fn host() -> Result<String> {
    let mut rustc = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    rustc.arg("-vV");
    let text = output(rustc)?;
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).ok_or_else(|| format!("asking rustc for its host: received {text}"))
}
