//! A project of a user's own, outside the workspace: the README's hello world, built from the path and run where there is no home
//! folder to write to and no terminal.

use crate::embedding::build_beside_the_workspace;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// The first Rust block of the README after this heading.
fn readme_block(heading: &str) -> String {
    let text = fs::read_to_string(Path::new(ROOT).join("README.md")).unwrap();
    let (_, section) = text.split_once(heading).unwrap();
    let (_, block) = section.split_once("```rust\n").unwrap();
    block.split_once("```").unwrap().0.to_owned()
}

fn build(folder: &Path) -> PathBuf {
    let block = readme_block("## Hello, world");
    let (imports, body) = block.split_once("\n\n").unwrap();
    let program = format!(
        "{imports}

fn main() -> Result<()> {{
    keras::random::set_seed(0);
    let x_train = Array::from_vec(&[64, 100], (0..6400).map(|i| (i as f32).sin()).collect())?;
    let y_train = keras::utils::to_categorical(&Array::from_vec(&[64], (0..64).map(|i| i % 10).collect::<Vec<i64>>())?, 10)?;
    let (x_test, y_test) = (x_train.clone(), y_train.clone());
    {body}
    println!(\"{{scores:?}} {{:?}}\", classes.shape());
    Ok(())
}}
"
    );
    fs::create_dir(folder.join("src")).unwrap();
    fs::write(folder.join("src/main.rs"), program).unwrap();
    let path = fs::canonicalize(ROOT).unwrap().into_os_string().into_string().unwrap();
    let manifest = format!(
        "[package]\nname = \"hello\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n[workspace]\n\n[dependencies]\nkeras = {{ path = {path:?} }}\n"
    );
    fs::write(folder.join("Cargo.toml"), manifest).unwrap();
    // The same versions as the workspace's, so that what it has built is used again.
    fs::copy(Path::new(&path).join("Cargo.lock"), folder.join("Cargo.lock")).unwrap();
    build_beside_the_workspace(folder, &[])
}

fn run(program: &Path, home: Option<&Path>) -> (String, String) {
    let mut command = Command::new(program);
    command.env_clear().stdin(Stdio::null());
    if let Some(home) = home {
        command.env("HOME", home);
    }
    let output = command.output().unwrap();
    let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(output.status.success(), "{out}\n{err}");
    (out, err)
}

/// The backend is registered before `main` in a program that never names it, whatever the linker drops; settings are created in an
/// empty home, and a home that cannot be written stops nobody.
#[test]
#[ignore = "needs a minute for a build of its own"]
fn the_hello_world_of_the_readme_runs_anywhere() {
    let folder = tempfile::tempdir().unwrap();
    let program = build(folder.path());

    let home = tempfile::tempdir().unwrap();
    let (first, _) = run(&program, Some(home.path()));
    let last = first.lines().last().unwrap();
    assert!(last.starts_with('[') && last.ends_with("[64, 10]"), "{first}");
    assert!(home.path().join(".keras/keras.json").is_file());
    assert!(
        !first.contains('\u{1b}') && !first.contains('\u{8}'),
        "no terminal, no control characters: {first:?}"
    );

    // Nobody can create a folder there, not even root.
    let (second, _) = run(&program, Some(Path::new("/proc")));
    assert_eq!(second.lines().last().unwrap(), last, "the same seed, the same numbers");
    let (third, _) = run(&program, None);
    assert_eq!(third.lines().last().unwrap(), last);
}
