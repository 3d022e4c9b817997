"""Who runs a training, and whether that process still lives."""

from __future__ import annotations

import os
import platform
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil

# A worker elsewhere that says nothing for so long is taken for dead, in seconds.
GRACE = 120.0
HEARTBEAT = 20.0
# When a process started is reckoned back from the clock too; seconds by which that may move.
CLOCK_MOVES = 5.0


def this_host() -> str:
    """This machine; inside a container, the container.

    On Linux machines and containers may share a name, so that the kernel's own mark of this start
    of the machine and the container's namespace follow. The time of the start is no mark: it is
    reckoned back from the clock, and moves with it.
    """
    boot, namespace = Path('/proc/sys/kernel/random/boot_id'), Path('/proc/self/ns/pid')
    parts = [platform.node()]
    if boot.is_file():
        parts.append(boot.read_text(encoding='ascii').strip())
    if namespace.exists():
        parts.append(os.readlink(namespace))  # noqa: PTH115
    return ' '.join(parts)


def this_process() -> dict[str, object]:
    """This process, as `Watch.is_lost` recognises it."""
    return {'host': this_host(), 'processes': [_identity(os.getpid())]}


def with_child(owner: dict, pid: int) -> dict[str, object]:
    """The same owner with the process that trains."""
    return {**owner, 'processes': [*owner['processes'][:1], _identity(pid)]}


def _identity(pid: int) -> list[float]:
    # Numbers of processes are used again; together with the start they are not.
    try:
        return [pid, psutil.Process(pid).create_time()]
    except psutil.Error:
        return [pid, 0.0]


def _lives(pid: int, created: float) -> bool:
    try:
        process = psutil.Process(int(pid))
        same = abs(process.create_time() - created) < CLOCK_MOVES
        return same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
    except psutil.Error:
        return True


@dataclass
class Watch:
    """Tells which owners are dead.

    On this host the process table says it at once. Of another host only its heartbeat is
    known, and no two hosts' clocks agree, so a heartbeat is watched for a change.

    Attributes:
        grace: For how many seconds a heartbeat may stay as it is.
    """

    grace: float = GRACE
    _seen: dict[int, tuple[object, float]] = field(default_factory=dict)

    def is_lost(self, number: int, owner: dict | None, heartbeat: object) -> bool:
        """Whether nobody works on a training any more.

        Args:
            number: The trial's.
            owner: As `this_process` gave it; None where the worker died before it said so.
            heartbeat: Anything that changes while the owner lives.
        """
        if owner is not None and owner['host'] == this_host():
            return not any(_lives(*process) for process in owner['processes'])
        known, since = self._seen.get(number, (..., 0.0))
        if known != heartbeat:
            self._seen[number] = (heartbeat, time.monotonic())
            return False
        return time.monotonic() - since > self.grace
