"""Run one measurement and write the rows so far after each row."""

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
    be_quiet()
    for row in MEASUREMENTS[name](where):
        rows.append(row)
        # A measurement that is stopped leaves its first rows.
        Path(file).write_text(json.dumps(rows), encoding='utf-8')
