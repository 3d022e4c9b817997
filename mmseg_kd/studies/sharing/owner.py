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
    if boot.is_file() and namespace.exists():
        parts += [boot.read_text(encoding='ascii').strip(), str(namespace.readlink())]
    return ' '.join(parts)


def this_process() -> dict[str, object]:
    """Describe this process for `Watch.is_lost`."""
    # Process ids are reused, so the start time is part of the identity.
    return {'host': this_host(), 'processes': [[os.getpid(), psutil.Process().create_time()]]}


def _lives(pid: int, created: float) -> bool:
    try:
        process = psutil.Process(int(pid))
        same = abs(process.create_time() - created) < CLOCK_MOVES
        return same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error as error:
        # A process that may not be looked at is there.
        return not isinstance(error, psutil.NoSuchProcess)


@dataclass
class Watch:
    """Find out which owners are dead.

    On this host the process table answers at once. On another host only the heartbeat shows it.
    Clocks of two hosts differ, so the heartbeat carries no time; it is watched for a change.

    Attributes:
        grace: Seconds after which an unchanged heartbeat means that the owner is dead.
    """

    grace: float = GRACE
    _seen: dict[object, float] = field(default_factory=dict)

    def is_lost(self, number: int, owner: dict | None, heartbeat: object) -> bool:
        """Return whether nobody works on a training any more.

        Args:
            number: Number of the trial.
            owner: As `this_process` returned it.
            heartbeat: A value that changes while the owner is alive.
        """
        if owner is not None and owner['host'] == this_host():
            return not any(_lives(*process) for process in owner['processes'])
        now = time.monotonic()
        return now - self._seen.setdefault((number, heartbeat), now) > self.grace
