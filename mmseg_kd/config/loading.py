"""Load a config file: read it, apply the command line, check it, fill in what it leaves open.

What imports torch or mmseg's models, which takes seconds, is imported in the function: a missing
file and broken syntax are reported before.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmseg_kd import register_all
from mmseg_kd.config.errors import reading_errors
from mmseg_kd.config.text import check_text, read_config
from mmseg_kd.errors import UserError, no_file


def load_config(path: str, cfg_options: dict[str, Any] | None = None) -> Config:
    """Read a config file, apply `--cfg-options` and check every key.

    Args:
        path: The config file.
        cfg_options: Overrides by dotted key.

    Returns:
        The config, with `work_dir` set (`work_dirs/<name of the file>` where it has none) and
        what follows from other keys filled in (`fill_in`).

    Raises:
        UserError: The file is missing or not valid Python, or has a key that nothing reads.
    """
    file = Path(path)
    if not file.is_file():
        raise UserError(f'the config {path} {no_file(path)}')
    check_text(file)
    # In a process that a user's program spawned, only the part for data workers was imported.
    register_all()
    from mmseg_kd.config.checks import check_config
    from mmseg_kd.config.defaults import fill_in
    from mmseg_kd.config.options import apply_options, check_variables

    cfg = read_config(path)
    with reading_errors(path):
        # Every checkpoint and log has the config's text; yapf takes 0.3 s to lay it out.
        cfg = Config(cfg.to_dict(), cfg.text, cfg.filename, format_python_code=False)
        check_variables(cfg, path)
        apply_options(cfg, cfg_options or {})
    scope = cfg.get('default_scope', 'mmseg_kd')
    init_default_scope(scope if isinstance(scope, str) else 'mmseg_kd')
    check_config(cfg, path)
    fill_in(cfg)
    if cfg.get('work_dir') is None:
        cfg.work_dir = str(Path('work_dirs') / file.stem)
    return cfg
