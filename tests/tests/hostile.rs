//! What fuzzing found once: `tests/fixtures/fuzz/FORMAT/…`, each read within a second and in little memory.

use conformance::hostile::{MEMORY, READERS, start_anew};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// The format that a child process reads.
const FORMAT: &str = "CONFORMANCE_HOSTILE_FORMAT";

fn read(format: &str) {
    let reader = READERS.iter().find(|(name, _)| *name == format).expect("a known format").1;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/fuzz").join(format);
    let mut inputs: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    inputs.sort();
    assert!(!inputs.is_empty(), "no inputs in {}", folder.display());
    for input in inputs {
        let bytes = std::fs::read(&input).unwrap();
        let start = Instant::now();
        start_anew();
        reader(&bytes);
        let took = start.elapsed();
        assert!(took < Duration::from_secs(1), "{} took {took:?}", input.display());
    }
}

/// In a process of its own per format, whose memory is limited where the system can do that.
#[test]
fn what_fuzzing_found_stays_mended() {
    if let Ok(format) = std::env::var(FORMAT) {
        return read(&format);
    }
    for (format, _) in READERS {
        let own = std::env::current_exe().unwrap();
        let mut command = if cfg!(unix) {
            let mut shell = Command::new("/bin/sh");
            // Beside the readers' memory, room for the program and its threads.
            let limit = (MEMORY >> 10) + (512 << 10);
            shell.args(["-c", &format!("ulimit -v {limit}; exec \"$@\""), "sh"]).arg(own);
            shell
        } else {
            Command::new(own)
        };
        command.args(["--exact", "hostile::what_fuzzing_found_stays_mended", "--nocapture"]);
        command.env(FORMAT, format).env("MALLOC_ARENA_MAX", "1");
        let output = command.output().unwrap();
        let said = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
        assert!(output.status.success(), "{format}: {}\n{}", output.status, said.join("\n"));
        assert!(said[0].contains("1 passed"), "{format}: {}", said[0]);
    }
}
