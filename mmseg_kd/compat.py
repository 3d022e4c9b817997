"""Private parts of other libraries that the package depends on, each with its reason.

`tests/test_compat.py` fails where a release of a library renames or changes one of them.
"""

from __future__ import annotations

from typing import Any

import mmengine.config.config


def read_configs_with_byte_order_marks() -> None:
    """Make mmengine skip the mark that begins UTF-8 files of Windows' editors.

    `Config.fromfile` opens the files of a config in many places and has no setting for their
    encoding, so the module gets an `open` of its own.
    """
    mmengine.config.config.open = _open_without_mark


def _open_without_mark(file: Any, mode: str = 'r', encoding: str | None = None, **kw: Any) -> Any:
    if mode == 'r' and encoding == 'utf-8':
        encoding = 'utf-8-sig'
    return open(file, mode, encoding=encoding, **kw)  # noqa: PTH123
