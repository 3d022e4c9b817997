"""Run one measurement and write its rows after each."""

import json
import sys
from pathlib import Path
from typing import Any

from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope

from gpu_steps import device, real_loop, speed

MEASUREMENTS = {'device': device.describe, 'time': speed.steps, 'loop': real_loop.real_loop}

if __name__ == '__main__':
    name, where, file = sys.argv[1:]
    rows: list[dict[str, Any]] = []

    def record(**row: Any) -> None:
        """Add a row; a measurement that is stopped leaves those before."""
        rows.append(row)
        Path(file).write_text(json.dumps(rows), encoding='utf-8')

    init_default_scope('mmseg_kd')
    MMLogger.get_instance('gpu_check', log_level='ERROR')
    MEASUREMENTS[name](where, record)
