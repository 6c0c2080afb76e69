# SPDX-License-Identifier: GPL-2.0-or-later
"""Takes the ELF vmlinux out of a bzImage: unpack_kernel.py BZIMAGE VMLINUX."""

import lzma
import struct
import subprocess
import sys
import zlib


def payload(image):
    """The compressed kernel inside a bzImage, by the boot header's own fields."""
    if image[0x202:0x206] != b"HdrS":
        raise SystemExit("unpack_kernel: no boot header: not a bzImage")
    sectors = image[0x1F1] or 4
    offset, length = struct.unpack_from("<II", image, 0x248)
    start = (sectors + 1) * 512 + offset
    return image[start:start + length]


def unpack(data):
    """Decompresses by magic number; the kernel appends four bytes of length, which are not part of the stream."""
    if data[:6] == b"\xfd7zXZ\0":
        return lzma.LZMADecompressor(lzma.FORMAT_XZ).decompress(data)
    if data[:2] == b"\x1f\x8b":
        return zlib.decompressobj(31).decompress(data)
    if data[:4] == b"\x28\xb5\x2f\xfd":
        return subprocess.run(["zstd", "-dc"], input=data[:-4], stdout=subprocess.PIPE, check=True).stdout
    raise SystemExit("unpack_kernel: unknown compression, magic " + data[:6].hex())


def main():
    with open(sys.argv[1], "rb") as f:
        elf = unpack(payload(f.read()))
    if elf[:4] != b"\x7fELF":
        raise SystemExit("unpack_kernel: what is inside is not an ELF file")
    with open(sys.argv[2], "wb") as f:
        f.write(elf)


main()
