"""Writes .npz files without numpy, the same bytes every time (zip members carry 1980-01-01, arrays are in C order)."""
import zipfile


def npy(shape, payload):
    """A version 1.0 .npy file of uint8 in C order; its header is padded to a multiple of 64 bytes."""
    header = "{'descr': '|u1', 'fortran_order': False, 'shape': %r, }" % (shape,)
    header = header.ljust(-(-(len(header) + 11) // 64) * 64 - 11) + "\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode("latin1") + payload


def write(file, arrays, compress):
    """Writes arrays, a dict of name: (shape, bytes), to a file name or a writable file."""
    method = zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, (shape, payload) in arrays.items():
            info = zipfile.ZipInfo(name + ".npy")
            info.compress_type = method
            archive.writestr(info, npy(shape, payload), compresslevel=9)
