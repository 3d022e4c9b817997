"""A figure of the images on which a student differs most from the baseline."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import ConfigDict
from mmengine.device import get_device
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS
from tqdm import tqdm

from mmseg_kd import register_all
from mmseg_kd.checkpoints import read_checkpoint
from mmseg_kd.config.errors import config_errors
from mmseg_kd.distillation.teacher import Teacher
from mmseg_kd.evaluation.segmentation_metric import confusion_matrix, iou_and_accuracy
from mmseg_kd.records.literal_config import parse_buildable
from mmseg_kd.records.message import Message, message
from mmseg_kd.records.run_record import RunRecord
from mmseg_kd.reports.comparing.collection import Collection
from mmseg_kd.visualization import Panel, prediction_grid

IGNORED = 255
# Characters of each piece of code in a note.
MOST_CODE = 80
BETTER, WORSE = (0, 158, 115), (213, 94, 0)


@dataclass(frozen=True)
class Chosen:
    """An image, why it is shown ('improved', 'damaged' or 'median'), and its difference."""

    index: int
    kind: str
    difference: float


def comparable_pair(collection: Collection) -> tuple[RunRecord, RunRecord] | None:
    """Return runs of the baseline and the best student that have a seed and checkpoints."""
    if collection.baseline is None:
        return None
    students = [run for group in collection.students for run in group.counted]
    for run, other in itertools.product(students, collection.baseline.counted):
        pair = (other, run)
        there = all(r.best_checkpoint(collection.metric) and _config_file(r) for r in pair)
        if run.seed == other.seed and there:
            return pair
    return None


def choose_images(differences: Sequence[float], count: int) -> list[Chosen]:
    """Choose the images that gained most, lost most, and lie in the middle, each once.

    Args:
        differences: Student minus baseline of each image, in points of mIoU; NaN is ignored.
        count: Number of images of each kind.
    """
    order = [int(i) for i in np.argsort(differences) if np.isfinite(differences[i])]
    middle = max(0, len(order) // 2 - count // 2)
    kinds = {
        'improved': order[::-1][:count],
        'damaged': order[:count],
        'median': order[middle : middle + count],
    }
    chosen: dict[int, Chosen] = {}
    for kind, indices in kinds.items():
        for i in indices:
            chosen.setdefault(i, Chosen(i, kind, float(differences[i])))
    return list(chosen.values())


@torch.no_grad()
def draw_images(
    baseline: RunRecord,
    student: RunRecord,
    count: int,
    file: Path,
    metric: str,
    notes: list[Message] | None = None,
) -> list[tuple[str, Chosen]]:
    """Predict the validation split with two runs and draw the images that differ most.

    Columns are the input, the truth, the baseline, the teacher where there is one, the student,
    and where student and baseline differ: green where the student alone is right, orange where
    the baseline alone is.

    Args:
        baseline: Run of the baseline, with its best checkpoint and config.
        student: Run of the student; its config names the images.
        count: Number of images of each kind.
        file: Where to write the PNG.
        metric: The metric that chooses the checkpoints.
        notes: Receives notes on code in the configs that was left out.

    Returns:
        File name and choice of each row, from top to bottom.

    Raises:
        UserError: A checkpoint, the data or the teacher is missing or does not fit.
    """
    register_all()
    init_default_scope('mmseg_kd')
    # The report itself names the loaded weights.
    MMLogger.get_instance(f'report {uuid.uuid4()}', log_level='ERROR')
    notes = [] if notes is None else notes
    cfg = _config(student, notes)
    with config_errors():
        dataset = DATASETS.build(cfg.val_dataloader.dataset)
        classes, palette = dataset.metainfo['classes'], dataset.metainfo['palette']
        models = {
            'baseline': _model(_config(baseline, notes).model, baseline, metric),
            'student': _model(cfg.model, student, metric),
        }
    scores = np.full((2, len(dataset)), np.nan)
    # None: no bar where standard error is not a terminal.
    for i in tqdm(range(len(dataset)), 'images', leave=False, disable=None):
        sample = dataset[i]
        label = sample['data_samples'].gt_sem_seg.data[0]
        for j, model in enumerate(models.values()):
            scores[j, i] = _miou(label, _predict(model, sample), len(classes))
    chosen = choose_images(scores[1] - scores[0], count)
    with config_errors():
        teacher = _teacher(cfg, notes)
    if teacher is not None:
        models = {'baseline': models['baseline'], 'teacher': teacher, 'student': models['student']}
    samples = [dataset[choice.index] for choice in chosen]
    prediction_grid([_row(sample, models) for sample in samples], classes, palette, file)
    names = [Path(sample['data_samples'].img_path).name for sample in samples]
    return list(zip(names, chosen, strict=True))


def _row(sample: Mapping[str, Any], models: Mapping[str, torch.nn.Module]) -> list[Panel]:
    image = sample['inputs'].permute(1, 2, 0).numpy()[..., ::-1]
    label = sample['data_samples'].gt_sem_seg.data[0]
    predictions = {name: _predict(model, sample) for name, model in models.items()}
    panels = [Panel('input', image), Panel('ground truth', labels=label)]
    panels += [Panel(name, labels=prediction) for name, prediction in predictions.items()]
    difference = difference_picture(
        *(np.asarray(x) for x in (label, predictions['baseline'], predictions['student']))
    )
    return [*panels, Panel('student vs baseline', difference)]


def difference_picture(label: np.ndarray, baseline: np.ndarray, student: np.ndarray) -> np.ndarray:
    """Colour the pixels where exactly one of two predictions is right.

    Args:
        label: True ids (H, W), 255 for void.
        baseline: Predicted ids (H, W).
        student: Predicted ids (H, W).

    Returns:
        RGB (H, W, 3): green where the student alone is right, orange where the baseline alone
        is, pale grey elsewhere, white for void.
    """
    picture = np.full((*label.shape, 3), 225, dtype=np.uint8)
    picture[(student == label) & (baseline != label)] = BETTER
    picture[(student != label) & (baseline == label)] = WORSE
    picture[label == IGNORED] = 255
    return picture


def _read(text: str, source: Path, notes: list[Message]) -> ConfigDict:
    """Read a config without running it, because it may be a stranger's; note its code."""
    cfg, left_out = parse_buildable(text, source)
    if left_out:
        code = ', '.join(' '.join(part.split())[:MOST_CODE] for part in left_out[:3])
        notes.append(
            message(
                '{file}: code in a config is not run and left out: {code}', file=source, code=code
            )
        )
    return cfg


def _config(run: RunRecord, notes: list[Message]) -> ConfigDict:
    file = _config_file(run)
    return _read(file.read_text(encoding='utf-8'), file, notes)


def _model(model: ConfigDict, run: RunRecord, metric: str) -> torch.nn.Module:
    # Without these keys a student is the plain model.
    plain = {key: part for key, part in model.items() if key not in ('teacher', 'kd_losses')}
    return Teacher(plain, str(run.best_checkpoint(metric)[0])).segmentor.to(get_device())


def _teacher(cfg: ConfigDict, notes: list[Message]) -> torch.nn.Module | None:
    setting = cfg.model.get('teacher')
    if not setting or 'checkpoint' not in setting or not Path(setting.checkpoint).is_file():
        return None
    model = setting.config
    if not isinstance(model, dict):
        model = _teacher_model(Path(setting.config), Path(setting.checkpoint), notes)
    return Teacher(model, setting.checkpoint).segmentor.to(get_device()) if model else None


def _teacher_model(config: Path, checkpoint: Path, notes: list[Message]) -> ConfigDict | None:
    """Return the teacher's model dict from its config if written out, else from its checkpoint."""
    if config.is_file():
        cfg, left_out = parse_buildable(config.read_text(encoding='utf-8'), config)
        if 'model' in cfg and '_base_' not in cfg and not left_out:
            return cfg.model
    meta = read_checkpoint(checkpoint).get('meta')
    text = meta.get('cfg') if isinstance(meta, dict) else None
    model = _read(text, checkpoint, notes).get('model') if isinstance(text, str) else None
    if model is None:
        notes.append(
            message(
                "{file}: the teacher's config is code, which a report does not run; the teacher "
                'is left out of the images.',
                file=config,
            )
        )
    return model


def _predict(model: torch.nn.Module, sample: Mapping[str, Any]) -> torch.Tensor:
    batch = {'inputs': [sample['inputs']], 'data_samples': [sample['data_samples'].clone()]}
    return model.test_step(batch)[0].pred_sem_seg.data[0].cpu()


def _miou(label: torch.Tensor, prediction: torch.Tensor, classes: int) -> float:
    iou, _ = iou_and_accuracy(confusion_matrix(label, prediction, classes).double())
    return 100 * float(iou.nanmean())


def _config_file(run: RunRecord) -> Path | None:
    files = sorted(run.source.glob('*/vis_data/config.py'))
    return files[-1] if files else None
