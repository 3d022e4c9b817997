"""Read the user's text files in the encodings that editors, Excel and shells write."""

import codecs
from contextlib import suppress
from pathlib import Path

from mmseg_kd.errors import UserError


def read_text(path: str | Path) -> str:
    """Read UTF-8 with or without BOM, UTF-16 with BOM, or the Korean cp949.

    PowerShell 5 (`>`) and Excel ("Unicode text") write UTF-16. On a Korean Windows, Excel and
    Notepad ("ANSI") write cp949.

    Raises:
        UserError: The file cannot be opened, or has another encoding.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise UserError(f'{path} cannot be read: {error.strerror}') from error
    marked = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    for encoding in ('utf-16',) if marked else ('utf-8-sig', 'cp949'):
        with suppress(UnicodeDecodeError):
            return content.decode(encoding)
    raise UserError(f'{path} cannot be read as text; save it as UTF-8')
