"""What is written for the user: one exception, and words for it."""

from __future__ import annotations

from pathlib import Path


class UserError(Exception):
    """A mistake the user can mend: a wrong path, key, file or value.

    The message is one line: what is wrong, where (config key, file, line),
    and what to write instead. The command-line tools print it without a
    traceback and exit with code 2.
    """


# Characters: some messages of libraries hold a whole config.
LONGEST = 400


def one_line(error: BaseException) -> str:
    """The message of a library's error in one line of bearable length."""
    text = ' '.join(str(error).split()) or type(error).__name__
    return text if len(text) <= LONGEST else f'{text[:LONGEST]}...'


def no_file(path: str | Path) -> str:
    """Say of a path that is no file what it is, to end a sentence that begins with it."""
    return 'is a folder; name the file in it' if Path(path).is_dir() else 'does not exist'
