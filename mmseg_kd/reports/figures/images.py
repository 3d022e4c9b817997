"""The section on the images on which a student differs most from the baseline."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
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
from mmseg_kd.errors import UserError
from mmseg_kd.evaluation.segmentation_metric import confusion_matrix, iou_and_accuracy
from mmseg_kd.records.literal_config import parse_buildable
from mmseg_kd.records.message import Message, message, messages
from mmseg_kd.records.run_record import RunRecord
from mmseg_kd.reports.comparing.collection import Collection, run_name
from mmseg_kd.reports.writing.document import Block, Heading, Picture, Table
from mmseg_kd.visualization import Panel, prediction_grid

IGNORED = 255
# Characters of each piece of code in a note.
MOST_CODE = 80
BETTER, WORSE = (0, 158, 115), (213, 94, 0)


def differing_images(collection: Collection, folder: Path, count: int) -> list[Block]:
    """Draw validation images on which the best student and the baseline differ.

    If a checkpoint or the data is missing, a note says so instead.
    """
    pair = comparable_pair(collection) if count else None
    if pair is None:
        return []
    file = folder / 'images.png'
    try:
        rows = draw_images(*pair, count, file, collection.metric, collection.notes)
    except (UserError, OSError, KeyError) as error:
        collection.notes.append(message('No images: {error}', error=error))
        return []
    caption = message(
        'Validation images, baseline {baseline}, student {student}. Last column: green where '
        'the student alone is right, orange where the baseline alone is.',
        baseline=run_name(pair[0]),
        student=run_name(pair[1]),
    )
    headings = messages('image', 'chosen as', 'difference in mIoU of the image')
    table = Table(headings, [[name, _kind(k, gain), f'{gain:+.2f}'] for name, k, gain in rows])
    return [Heading(message('Images')), Picture(file, caption), table]


def _kind(kind: str, gain: float) -> Message:
    if kind == 'improved':
        return message('most improved' if gain > 0 else 'least damaged')
    if kind == 'damaged':
        return message('most damaged' if gain < 0 else 'least improved')
    return message('median')


def comparable_pair(collection: Collection) -> tuple[RunRecord, RunRecord] | None:
    """Return runs of the baseline and the best student that have a seed and checkpoints."""
    bases = collection.baseline.counted if collection.baseline else []
    students = [run for group in collection.students for run in group.counted]
    for run, base in itertools.product(students, bases):
        there = all(r.best_checkpoint(collection.metric) and _config_file(r) for r in (run, base))
        if run.seed == base.seed and there:
            return base, run
    return None


def choose_images(differences: Sequence[float], count: int) -> list[tuple[int, str]]:
    """Choose the images that gained most, lost most, and lie in the middle, each once.

    Args:
        differences: Student minus baseline of each image, in points of mIoU; NaN is ignored.
        count: Number of images of each kind.

    Returns:
        Index and kind of each: 'improved', 'damaged' or 'median'.
    """
    order = [int(i) for i in np.argsort(differences) if np.isfinite(differences[i])]
    middle = max(0, len(order) // 2 - count // 2)
    kinds = {
        'improved': order[::-1][:count],
        'damaged': order[:count],
        'median': order[middle : middle + count],
    }
    chosen: dict[int, str] = {}
    for kind, indices in kinds.items():
        chosen |= {i: kind for i in indices if i not in chosen}
    return list(chosen.items())


@torch.no_grad()
def draw_images(
    baseline: RunRecord,
    student: RunRecord,
    count: int,
    file: Path,
    metric: str,
    notes: list[Message],
) -> list[tuple[str, str, float]]:
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
        File name, kind (see `choose_images`) and difference of each row, from top to bottom.

    Raises:
        UserError: A checkpoint, the data or the teacher is missing or does not fit.
    """
    register_all()
    init_default_scope('mmseg_kd')
    # The report itself names the loaded weights.
    MMLogger.get_instance(f'report {file}', log_level='ERROR')
    cfg = _config(student, notes)
    with config_errors():
        dataset = DATASETS.build(cfg.val_dataloader.dataset)
        best = [run.best_checkpoint(metric)[0] for run in (baseline, student)]
        models = {
            'baseline': _load(_config(baseline, notes).model, best[0]),
            'teacher': _teacher(cfg, notes),
            'student': _load(cfg.model, best[1]),
        }
    classes, palette = dataset.metainfo['classes'], dataset.metainfo['palette']
    differences = []
    # None: no bar where standard error is not a terminal.
    for i in tqdm(range(len(dataset)), 'images', leave=False, disable=None):
        sample = dataset[i]
        own, base = (miou(sample, models[name], len(classes)) for name in ('student', 'baseline'))
        differences.append(own - base)
    chosen = choose_images(differences, count)
    samples = [dataset[i] for i, _ in chosen]
    models = {name: model for name, model in models.items() if model is not None}
    prediction_grid([_row(sample, models) for sample in samples], classes, palette, file)
    names = [Path(sample['data_samples'].img_path).name for sample in samples]
    pairs = zip(names, chosen, strict=True)
    return [(name, kind, differences[i]) for name, (i, kind) in pairs]


def _row(sample: Mapping[str, Any], models: Mapping[str, torch.nn.Module]) -> list[Panel]:
    image, label = image_of(sample), label_of(sample).numpy()
    predictions = {name: predict(model, sample)[0].numpy() for name, model in models.items()}
    difference = difference_picture(label, predictions['baseline'], predictions['student'])
    return [
        Panel('input', image),
        Panel('ground truth', labels=label),
        *(Panel(name, labels=prediction) for name, prediction in predictions.items()),
        Panel('student vs baseline', difference),
    ]


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


def _config(run: RunRecord, notes: list[Message]) -> ConfigDict:
    file = _config_file(run)
    return _read(file.read_text(encoding='utf-8'), file, notes)


def _config_file(run: RunRecord) -> Path | None:
    return max(run.source.glob('*/vis_data/config.py'), default=None)


def _read(text: str, source: Path, notes: list[Message]) -> ConfigDict:
    """Read a config without running it, because it may be a stranger's; note its code."""
    cfg, left_out = parse_buildable(text, source)
    if left_out:
        code = ', '.join(' '.join(part.split())[:MOST_CODE] for part in left_out[:3])
        note = message(
            '{file}: code in a config is not run and left out: {code}', file=source, code=code
        )
        notes.append(note)
    return cfg


def _load(model: ConfigDict, checkpoint: str | Path) -> torch.nn.Module:
    # Without these keys a student is the plain model.
    plain = {key: part for key, part in model.items() if key not in ('teacher', 'kd_losses')}
    return Teacher(plain, str(checkpoint)).segmentor.to(get_device())


def _teacher(cfg: ConfigDict, notes: list[Message]) -> torch.nn.Module | None:
    """Load the teacher, whose model is in its config if written out, else in its checkpoint."""
    setting = cfg.model.get('teacher') or {}
    checkpoint = Path(setting.get('checkpoint', ''))
    if not checkpoint.is_file():
        return None
    if isinstance(setting.config, dict):
        return _load(setting.config, checkpoint)
    config = Path(setting.config)
    if config.is_file():
        written, left_out = parse_buildable(config.read_text(encoding='utf-8'), config)
        if 'model' in written and '_base_' not in written and not left_out:
            return _load(written.model, checkpoint)
    meta = read_checkpoint(checkpoint).get('meta')
    text = meta.get('cfg') if isinstance(meta, dict) else None
    model = _read(text, checkpoint, notes).get('model') if isinstance(text, str) else None
    if model is not None:
        return _load(model, checkpoint)
    note = message(
        "{file}: the teacher's config is code, which a report does not run; the teacher is left "
        'out of the images.',
        file=config,
    )
    notes.append(note)
    return None


def image_of(sample: Mapping[str, Any]) -> np.ndarray:
    """Return the image of a sample, RGB (H, W, 3)."""
    return sample['inputs'].permute(1, 2, 0).numpy()[..., ::-1]


def label_of(sample: Mapping[str, Any]) -> torch.Tensor:
    """Return the true ids of a sample (H, W)."""
    return sample['data_samples'].gt_sem_seg.data[0]


def predict(model: torch.nn.Module, sample: Mapping[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the predicted ids (H, W), on the CPU, and the logits (K, H, W) of a sample."""
    batch = {'inputs': [sample['inputs']], 'data_samples': [sample['data_samples'].clone()]}
    result = model.test_step(batch)[0]
    return result.pred_sem_seg.data[0].cpu(), result.seg_logits.data


def miou(sample: Mapping[str, Any], model: torch.nn.Module, classes: int) -> float:
    """Return the mIoU of one image in percent."""
    confusion = confusion_matrix(label_of(sample), predict(model, sample)[0], classes)
    return 100 * float(iou_and_accuracy(confusion.double())[0].nanmean())
