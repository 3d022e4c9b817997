"""Stored measurements of teachers.

Measurements are stored in `<checkpoint>.card.json`, a list of records next to the checkpoint. Every
run with the same file, data, settings and device reads them. If that folder is read-only, only
`teacher.json` in the work_dir is written. A damaged file counts as missing.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.dist import broadcast_object_list, is_main_process
from torch.utils.data import DataLoader, Dataset

from mmseg_kd import __version__
from mmseg_kd.checkpoints import atomic_path
from mmseg_kd.distillation.teacher import Teacher
from mmseg_kd.records.json_lines import NUMBER, OPTIONAL_NUMBER, fits, read_json
from mmseg_kd.teacher_report.measurement import BINS

# What is measured; the other keys of a record say of what, or compare.
MEASURED = {
    'metrics': {str: NUMBER},
    'entropy': OPTIONAL_NUMBER,
    'ece': OPTIONAL_NUMBER,
    'deterministic': bool,
}


def identity_of(teacher: Teacher, cfg: Config, dataloader: DataLoader | None) -> dict[str, str]:
    """Return what a measurement depends on; the location of the files does not count."""
    data = 'none'
    if dataloader is not None:
        dataset = dataloader.dataset
        settings = _short_hash([cfg.val_dataloader.dataset, _files_of(dataset)])
        split = getattr(dataset, 'split', '')
        data = f'{type(dataset).__name__} {split}, {len(dataset)} images, {settings}'
    repeatable = [
        (cfg.get('randomness') or {}).get('deterministic', False),
        (cfg.get('env_cfg') or {}).get('cudnn_benchmark', False),
    ]
    # One file's weights can be read by two configs, of other heads or another test_cfg.
    settings = [teacher.model_cfg, cfg.get('val_evaluator'), BINS, repeatable, __version__]
    return {
        'sha256': teacher.sha256,
        'data': data,
        'settings': _short_hash(settings),
        'device': torch.cuda.get_device_name() if get_device() == 'cuda' else get_device(),
    }


def _files_of(dataset: Dataset) -> list[tuple[str, int, int]]:
    """Name, size and time of each image and label: a corrected label is other data."""
    samples = dataset.load_data_list() if hasattr(dataset, 'load_data_list') else []
    files = [Path(str(x.get(key))) for x in samples for key in ('img_path', 'seg_map_path')]
    return [(f.name, f.stat().st_size, f.stat().st_mtime_ns) for f in files if f.is_file()]


def _short_hash(settings: Any) -> str:
    # A config that was written out and read again has its keys in another order.
    text = json.dumps(settings, sort_keys=True, default=repr)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def look_up(
    teacher: Teacher, identity: dict[str, str], work_dir: str | Path | None
) -> tuple[dict[str, Any], Path] | None:
    """Return the record of an earlier measurement and its file; None where there is none."""
    # One process decides: on a network folder another may not see the file yet.
    found: list[tuple[dict, Path] | None] = [None]
    if is_main_process():
        files = [_cache_file(teacher)]
        files += [Path(work_dir) / 'teacher.json'] if work_dir is not None else []
        known = ((record, file) for file in files for record in _records(file))
        found = [next((pair for pair in known if identity.items() <= pair[0].items()), None)]
    broadcast_object_list(found)
    return found[0]


def keep(teacher: Teacher, identity: dict[str, str], record: dict[str, Any]) -> None:
    """Store a record next to the teacher, replacing an older one of its identity."""
    if is_main_process():
        file = _cache_file(teacher)
        others = [r for r in _records(file) if not identity.items() <= r.items()]
        # Teachers may lie in a read-only folder; the work_dir's record is read as well.
        with suppress(OSError), atomic_path(file) as partial:
            partial.write_text(json.dumps([*others, record], indent=2), encoding='utf-8')


def _cache_file(teacher: Teacher) -> Path:
    return Path(f'{teacher.checkpoint}.card.json')


def _records(file: Path) -> list[dict[str, Any]]:
    """Read the measurements in a file; a damaged one holds none."""
    try:
        content = read_json(file.read_text(encoding='utf-8'))
    except (OSError, ValueError):
        return []
    if isinstance(content, dict):
        # teacher.json: a record, or one for each teacher.
        content = [content] if 'sha256' in content else list(content.values())
    records = content if isinstance(content, list) else []
    return [record for record in records if fits(record, MEASURED) and record['metrics']]
