"""The models of a report, loaded without running their configs, and their size and speed."""

from __future__ import annotations

import json
import time
from pathlib import Path
from statistics import median
from typing import NamedTuple
from uuid import uuid4

import torch
from mmengine.config import ConfigDict
from mmengine.device import get_device
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope
from torch import nn

from mmseg_kd import register_all
from mmseg_kd.checkpoints import read_checkpoint
from mmseg_kd.config.errors import config_errors
from mmseg_kd.distillation.teacher import Teacher, without_distillation
from mmseg_kd.errors import UserError
from mmseg_kd.records.literal_config import parse_buildable
from mmseg_kd.records.message import Message, message
from mmseg_kd.records.run_record import RunRecord
from mmseg_kd.reports.comparing.collection import Collection

# Characters of each piece of code in a note.
MOST_CODE = 80
# Forward passes that are timed, after some that are not.
WARM_UP, TIMED = 3, 10
DEFAULT_SIZE = (512, 512)


class ModelSize(NamedTuple):
    """Parameters in millions, GMACs of one image, and milliseconds of its forward pass."""

    parameters: float
    gmacs: float
    milliseconds: float


def model_sizes(collection: Collection) -> dict[str, ModelSize]:
    """Count and time the model of each group that has a checkpoint, each architecture once.

    Models that cannot be built are left out, with a note.
    """
    found: dict[str, ModelSize | None] = {}
    known: dict[str, ModelSize | None] = {}
    for group in collection.ranked:
        run = next((r for r in group.counted if loadable(r, collection.metric)), None)
        if run is None:
            continue
        model = run.setting('model') or {}
        plain = without_distillation(model)
        plain['type'] = str(plain.get('type')).removeprefix('KD')
        key = json.dumps(plain, sort_keys=True, default=repr)
        if key not in known:
            known[key] = _size(run, collection)
        found[group.name] = known[key]
    return {name: size for name, size in found.items() if size is not None}


def _size(run: RunRecord, collection: Collection) -> ModelSize | None:
    # A report without models needs neither these 120 MB nor the second.
    from mmseg_kd.models.complexity import measure_complexity

    prepare()
    try:
        with config_errors():
            config = config_of(run, collection.notes)
            model = load_model(config.model, run.best_checkpoint(collection.metric)[0])
            size = tuple((config.model.get('data_preprocessor') or {}).get('size') or DEFAULT_SIZE)
            channels = config.model.backbone.get('in_channels', 3)
            total = measure_complexity(model, size, channels)[-1]
            image = torch.zeros(1, channels, *size, device=get_device())
            return ModelSize(total.parameters / 1e6, total.macs / 1e9, _milliseconds(model, image))
    except (UserError, OSError, KeyError, AttributeError) as error:
        name = run.source.as_posix()
        collection.notes.append(message('{name}: no GMACs: {error}', name=name, error=error))
        return None


@torch.no_grad()
def _milliseconds(model: nn.Module, image: torch.Tensor) -> float:
    times = []
    for _ in range(WARM_UP + TIMED):
        started = time.perf_counter()
        model(image, mode='tensor')
        if image.is_cuda:
            torch.cuda.synchronize()
        times.append(time.perf_counter() - started)
    return 1000 * median(times[WARM_UP:])


def prepare() -> None:
    """Register all types, and keep the log quiet: the report itself names the loaded weights."""
    register_all()
    init_default_scope('mmseg_kd')
    MMLogger.get_instance(f'report {uuid4()}', log_level='ERROR')


def loadable(run: RunRecord, metric: str) -> bool:
    """Return whether a run has a checkpoint and a config."""
    return run.best_checkpoint(metric) is not None and _config_file(run) is not None


def config_of(run: RunRecord, notes: list[Message]) -> ConfigDict:
    """Read the config of a run without running it, because it may be a stranger's; note its code.

    Raises:
        UserError: It is not Python, or names a type that is not registered.
    """
    file = _config_file(run)
    return _read(file.read_text(encoding='utf-8'), file, notes)


def _config_file(run: RunRecord) -> Path | None:
    return max(run.source.glob('*/vis_data/config.py'), default=None)


def _read(text: str, source: Path, notes: list[Message]) -> ConfigDict:
    cfg, left_out = parse_buildable(text, source)
    if left_out:
        code = ', '.join(' '.join(part.split())[:MOST_CODE] for part in left_out[:3])
        note = message(
            '{file}: code in a config is not run and left out: {code}', file=source, code=code
        )
        notes.append(note)
    return cfg


def load_model(model: ConfigDict, checkpoint: str | Path) -> nn.Module:
    """Load a model without its distillation.

    Raises:
        UserError: The checkpoint is missing or does not fit.
    """
    return Teacher(without_distillation(model), str(checkpoint)).segmentor.to(get_device())


def load_teacher(cfg: ConfigDict, notes: list[Message]) -> nn.Module | None:
    """Load the teacher, whose model is in the student's config or in its own checkpoint."""
    setting = cfg.model.get('teacher') or {}
    checkpoint = Path(setting.get('checkpoint', ''))
    if not checkpoint.is_file():
        return None
    if isinstance(setting.config, dict):
        return load_model(setting.config, checkpoint)
    meta = read_checkpoint(checkpoint).get('meta')
    text = meta.get('cfg') if isinstance(meta, dict) else None
    model = _read(text, checkpoint, notes).get('model') if isinstance(text, str) else None
    if model is not None:
        return load_model(model, checkpoint)
    lead = message('{file}: holds no config: the teacher is left out.', file=checkpoint)
    notes.append(lead)
    return None
