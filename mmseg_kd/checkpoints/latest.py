"""Find the checkpoint from which a run resumes."""

import re
from pathlib import Path, PureWindowsPath

_SAVED = re.compile(r'(?:iter|epoch)_(\d+)\.pth')


def find_latest_checkpoint(work_dir: str | Path) -> Path | None:
    """Find the newest checkpoint of a run, even if its folder was moved.

    mmengine's file `last_checkpoint` decides. If it is missing, empty, truncated or names a
    missing file, the `iter_N.pth` or `epoch_N.pth` with the largest N is taken.

    Args:
        work_dir: The run's folder; it need not exist.

    Returns:
        The checkpoint, or None if there is none.
    """
    work_dir = Path(work_dir)
    pointer = work_dir / 'last_checkpoint'
    if pointer.is_file():
        text = pointer.read_text(encoding='utf-8', errors='replace').strip().strip('\0')
        # The run may come from Windows or Linux; a Windows path splits at both kinds of slash.
        name = PureWindowsPath(text).name
        # The run's own folder first, because the pointer of a copied folder names the original.
        for named in (work_dir / name, Path(text)):
            if name.endswith('.pth') and named.is_file():
                return named
    saved = [f for f in work_dir.glob('*.pth') if _SAVED.fullmatch(f.name) and f.is_file()]
    return max(saved, key=lambda file: int(_SAVED.fullmatch(file.name)[1]), default=None)
