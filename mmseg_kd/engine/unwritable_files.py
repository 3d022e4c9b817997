"""Files that a training writes but can do without, such as logs and pictures."""

from __future__ import annotations

import logging

from mmengine.logging import print_log

from mmseg_kd.command_line import OF_THE_SYSTEM


class UnwritableFiles:
    """Warn once for each writer and reason that a file cannot be written."""

    def __init__(self) -> None:
        self._reported: set[tuple[str, int]] = set()

    def warn(self, writer: str, error: OSError) -> None:
        """Warn that a writer failed; an error that is not about the disk is raised.

        Args:
            writer: The name of what writes the file.
            error: What it raised.
        """
        if error.errno not in OF_THE_SYSTEM:
            raise error
        if (writer, error.errno) in self._reported:
            return
        self._reported.add((writer, error.errno))
        print_log(
            f'{writer} cannot write {error.filename or "its file"} ({error.strerror}): '
            'training continues without it',
            logger='current',
            level=logging.WARNING,
        )
