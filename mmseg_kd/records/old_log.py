"""The log of a training with mmsegmentation 0.x: `*.log.json` in its work_dir."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from mmseg_kd.records.json_lines import fits, read_json_lines
from mmseg_kd.records.literal_config import parse_literals

SUFFIX = '.log.json'
# What a line of an evaluation has besides the metrics.
OTHERS = ('mode', 'epoch', 'iter', 'lr', 'time', 'data_time', 'memory')


def rows_of_log(records: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield the lines of a log as `scalars.json` has them: with a step, metrics in percent.

    An evaluation's `iter` is its iteration in early versions and the number of images in later
    ones. It is the iteration where it lies within a log interval after the last line of training.
    """
    last = interval = 0
    for record in records:
        iteration = record.get('iter')
        if type(iteration) is not int:
            continue
        if record.get('mode') == 'train':
            interval, last = abs(iteration - last), iteration
            yield record | {'step': iteration}
        elif record.get('mode') == 'val':
            step = iteration if last < iteration <= last + interval else last
            metrics = {key: value for key, value in record.items() if key not in OTHERS}
            percent = {k: round(100 * v, 4) for k, v in metrics.items() if fits(v, (int, float))}
            yield percent | {'step': step}


def config_of_log(file: Path) -> dict[str, Any]:
    """Return the config in a log's first line, with the keys that a report reads.

    Raises:
        ValueError: It is not Python.
    """
    head = next(iter(read_json_lines(file)[0]), {})
    text = head.get('config')
    config = parse_literals(text) if isinstance(text, str) else {}
    runner = config.get('runner')
    length = runner.get('max_iters') if isinstance(runner, dict) else config.get('total_iters')
    seed = head.get('seed', config.pop('seed', None))
    return config | {'train_cfg': {'max_iters': length}, 'randomness': {'seed': seed}}
