"""Arguments and error messages that the command-line tools share."""

import argparse
import ast
import errno
import logging
import os
import re
import sys
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.logging import MMLogger

from mmseg_kd.config.loading import load_config
from mmseg_kd.errors import UserError, user_errors

EXIT_USER_ERROR = 2

# Errors of the disk or of permissions, not of the program.
OF_THE_SYSTEM = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT}
# A disk or a network drive that fails or is gone.
OF_THE_SYSTEM |= {errno.EIO, errno.ENODEV, errno.ESTALE, errno.ETIMEDOUT}
# A folder where a file is to be written, or the other way round; a name that is too long.
OF_THE_SYSTEM |= {errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG}
# Windows' code for a name with a character such as ? or :; its errno is EINVAL.
INVALID_NAME = 123

# An item of a list: text in quotes, or text without brackets and commas.
ITEM = re.compile(r'\s*(?:"[^"]*"|\'[^\']*\'|[^][(),]+)\s*')
# A list without brackets. Its items are numbers, names or lists, because a comma may also be a part
# of a path or a sentence.
PLAIN_ITEM = r'([\w.+-]+|[\[(].*[\])])'
PLAIN_LIST = re.compile(rf'{PLAIN_ITEM}(\s*,\s*{PLAIN_ITEM})+')


def run_tool(main: Callable[[], None]) -> None:
    """Run a tool's `main`, and report a user's mistake in one line.

    The exit code is 2 for a user's mistake and 130 for Ctrl-C.
    """
    prepare_process()
    message = None
    try:
        main()
        distributed = sys.modules.get('torch.distributed')
        if distributed and distributed.is_available() and distributed.is_initialized():
            # The threads of an open process group can abort the process when it exits.
            distributed.destroy_process_group()
        sys.stdout.flush()
    except UserError as error:
        message = user_message(error)
    except OSError as error:
        # On Windows a write to a pipe that the reader has closed raises EINVAL.
        if error.errno in (errno.EPIPE, errno.EINVAL) and _output_is_closed():
            # A reader such as `head` stopped early. Python must not flush to its pipe at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        elif (message := system_message(error)) is None:
            raise
    except KeyboardInterrupt:
        print('\ninterrupted', file=sys.stderr)
        sys.exit(130)
    if message is not None:
        print(f'error: {message}', file=sys.stderr)
        sys.exit(EXIT_USER_ERROR)


def system_message(error: BaseException) -> str | None:
    """Return the one line that reports an error of a disk or of permissions; None for others."""
    of_the_system = getattr(error, 'errno', None) in OF_THE_SYSTEM
    if not of_the_system and getattr(error, 'winerror', None) != INVALID_NAME:
        return None
    # `filename2` is the new name in a rename.
    return f'{error.filename2 or error.filename or "a file"}: {error.strerror}'


def _output_is_closed() -> bool:
    """Return whether printing fails; a broken pipe may also be that of another process."""
    try:
        print(flush=True)
    except OSError:
        return True
    return False


def prepare_process() -> None:
    """Prepare this process for a tool or a training, on every system and console.

    - A character that the console's encoding lacks is printed as an escape. Redirected output on
      a Korean Windows is cp949, which lacks accents and many Chinese characters.
    - Spawned workers import what they unpickle, not the tool's own module with all its imports.
    - Warnings of libraries about settings that are intended are hidden.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, 'reconfigure'):
            stream.reconfigure(errors='backslashreplace')
    # `multiprocessing` uses one of these to import the main module in a spawned process.
    main = sys.modules['__main__']
    main.__spec__ = None
    vars(main).pop('__file__', None)
    # Otherwise a full disk prints a traceback for every log line.
    logging.raiseExceptions = False
    for remark in (
        'This DataLoader will create', '.*`get_instance` should not accept', 'The draw is False',
        'Multi-processing start method', 'Argument ``group`` is an experimental feature',
        'Detected call of `scheduler.step', 'The shape of value will convert',
    ):  # fmt: skip
        warnings.filterwarnings('ignore', message=remark)


class CfgOptions(argparse.Action):
    """Replace mmengine's `DictAction`: keep spaces in values, and report mistakes in one line."""

    def __call__(self, parser: Any, namespace: Any, values: list[str], *_: Any) -> None:
        """Read `KEY=VALUE ...`."""
        options = dict(getattr(namespace, self.dest) or {})
        for value in join_lists(values):
            where = f'--cfg-options: {value!r}'
            key, equals, text = value.partition('=')
            if not equals:
                raise UserError(f'{where} is not KEY=VALUE; write a list as "KEY=[a,b]", in quotes')
            if text.startswith(('{', 'dict(')):
                raise UserError(f'{where}: write a dict by its keys, such as {key}.type=...')
            advice = f"""; write {key}="[a,b]", or {key}="'[a'" for text with a bracket"""
            with user_errors(f'{where}: ', ValueError, after=advice):
                options[key] = read_value(text)
        setattr(namespace, self.dest, options)


def read_value(text: str) -> Any:
    """Read the value of `KEY=VALUE`.

    A value in brackets is a list, and one in parentheses a tuple. They can be nested, and commas
    separate their items. Without brackets `a,b` is a list only if every item is a number or a name,
    as in `0.9,0.999` and `stage3,stage4`; a comma in a path or a sentence belongs to the text.
    Numbers, True, False and None are read as Python values. Everything else is text and keeps its
    spaces. In quotes, a value or an item keeps its commas and brackets.

    Raises:
        ValueError: A bracket is not closed, or closes another one.
    """
    text = text.strip()
    quoted = re.fullmatch(r'"[^"]*"|\'[^\']*\'', text)
    text = text[1:-1] if quoted else text
    plain = not quoted and PLAIN_LIST.fullmatch(text)
    if plain or text.startswith(('[', '(')):
        try:
            value = ast.literal_eval(ITEM.sub(_literal, text))
            return list(value) if plain else value
        except (SyntaxError, ValueError) as error:
            balanced = all(text.count(opening) == text.count(end) for opening, end in ('[]', '()'))
            if not balanced or text.endswith((']', ')')):
                raise ValueError('its brackets do not make a list') from error
    for kind in (int, float):
        with suppress(ValueError):
            return kind(text)
    return None if text == 'None' else {'true': True, 'false': False}.get(text.lower(), text)


def _literal(item: re.Match) -> str:
    """Return an item of a list as a Python literal, or '' for blanks between brackets."""
    return repr(read_value(item[0])) if item[0].strip() else ''


def add_cfg_options(parser: argparse.ArgumentParser) -> None:
    """Add `--cfg-options`."""
    help_ = 'override settings, e.g. train_cfg.max_iters=100; a list in quotes: "key=[a,b]"'
    kind = dict(nargs='+', action=CfgOptions, metavar='KEY=VALUE')
    parser.add_argument('--cfg-options', help=help_, **kind)


def config_parser(description: str) -> argparse.ArgumentParser:
    """Make a parser with `config` and `--cfg-options`."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument('config', help='the config file')
    add_cfg_options(parser)
    return parser


def parse_with_config(parser: argparse.ArgumentParser) -> tuple[argparse.Namespace, Config]:
    """Read the command line of a tool that prints its results, and its config.

    Afterwards only errors are logged, so that log lines about models and weights do not mix with
    the results.
    """
    args = parser.parse_args()
    cfg = load_config(args.config, args.cfg_options)
    MMLogger.get_current_instance().setLevel('ERROR')
    return args, cfg


def parse_run(parser: argparse.ArgumentParser) -> tuple[argparse.Namespace, Config]:
    """Read the command line of a training or a test, and its config.

    Adds the arguments that both share, named as in mmsegmentation, and applies them: the work_dir,
    the launcher, and the local rank if the launcher passes it as an argument.
    """
    add = parser.add_argument
    add('--work-dir', help='where logs, checkpoints and metrics go')
    launchers, text = ('none', 'pytorch', 'slurm', 'mpi'), 'how several processes were started'
    add('--launcher', choices=launchers, default='none', help=text)
    add('--local_rank', '--local-rank', default='0', help='set by some launchers')
    args = parser.parse_args()
    cfg = load_config(args.config, args.cfg_options)
    cfg.launcher = args.launcher
    if args.work_dir is not None:
        cfg.work_dir = args.work_dir
    os.environ.setdefault('LOCAL_RANK', args.local_rank)
    return args, cfg


def image_parser(description: str, count: int, help_: str) -> argparse.ArgumentParser:
    """Make a parser for a tool that draws predictions of a student.

    It has `config`, `checkpoint`, `--out`, `--split`, and `--images N` or `--names STEM ...`.

    Args:
        description: What the tool does.
        count: Default of `--images`.
        help_: Help of `--images`.
    """
    parser = config_parser(description)
    add = parser.add_argument
    add('checkpoint', help="the student's checkpoint")
    add('--out', type=Path, required=True, metavar='DIR', help='a new folder for the pictures')
    add('--split', choices=('train', 'val', 'test'), help="default: the config's val")
    images = parser.add_mutually_exclusive_group()
    images.add_argument('--images', type=at_least(1), default=count, metavar='N', help=help_)
    images.add_argument('--names', nargs='+', metavar='STEM', help='file names without suffix')
    return parser


def join_lists(values: list[str]) -> list[str]:
    """Join the parts of `KEY=[a,b]`, which PowerShell splits at commas outside quotes."""
    joined = values[:1]
    for value in values[1:]:
        opened = any(joined[-1].count(a) > joined[-1].count(b) for a, b in ('[]', '()'))
        belongs = opened and '=' not in value
        joined[-1:] = [f'{joined[-1]},{value}'] if belongs else [joined[-1], value]
    return joined


def at_least(least: int) -> Callable[[str], int]:
    """Make a `type` for argparse: a whole number that is not below `least`."""

    def number(text: str) -> int:
        with suppress(ValueError):
            if (value := int(text)) >= least:
                return value
        raise argparse.ArgumentTypeError(f'{text!r} is not a whole number from {least} up')

    return number


def user_message(error: UserError) -> str:
    """Return the one line that reports a user's mistake."""
    # A data-loading worker's error arrives with its traceback as the message.
    return re.findall(r'UserError: (.+)', f'UserError: {error}')[-1]
