"""The one exception that is written for the user."""

from __future__ import annotations


class UserError(Exception):
    """A mistake the user can mend: a wrong path, key, file or value.

    The message is one line: what is wrong, where (config key, file, line),
    and what to write instead. The command-line tools print it without a
    traceback and exit with code 2.
    """
