"""What the command-line tools share: arguments, and errors for people."""

from __future__ import annotations

import argparse
import errno
import io
import logging
import os
import re
import sys
import warnings
from collections.abc import Callable
from typing import Any

from mmseg_kd.errors import UserError
from mmseg_kd.option_values import read_value

EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130

# Errors of the disk or of permissions, not of the program.
OF_THE_SYSTEM = frozenset(
    {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.ENAMETOOLONG}
    # A folder where a file is to be written, or the other way round.
    | {errno.EISDIR, errno.ENOTDIR, errno.EEXIST}
)

# Warnings of libraries about settings that are intended.
REMARKS = (
    'This DataLoader will create',
    '.*the method `get_instance` should not accept',
)


def run_tool(main: Callable[[], None]) -> None:
    """Run a tool's `main`: a user's mistake is one line with exit code 2, Ctrl-C is 130."""
    prepare_process()
    try:
        main()
        sys.stdout.flush()
    except UserError as error:
        sys.exit(_fail(user_message(error)))
    except OSError as error:
        if _is_closed_pipe(error):
            # The reader, `head` for one, has what it wanted; Python must not flush once more.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return
        if error.errno not in OF_THE_SYSTEM:
            raise
        # `filename2` is the new name in a rename.
        sys.exit(_fail(f'{error.filename2 or error.filename or "a file"}: {error.strerror}'))
    except KeyboardInterrupt:
        print('\ninterrupted', file=sys.stderr)
        sys.exit(EXIT_INTERRUPTED)


def prepare_process() -> None:
    """Prepare this process for a tool or a training, on every system and console.

    - A character that the console's encoding lacks is printed as an escape. Redirected output of
      a Korean Windows is cp949, in which many a path or accent cannot be written.
    - Spawned workers import what they unpickle, not the tool's own module with all its imports.
    - Libraries' remarks on settings that are as they should be are left out.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors='backslashreplace')
    # `multiprocessing` imports the main module in a spawned process by one of these.
    main = sys.modules['__main__']
    main.__spec__ = None
    vars(main).pop('__file__', None)
    # Otherwise a full disk prints a traceback for every log line.
    logging.raiseExceptions = False
    for remark in REMARKS:
        warnings.filterwarnings('ignore', message=remark)


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """Add `--cfg-options`, `--launcher` and `--local_rank`, as mmsegmentation has them."""
    add_cfg_options(parser)
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
        help='how several processes were started',
    )
    parser.add_argument(
        '--local_rank', '--local-rank', type=int, default=0, help='set by some launchers'
    )


class CfgOptions(argparse.Action):
    """mmengine's `DictAction`, which takes the spaces out of values, with errors for people."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: list[str],
        option_string: str | None = None,
    ) -> None:
        """Read `KEY=VALUE ...`."""
        options = dict(getattr(namespace, self.dest) or {})
        for value in join_lists(values):
            key, equals, text = value.partition('=')
            if not equals:
                raise UserError(
                    f'{option_string}: {value!r} is not KEY=VALUE; a list is written '
                    '"KEY=[a,b]", in quotes'
                )
            if text.startswith(('{', 'dict(')):
                raise UserError(
                    f'{option_string}: {value!r}: a dict is written by its keys, such as '
                    f'{key}.type=...'
                )
            try:
                options[key] = read_value(text)
            except ValueError as error:
                raise UserError(
                    f'{option_string}: {value!r}: {error}; write {key}="[a,b]", or quotes within '
                    'the quotes around text that begins with a bracket'
                ) from error
        setattr(namespace, self.dest, options)


def add_cfg_options(parser: argparse.ArgumentParser) -> None:
    """Add `--cfg-options`."""
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=CfgOptions,
        metavar='KEY=VALUE',
        help='override settings of the config, e.g. train_cfg.max_iters=100; a list is written '
        '"key=[a,b]", in quotes; values keep their spaces',
    )


def config_parser(description: str) -> argparse.ArgumentParser:
    """Make a parser with `config` and `--cfg-options`."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument('config', help='the config file')
    add_cfg_options(parser)
    return parser


def join_lists(values: list[str]) -> list[str]:
    """Join the parts of `KEY=[a,b]`, which PowerShell splits at commas outside quotes."""
    joined: list[str] = []
    for value in values:
        last = joined[-1] if joined else ''
        unfinished = any(last.count(a) > last.count(b) for a, b in ('[]', '()'))
        if unfinished and '=' not in value:
            joined[-1] += f',{value}'
        else:
            joined.append(value)
    return joined


def join_numbers(option: str, arguments: list[str]) -> list[str]:
    """Join the numbers after an option, `--gpus 0 1`, which is `--gpus 0,1` from PowerShell."""
    joined: list[str] = []
    for argument in arguments:
        number = bool(re.fullmatch(r'[\d,]+', argument))
        if number and len(joined) > 1 and joined[-2] == option:
            joined[-1] += f',{argument}'
        else:
            joined.append(argument)
    return joined


def at_least(least: float) -> Callable[[str], Any]:
    """Make a `type` for argparse: a number of the bound's own type, not below it."""

    def number(text: str) -> Any:
        try:
            value = type(least)(text)
        except ValueError:
            value = None
        if value is None or not least <= value < float('inf'):
            whole = 'whole ' if isinstance(least, int) else ''
            raise argparse.ArgumentTypeError(f'{text!r} is not a {whole}number from {least} up')
        return value

    return number


def export_local_rank(local_rank: int) -> None:
    """Give mmengine the rank where the launcher passes it as an argument."""
    os.environ.setdefault('LOCAL_RANK', str(local_rank))


def _is_closed_pipe(error: OSError) -> bool:
    # On Windows a write to a pipe that the reader has closed is an invalid argument.
    windows = sys.platform == 'win32' and error.errno == errno.EINVAL and error.filename is None
    return isinstance(error, BrokenPipeError) or windows


def _fail(message: str) -> int:
    print(f'error: {message}', file=sys.stderr)
    return EXIT_USER_ERROR


def user_message(error: UserError) -> str:
    """The one line of a user's mistake."""
    # A data-loading worker's error arrives with its traceback as the message.
    text = str(error)
    inner = re.findall(r'UserError: (.+)', text)
    return inner[-1] if inner else text
