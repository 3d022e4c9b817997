"""A work_dir belongs to one training process at a time."""

from __future__ import annotations

import errno
import json
import os
import platform
from datetime import datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from mmengine.dist import broadcast_object_list, is_main_process

from mmseg_kd.checkpoints import atomic_path, retry_locked
from mmseg_kd.errors import UserError

# Seconds to wait for a process that was just stopped.
PATIENCE = 3

# What network file systems say that are mounted without locks.
WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)

STARTED = datetime.now().astimezone().isoformat(sep=' ', timespec='seconds')


class WorkDirLock:
    """Hold a work_dir, by a lock of the operating system that ends with the process.

    The lock is on the file `.lock`. Process, host and start are in `.lock.json`, for messages
    alone. Runners of one process share the lock.

    Args:
        work_dir: The folder; it exists.

    Raises:
        UserError: Another process trains there.
    """

    def __init__(self, work_dir: str | Path) -> None:
        self._work_dir = Path(work_dir)
        self._record = self._work_dir / '.lock.json'
        self._owner = {'pid': os.getpid(), 'host': platform.node(), 'started': STARTED}
        self._lock = FileLock(self._work_dir / '.lock', thread_local=False, is_singleton=True)
        try:
            self._lock.acquire(timeout=PATIENCE)
        except Timeout:
            owner, who = self._read(), 'another process'
            if isinstance(owner, dict):
                # The file may hold anything.
                who = 'process {} on {} since {}'.format(
                    *(ascii(owner.get(key)).strip("'") for key in self._owner)
                )
            raise UserError(
                f'{work_dir} is in use by {who}: wait until it ends, stop it, or choose another '
                '--work-dir'
            ) from None
        except OSError as error:
            if error.errno not in WITHOUT_LOCKS:
                raise
            print(f'the file system of {work_dir} has no locks: start no second training there')
        with atomic_path(self._record) as partial:
            partial.write_text(json.dumps(self._owner), encoding='utf-8')

    def check(self) -> None:
        """Raise UserError where the folder was removed, or replaced by that of another run."""
        if self._read() != self._owner:
            raise UserError(f'{self._work_dir} was removed or replaced while the training ran')

    def release(self) -> None:
        """Give the work_dir back."""
        self._lock.release()

    def _read(self) -> Any:
        try:
            return json.loads(retry_locked(self._record.read_text, encoding='utf-8'))
        except (FileNotFoundError, NotADirectoryError, ValueError, RecursionError):
            return None


def lock_work_dir(work_dir: str) -> WorkDirLock | None:
    """Lock the work_dir; the main process does it for all, and the others get None.

    Raises:
        UserError: Another training uses the work_dir; in every process.
    """
    lock = None
    refusal: list[str | None] = [None]
    if is_main_process():
        try:
            lock = WorkDirLock(work_dir)
        except UserError as error:
            refusal = [str(error)]
    broadcast_object_list(refusal)
    if refusal[0]:
        raise UserError(refusal[0])
    return lock
