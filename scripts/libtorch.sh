#!/usr/bin/env bash
# Puts libtorch 2.13.0, as much of it as computes on a CPU, into a folder outside the repository; does nothing when it is
# there. The wheels come from the Python package index through pip, which checks the SHA-256 of each.
#
#   scripts/libtorch.sh [--list | --compiler]
#
# --list       only says what it would fetch
# --compiler   only looks for the C++ compiler that the backend on it needs
#
# KERAS_LIBTORCH_DIR   the folder (default ~/.cache/keras-libtorch)
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
dir=${KERAS_LIBTORCH_DIR:-$HOME/.cache/keras-libtorch}
requirements=$root/scripts/libtorch.txt

cost="libtorch: downloads 542 MB, 500 MB on disk, in $dir"
if [[ ${1:-} == --list ]]; then
    echo "$cost"
    exit 0
fi
# Standard output is for the caller.
exec >&2

fail() {
    echo "error: fetching libtorch: $1" >&2
    exit 1
}

# Whoever has libtorch still builds what lies between it and Rust.
command -v "${CXX:-g++}" >/dev/null ||
    fail "expected a C++ compiler, received no ${CXX:-g++}; install g++ or set CXX"
if [[ ${1:-} == --compiler ]]; then
    exit 0
fi

stamp=$(cksum <"$requirements")
mkdir -p "$dir"
# Two runs at once would unpack into each other's folder.
exec 9>"$dir/.lock"
flock 9
if [[ $(cat "$dir/.ready" 2>/dev/null) == "$stamp" ]]; then
    echo "libtorch: present"
    exit 0
fi
[[ $(uname -sm) == "Linux x86_64" ]] ||
    fail "expected x86-64 Linux, received $(uname -sm); install libtorch 2.13.0 and set LIBTORCH to its folder"
python3 -m pip --version >/dev/null 2>&1 ||
    fail "expected Python 3 with pip, received none on PATH; install python3-pip, or libtorch 2.13.0 and set LIBTORCH to its folder"

echo "$cost"
rm -rf "${dir:?}/wheels" "$dir/include" "$dir/lib" "$dir/build-version"
# No platform or Python of its own: what is fetched does not depend on the Python that fetches it.
python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: --require-hashes \
    --python-version 3.11 --implementation cp --abi cp311 --abi none --platform manylinux_2_28_x86_64 \
    --platform manylinux_2_25_x86_64 --platform manylinux2014_x86_64 --dest "$dir/wheels" --requirement "$requirements" ||
    fail "expected pip to download what scripts/libtorch.txt lists, received its error above"

python3 - "$dir" <<'PYTHON'
import pathlib, shutil, sys, zipfile

folder = pathlib.Path(sys.argv[1])
libraries = {"libtorch_cpu.so", "libc10.so", "libgomp.so.1", "libcudart.so.13", "libcupti.so.13"}
for wheel in sorted(folder.glob("wheels/*.whl")):
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.namelist():
            path = pathlib.PurePosixPath(member)
            if member.startswith("torch/include/") and not member.endswith("/"):
                target = folder / path.relative_to("torch")
            elif path.name in libraries:
                target = folder / "lib" / path.name
            else:
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(member) as source, open(target, "wb") as result:
                shutil.copyfileobj(source, result, 1 << 20)
missing = [name for name in sorted(libraries) if not (folder / "lib" / name).exists()]
if missing or not (folder / "include/ATen/ATen.h").exists():
    sys.exit(f"error: fetching libtorch: expected headers and libraries in the wheels, received none of {missing}")
PYTHON
# torch-sys links this name; libtorch.so of the wheel only loads the libraries for CUDA.
ln -sf libtorch_cpu.so "$dir/lib/libtorch.so"
echo 2.13.0 >"$dir/build-version"
rm -rf "$dir/wheels"
cat >"$dir/env.sh" <<ENV
export LIBTORCH='$dir'
export LD_LIBRARY_PATH='$dir/lib'\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH}
ENV
echo "$stamp" >"$dir/.ready"
echo "libtorch: ready, $(du -sm "$dir" | cut -f1) MB"
