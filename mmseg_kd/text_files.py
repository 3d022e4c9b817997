"""Text files of the user, in the encodings that editors, Excel and shells write."""

from __future__ import annotations

import codecs
from pathlib import Path

from mmseg_kd.errors import UserError


def read_text(path: str | Path) -> str:
    """Read UTF-8 with or without a mark, UTF-16 with a mark, or the Korean cp949.

    UTF-16 is what `>` of PowerShell 5 and Excel's "Unicode text" write, cp949 is what Excel and
    Notepad's "ANSI" write on a Korean Windows.

    Raises:
        UserError: The file cannot be opened, or is none of these.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise UserError(f'{path} cannot be read: {error.strerror}') from error
    marked = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    for encoding in ('utf-16',) if marked else ('utf-8-sig', 'cp949'):
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise UserError(f'{path} cannot be read as text; save it as UTF-8')
