//! `cargo xtask check`.

use crate::stage::{Result, Stages, cargo, succeeds};

/// Pinned, so that a new release changes no verdict by itself.
const CARGO_DENY: &str = "0.20.2";

/// fmt, deny, clippy, doc: cheapest first.
///
/// Where cargo-deny is missing it is installed when `CI` is set; elsewhere its stage is left out, which the last line says.
pub(crate) fn run() -> Result<()> {
    let mut stages = Stages::default();
    stages.run("fmt", cargo(&["fmt", "--all", "--check"]))?;

    let mut deny = succeeds(cargo(&["deny", "--version"]));
    // Unoptimised: a minute instead of three to build, and the check still takes a second or two.
    if !deny && std::env::var_os("CI").is_some() {
        stages.run(
            "install cargo-deny",
            cargo(&["install", "cargo-deny", "--locked", "--debug", "--version", CARGO_DENY]),
        )?;
        deny = true;
    }
    if deny {
        // Advisories come from a database on the network and change without the project: a check of their own.
        stages.run("deny", cargo(&["deny", "--workspace", "check", "bans", "licenses", "sources"]))?;
    }

    let clippy = [
        "clippy",
        "--workspace",
        "--all-targets",
        "--features",
        "conformance/candle",
        "--",
        "-D",
        "warnings",
    ];
    stages.run("clippy", cargo(&clippy))?;
    let mut doc = cargo(&["doc", "--workspace", "--no-deps"]);
    doc.env("RUSTDOCFLAGS", "-D warnings");
    stages.run("doc", doc)?;

    stages.report();
    if !deny {
        eprintln!(
            "left out: deny (get it with `cargo install cargo-deny --locked --debug --version {CARGO_DENY}`)"
        );
    }
    Ok(())
}
