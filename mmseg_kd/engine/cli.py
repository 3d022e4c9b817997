"""What the command-line tools share: arguments, and errors for people."""

from __future__ import annotations

import argparse
import errno
import os
import re
import sys
import warnings
from collections.abc import Callable

from mmseg_kd.engine.option_values import read_value
from mmseg_kd.errors import UserError

EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130

# What a disk, or its owner, says: no error of the program's.
OF_THE_SYSTEM = frozenset(
    [errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.ENAMETOOLONG]
)

# Of libraries, on settings that are as they should be.
REMARKS = (
    'This DataLoader will create',
    '.*the method `get_instance` should not accept',
)


def run_tool(main: Callable[[], None]) -> None:
    """Run a tool's `main`; a user's mistake is one line and exit code 2, Ctrl-C is 130."""
    quiet_remarks()
    try:
        main()
    except UserError as error:
        sys.exit(_fail(user_message(error)))
    except BrokenPipeError:
        # The reader, `head` for one, has what it wanted; Python must not flush once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        if error.errno not in OF_THE_SYSTEM:
            raise
        sys.exit(_fail(f'{error.filename or "a file"}: {error.strerror}'))
    except KeyboardInterrupt:
        print('\ninterrupted', file=sys.stderr)
        sys.exit(EXIT_INTERRUPTED)


def quiet_remarks() -> None:
    """Keep libraries' remarks on settings that are as they should be from the user."""
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
        for value in values:
            key, equals, text = value.partition('=')
            if not equals:
                raise UserError(f'{option_string}: {value!r} is not KEY=VALUE')
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


def export_local_rank(local_rank: int) -> None:
    """Give mmengine the rank where the launcher passes it as an argument."""
    os.environ.setdefault('LOCAL_RANK', str(local_rank))


def _fail(message: str) -> int:
    print(f'error: {message}', file=sys.stderr)
    return EXIT_USER_ERROR


def user_message(error: UserError) -> str:
    """The one line of a user's mistake."""
    # A data-loading worker's error arrives with its traceback as the message.
    text = str(error)
    inner = re.findall(r'UserError: (.+)', text)
    return inner[-1] if inner else text
