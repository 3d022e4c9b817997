"""More runs from one: the files of a real work_dir, with other seeds and scores."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

# Weights are not read by a report without images.
LEFT_OUT = shutil.ignore_patterns('*.pth', 'events.*', 'last_checkpoint')


def copy_run(
    source: Path,
    target: Path,
    seed: int = 0,
    shift: float = 0.0,
    settings: Mapping[str, str] | None = None,
) -> Path:
    """Copy a work_dir with another seed, its metrics raised by `shift` points.

    The config names the new folder. Settings are replacements in its text.
    """
    shutil.copytree(source, target, ignore=LEFT_OUT)
    for file in target.glob('*/vis_data/scalars.json'):
        rows = [json.loads(line) for line in file.read_text().splitlines()]
        for row in rows:
            for name in ('mIoU', 'mIoU11', 'mAcc', 'aAcc'):
                if name in row:
                    row[name] = round(row[name] + shift, 4)
        file.write_text(''.join(json.dumps(row) + '\n' for row in rows))
    for file in target.glob('*/vis_data/config.py'):
        text = file.read_text().replace('seed=0', f'seed={seed}')
        assert repr(str(source)) in text
        text = text.replace(repr(str(source)), repr(str(target)))
        for old, new in (settings or {}).items():
            assert old in text
            text = text.replace(old, new)
        file.write_text(text)
    return target


def set_curve(folder: Path, scores: list[float], metric: str = 'mIoU11') -> None:
    """Give the evaluations of a work_dir these scores, one every 3 iterations."""
    (file,) = folder.glob('*/vis_data/scalars.json')
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    training = [row for row in rows if 'mIoU' not in row]
    template = next(row for row in rows if 'mIoU' in row)
    curve = [template | {metric: s, 'step': 3 * (i + 1)} for i, s in enumerate(scores)]
    file.write_text(''.join(json.dumps(row) + '\n' for row in training + curve))


def write_study(folder: Path, runs: list[dict], **content: object) -> Path:
    """Write the `study.json` of runs that are in the folder."""
    entries = [
        dict(state='done', error=None, config='local_configs/toy/segformer.b0.toy.py')
        | dict(options={}, params={}, needs={}, value=None, seconds=None, seed=0)
        | run
        for run in runs
    ]
    state = dict(name=folder.name, config='local_configs/studies/x.py', kind='list', space={})
    state |= dict(objective=dict(metric='mIoU11'), baseline=None)
    (folder / 'study.json').write_text(json.dumps(state | content | dict(runs=entries)))
    return folder
