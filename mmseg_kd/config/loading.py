"""Load a config file: read it, apply the command line, check it, fill in what it leaves out.

torch and mmseg's models take seconds to import. The modules that need them are imported in the
functions, so that a missing file and broken syntax are reported before.
"""

import ast
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmseg_kd import register_all
from mmseg_kd.compat import read_configs_with_byte_order_marks
from mmseg_kd.config.errors import reading_errors
from mmseg_kd.errors import UserError
from mmseg_kd.paths import check_file

read_configs_with_byte_order_marks()


def load_config(path: str, cfg_options: dict[str, Any] | None = None) -> Config:
    """Read a config file, apply `--cfg-options` and check every key.

    Args:
        path: The config file.
        cfg_options: Overrides by dotted key.

    Returns:
        The config, with `work_dir` (`work_dirs/<name of the file>` if it has none) and the keys
        that `fill_in` derives from others.

    Raises:
        UserError: The file is missing, is not valid Python, or contains a mistake.
    """
    file = Path(path)
    check_file(path, 'the config')
    check_text(file)
    # A process that a user's program spawned has registered only the data sets so far.
    register_all()
    from mmseg_kd.config import checks, defaults, options

    cfg = read_config(path)
    with reading_errors(path):
        # Checkpoints and logs contain the config's text, which yapf would need 0.3 s to format.
        cfg = Config(cfg.to_dict(), cfg.text, cfg.filename, format_python_code=False)
        options.check_variables(cfg, path)
        options.apply_options(cfg, cfg_options or {})
    checks.check_config(cfg, path)
    init_default_scope(cfg.get('default_scope') or 'mmseg_kd')
    defaults.fill_in(cfg)
    if cfg.get('work_dir') is None:
        cfg.work_dir = str(Path('work_dirs') / file.stem)
    return cfg


def read_config(path: str | Path, **options: Any) -> Config:
    """Read a config file and those that it inherits from.

    Args:
        path: The config file.
        **options: Arguments of mmengine's `Config.fromfile`.

    Raises:
        UserError: One of the files is not UTF-8 text or not valid Python, inherits from itself,
            or its code fails. The message names the file and the line.
    """
    check_text(Path(path))
    if '' not in sys.path:
        # The current folder may hold modules of `custom_imports`.
        sys.path.append('')
    with reading_errors(path):
        return Config.fromfile(path, format_python_code=False, **options)


def check_text(file: Path, chain: tuple[Path, ...] = ()) -> None:
    """Check that a config and all configs that it inherits from can be parsed.

    mmengine's errors do not name an inherited file, and some do not name the file itself.

    Args:
        file: The config.
        chain: The files that inherit from it.

    Raises:
        UserError: A file is not UTF-8 text or not valid Python, or inherits from itself.
    """
    if file.suffix != '.py' or not file.is_file():
        return
    chain = (*chain, file.resolve())
    for base in _bases(_parse(file)):
        if not isinstance(base, str):
            raise UserError(f'{file}: _base_ is not the name of a file, or a list of names')
        path = (file.parent / base).resolve()
        if path in chain:
            names = ' -> '.join(f.name for f in (*chain[chain.index(path) :], path))
            raise UserError(f'{file}: _base_ = {base!r} leads back to the file itself: {names}')
        check_text(file.parent / base, chain)


def _parse(file: Path) -> ast.Module:
    content = file.read_bytes()
    try:
        tree = ast.parse(content.decode('utf-8-sig'))
        # Some mistakes, such as a `return` outside a function, are found only here.
        compile(tree, str(file), 'exec')
        return tree
    except UnicodeDecodeError as error:
        line = content.count(b'\n', 0, error.start) + 1
        problem = 'the file is not UTF-8 text; save it as UTF-8 (in Notepad: Save as, Encoding)'
    except (SyntaxError, ValueError) as error:
        line, problem = getattr(error, 'lineno', None) or '?', getattr(error, 'msg', error)
        if 'unicodeescape' in str(problem):
            path = r"r'C:\Users\me' or 'C:/Users/me'"
            problem = f'a backslash in quotes begins an escape; write a path as {path}'
    raise UserError(f'{file}, line {line}: {problem}')


def _bases(tree: ast.Module) -> Iterator[Any]:
    """Yield the items of a config's `_base_`, if it is a literal and not computed."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == '_base_':
            with suppress(ValueError):
                value = ast.literal_eval(node.value)
                yield from value if isinstance(value, list | tuple) else [value]
