"""The exception for mistakes of the user, and parts of its messages."""

import difflib
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path


class UserError(Exception):
    """A mistake that the user can fix: a wrong path, key, file or value.

    The message is one line: what is wrong, where (config key, file, line),
    and what to write instead. The command-line tools print it without a
    traceback and exit with code 2.
    """


# Characters. Some messages of libraries contain a whole config.
LONGEST = 400


def one_line(error: BaseException | str, longest: int = LONGEST) -> str:
    """Return the message of a library's error in one line of at most `longest` characters."""
    text = ' '.join(str(error).split()) or type(error).__name__
    return text if len(text) <= longest else f'{text[:longest]}...'


@contextmanager
def user_errors(
    before: str, *kinds: type[BaseException], after: str = '', longest: int = LONGEST
) -> Iterator[None]:
    """Report errors of some kinds in this block as mistakes of the user.

    Args:
        before: The start of the message, before the error's own text.
        *kinds: The kinds of errors; others pass.
        after: The end of the message, for example what to write instead.
        longest: Characters of the error's own text, unless it is a UserError, which stays whole.

    Raises:
        UserError: There was an error of these kinds.
    """
    try:
        yield
    except kinds as error:
        text = str(error) if isinstance(error, UserError) else one_line(error, longest)
        raise UserError(f'{before}{text}{after}') from error


def no_file(path: str | Path) -> str:
    """Return the end of a sentence about a path that is not a file."""
    return 'is a folder; name the file in it' if Path(path).is_dir() else 'does not exist'


def did_you_mean(word: str, known: Iterable[str], otherwise: str = '') -> str:
    """Return "did you mean 'NAME'?" with the known name closest to a misspelt one.

    Args:
        word: The misspelt name; upper and lower case are not distinguished.
        known: The valid names.
        otherwise: Returned if no name is close.
    """
    names = {name.lower(): name for name in known}
    near = difflib.get_close_matches(str(word).lower(), names, n=1, cutoff=0.75)
    return f'did you mean {names[near[0]]!r}?' if near else otherwise


def unknown(names: Iterable[str], known: Collection[str], advice: str) -> Iterator[tuple[str, str]]:
    """Yield the names that are not among the known ones, each with `did_you_mean`."""
    return ((name, did_you_mean(name, known, advice)) for name in names if name not in known)
