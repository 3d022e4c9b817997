"""Who runs a training, and whether that process is still alive."""

from __future__ import annotations

import os
import platform
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil

# Seconds after which a silent worker on another machine counts as dead.
GRACE = 120.0
HEARTBEAT = 20.0
# A process' start time is computed from the clock; seconds by which the clock may be corrected.
CLOCK_MOVES = 5.0


def this_host() -> str:
    """Identify this machine or, inside a container, the container.

    Machines and containers may share a host name. On Linux the kernel's boot id and the process
    namespace are added to it. The boot time is not used, because it changes with the clock.
    """
    boot, namespace = Path('/proc/sys/kernel/random/boot_id'), Path('/proc/self/ns/pid')
    parts = [platform.node()]
    if boot.is_file():
        parts.append(boot.read_text(encoding='ascii').strip())
    if namespace.exists():
        parts.append(os.readlink(namespace))  # noqa: PTH115
    return ' '.join(parts)


def this_process() -> dict[str, object]:
    """Describe this process for `Watch.is_lost`."""
    return {'host': this_host(), 'processes': [_identity(os.getpid())]}


def with_child(owner: dict, pid: int) -> dict[str, object]:
    """Add the process that trains to an owner."""
    return {**owner, 'processes': [*owner['processes'][:1], _identity(pid)]}


def _identity(pid: int) -> list[float]:
    # Process ids are reused, so the start time is part of the identity.
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
    """Find out which owners are dead.

    On this host the process table answers at once. On another host only the heartbeat shows it.
    Clocks of two hosts differ, so the heartbeat carries no time; it is watched for a change.

    Attributes:
        grace: Seconds after which an unchanged heartbeat means that the owner is dead.
    """

    grace: float = GRACE
    _seen: dict[int, tuple[object, float]] = field(default_factory=dict)

    def is_lost(self, number: int, owner: dict | None, heartbeat: object) -> bool:
        """Return whether nobody works on a training any more.

        Args:
            number: Number of the trial.
            owner: As `this_process` returned it; None if the worker died before it was stored.
            heartbeat: A value that changes while the owner is alive.
        """
        if owner is not None and owner['host'] == this_host():
            return not any(_lives(*process) for process in owner['processes'])
        known, since = self._seen.get(number, (..., 0.0))
        if known != heartbeat:
            self._seen[number] = (heartbeat, time.monotonic())
            return False
        return time.monotonic() - since > self.grace
