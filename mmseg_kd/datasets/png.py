"""What a PNG file says about itself, and whether it is whole.

Decoders differ: a truncated or damaged file may come back as ``None``, as an exception, or half
decoded without a word. The checksums in the file itself settle it.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import NamedTuple

from mmseg_kd.errors import UserError

SIGNATURE = b'\x89PNG\r\n\x1a\n'
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}


class PngHeader(NamedTuple):
    """Size and pixel format of a PNG."""

    width: int
    height: int
    bit_depth: int
    channels: int
    has_palette: bool


def read_header(path: Path) -> PngHeader:
    """The header of a PNG that is intact from its first byte to its last chunk."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f'{path}: cannot be read ({error.strerror}); put the file back') from None
    if not data.startswith(SIGNATURE):
        raise UserError(f'{path}: not a PNG file; replace it by an intact copy')
    if not _is_whole(memoryview(data)):
        raise UserError(f'{path}: truncated or damaged; replace it by an intact copy')
    width, height = int.from_bytes(data[16:20], 'big'), int.from_bytes(data[20:24], 'big')
    bit_depth, colour_type = data[24], data[25]
    return PngHeader(width, height, bit_depth, CHANNELS[colour_type], colour_type == 3)


def _is_whole(data: memoryview) -> bool:
    start, kind = len(SIGNATURE), b''
    while kind != b'IEND':
        end = start + 8 + int.from_bytes(data[start : start + 4], 'big')
        kind = bytes(data[start + 4 : start + 8])
        if zlib.crc32(data[start + 4 : end]) != int.from_bytes(data[end : end + 4], 'big'):
            return False
        if end + 4 > len(data):
            return False
        start = end + 4
    return True
