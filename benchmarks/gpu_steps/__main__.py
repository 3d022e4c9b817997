"""Run one measurement and write its rows after each."""

import json
import sys
from pathlib import Path
from typing import Any

from gpu_steps import device, real_loop, speed
from measuring.command import be_quiet

MEASUREMENTS = {'device': device.describe, 'time': speed.steps, 'loop': real_loop.real_loop}

if __name__ == '__main__':
    name, where, file = sys.argv[1:]
    rows: list[dict[str, Any]] = []

    def record(**row: Any) -> None:
        """Add a row; a measurement that is stopped leaves those before."""
        rows.append(row)
        Path(file).write_text(json.dumps(rows), encoding='utf-8')

    be_quiet()
    MEASUREMENTS[name](where, record)
