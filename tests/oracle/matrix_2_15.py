"""Data sets as h5py writes them. Writes tests/fixtures/matrix.h5; element (i, j, ...) of all is its number in C order, modulo 200."""
import os

import h5py
import numpy as np

path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "fixtures", "matrix.h5")
numbers = lambda dtype, *shape: (np.arange(np.prod(shape)) % 200).reshape(shape).astype(dtype)
with h5py.File(path, "w") as file:
    file["plain"] = numbers("float32", 100, 3)
    file["labels"] = numbers("int16", 100)
    file["scalar"] = np.float32(1)
    file["text"] = np.array([b"a", b"b"])
    file.create_dataset("group/chunked", data=numbers("float64", 100, 5), chunks=(16, 2), compression="gzip", shuffle=True)
    for dtype in ["float16", "uint8", "int8", "int64", "uint32", ">f4", ">i8", ">f2"]:
        file.create_dataset("types/" + dtype, data=numbers(dtype, 100, 3) if dtype != "int8" else numbers("int8", 40, 3), chunks=True)
    file["types/bool"] = numbers("uint8", 100, 3) % 2 == 1
