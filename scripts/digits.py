#!/usr/bin/env python3
"""Makes examples/data/digits.npz from the copy of the UCI handwritten digits in the PyPI package scikit-learn.

    python3 scripts/digits.py                 downloads the package (13 MB) with pip into a temporary folder
    python3 scripts/digits.py digits.csv.gz   reads that file instead

Keys: x, uint8 (1797, 8, 8), values 0..16; y, uint8 (1797,), the digit. Needs only Python 3; the same bytes every time
(zip members carry 1980-01-01, and both arrays are written in C order).
"""
import glob
import gzip
import io
import os
import subprocess
import sys
import tempfile
import zipfile

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


def npy(shape, payload):
    """A version 1.0 .npy file of uint8 in C order; its header is padded to a multiple of 64 bytes."""
    header = "{'descr': '|u1', 'fortran_order': False, 'shape': %r, }" % (shape,)
    header = header.ljust(-(-(len(header) + 11) // 64) * 64 - 11) + "\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode("latin1") + payload


def main():
    raw = open(sys.argv[1], "rb").read() if len(sys.argv) > 1 else download()
    rows = [[int(float(v)) for v in line.split(",")] for line in gzip.decompress(raw).decode().split()]
    if len(rows) != 1797 or any(len(row) != 65 for row in rows):
        sys.exit("digits.csv.gz: expected 1,797 rows of 65 numbers, received %d rows" % len(rows))
    arrays = {
        "x": npy((1797, 8, 8), bytes(v for row in rows for v in row[:64])),
        "y": npy((1797,), bytes(row[64] for row in rows)),
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in arrays.items():
            info = zipfile.ZipInfo(name + ".npy")
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, data, compresslevel=9)
    with open(OUT, "wb") as out:
        out.write(buffer.getvalue())
    print("%s: %d bytes" % (os.path.relpath(OUT), len(buffer.getvalue())))


if __name__ == "__main__":
    main()
