"""The checkpoint a run resumes from."""

from __future__ import annotations

import re
from pathlib import Path, PureWindowsPath

_SAVED = re.compile(r'(?:iter|epoch)_(\d+)\.pth')


def find_latest_checkpoint(work_dir: str | Path) -> Path | None:
    """Find the newest checkpoint of a run, also when its folder was moved.

    mmengine's `last_checkpoint` file decides. Where it is missing, empty, cut
    short or names a file that is gone, the largest `iter_N.pth` or `epoch_N.pth`
    does.

    Args:
        work_dir: The run's folder; it need not exist.

    Returns:
        The checkpoint, or None where there is none.
    """
    work_dir = Path(work_dir)
    for named in _named(work_dir / 'last_checkpoint'):
        if named.is_file():
            return named
    numbered = {
        int(match[1]): file
        for file in work_dir.glob('*.pth')
        if (match := _SAVED.fullmatch(file.name)) and file.is_file()
    }
    return numbered[max(numbered)] if numbered else None


def _named(pointer: Path) -> list[Path]:
    if not pointer.is_file():
        return []
    text = pointer.read_text(encoding='utf-8', errors='replace').strip().strip('\0')
    # A Windows path splits at both kinds of slash, wherever the run began.
    name = PureWindowsPath(text).name
    if not name.endswith('.pth'):
        return []
    # The run's own folder first: a copied folder's pointer still names the original.
    return [pointer.parent / name, Path(text)]
