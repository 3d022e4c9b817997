"""The models of a report, loaded without running code from their files; their size and speed."""

import json
import time
from pathlib import Path
from statistics import median
from typing import NamedTuple
from uuid import uuid4

import torch
from mmengine.device import get_device
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope
from torch import nn

from mmseg_kd import register_all
from mmseg_kd.config.errors import config_errors
from mmseg_kd.distillation.teacher import without_distillation
from mmseg_kd.errors import UserError
from mmseg_kd.records.message import message
from mmseg_kd.records.run_record import RunRecord
from mmseg_kd.reports.comparing.collection import Collection

# The config that a start of a run writes out.
CONFIGS = '*/vis_data/config.py'
# Forward passes that are timed, after some that are not.
WARM_UP, TIMED = 3, 10
DEFAULT_SIZE = (512, 512)
# Errors that mean that a model or its data cannot be used. A training may hold the memory.
UNUSABLE = (UserError, OSError, KeyError, MemoryError, torch.OutOfMemoryError)


class ModelSize(NamedTuple):
    """Parameters in millions, GMACs of one image, and milliseconds of its forward pass."""

    parameters: float
    gmacs: float
    milliseconds: float


def model_sizes(collection: Collection) -> dict[str, ModelSize]:
    """Count and time the model of each group that has a checkpoint, each architecture once.

    Models that cannot be built are left out, with a note.
    """
    found: dict[str, ModelSize] = {}
    known: dict[str, ModelSize | None] = {}
    for group in collection.ranked:
        run = next((r for r in group.counted if loadable(r, collection.metric)), None)
        if run is None:
            continue
        plain = without_distillation(run.setting('model') or {})
        plain['type'] = str(plain.get('type')).removeprefix('KD')
        key = json.dumps(plain, sort_keys=True, default=repr)
        if key not in known:
            known[key] = _size(run, collection)
        if known[key] is not None:
            found[group.name] = known[key]
    return found


def _size(run: RunRecord, collection: Collection) -> ModelSize | None:
    prepare()
    # Imported only if needed, because it takes 120 MB and a second; mmcv's notes are hidden above.
    from mmseg_kd.models.complexity import measure_complexity

    try:
        with config_errors():
            model = load_model(run.best_checkpoint(collection.metric)[0])
            size = tuple(run.setting('model', 'data_preprocessor', 'size') or DEFAULT_SIZE)
            channels = run.setting('model', 'backbone', 'in_channels') or 3
            total = measure_complexity(model, size, channels)[-1]
            image = torch.zeros(1, channels, *size, device=get_device())
            return ModelSize(total.parameters / 1e6, total.macs / 1e9, _milliseconds(model, image))
    except (*UNUSABLE, AttributeError) as error:
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
    """Return whether a run has a checkpoint and a config file, which runs of mmseg 0.x lack."""
    return run.best_checkpoint(metric) is not None and any(run.source.glob(CONFIGS))


def load_model(checkpoint: str | Path) -> nn.Module:
    """Load the model of a checkpoint without its distillation, from the config inside it.

    Raises:
        UserError: The checkpoint cannot be read or holds no config, or the model cannot be built.
    """
    # Imported late, as above.
    from mmseg_kd.deployment.segmentor import load_segmentor

    return load_segmentor(checkpoint).model.to(get_device())
