"""The section on the images on which a student differs most from the baseline."""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import shorten

import numpy as np
import torch
from mmengine.dataset import BaseDataset
from mmengine.device import get_device
from mmseg.registry import DATASETS
from torch import nn

from mmseg_kd.config.errors import config_errors
from mmseg_kd.distillation.teacher import Teacher
from mmseg_kd.errors import UserError
from mmseg_kd.records.literal_config import parse_buildable
from mmseg_kd.records.message import Message, message, messages, number
from mmseg_kd.records.run_record import RunRecord
from mmseg_kd.registry import only_registered
from mmseg_kd.reports.comparing.collection import Collection, run_name
from mmseg_kd.reports.figures import samples
from mmseg_kd.reports.models import CONFIGS, UNUSABLE, load_model, loadable, prepare
from mmseg_kd.reports.writing.document import Block, Heading, Picture, Table
from mmseg_kd.visualization import Panel, prediction_grid

# Characters of the code in a note.
MOST_CODE = 240
BETTER, WORSE = (0, 158, 115), (230, 159, 0)
KINDS = ('largest', 'smallest', 'median')


def differing_images(collection: Collection, folder: Path, count: int) -> list[Block]:
    """Draw validation images on which the best student and the baseline differ.

    If a checkpoint or the data is missing, a note says so instead.
    """
    if not (count and collection.baseline and collection.students):
        return []
    if (pair := comparable_pair(collection)) is None:
        collection.notes.append(message('No images: no seed has checkpoints of both runs.'))
        return []
    file = folder / 'images.png'
    try:
        rows = draw_images(*pair, count, file, collection)
    except UNUSABLE as error:
        collection.notes.append(message('No images: {error}', error=error))
        return []
    caption = message(
        'Validation images, baseline {baseline}, student {student}. Last column: green where '
        'the student alone is right, orange where the baseline alone is.',
        baseline=run_name(pair[0]),
        student=run_name(pair[1]),
    )
    headings = messages('image', 'chosen as', 'difference in mIoU of the image')
    texts = dict(zip(KINDS, messages('largest', 'smallest', 'median'), strict=True))
    cells = [[name, texts[kind], number(gain, '+.2f')] for name, kind, gain in rows]
    table = Table(headings, cells, 'images')
    return [Heading(message('Images')), Picture(file, caption), table]


def comparable_pair(collection: Collection) -> tuple[RunRecord, RunRecord] | None:
    """Return runs of the baseline and the best student that have the same seed and checkpoints."""
    bases = collection.baseline.counted if collection.baseline else []
    students = [run for group in collection.students for run in group.counted]
    for run, base in itertools.product(students, bases):
        if run.seed == base.seed and all(loadable(r, collection.metric) for r in (run, base)):
            return base, run
    return None


def choose_images(differences: Sequence[float], count: int) -> list[tuple[int, str]]:
    """Choose the images that gained most, lost most, and lie in the middle, each once.

    Args:
        differences: Student minus baseline of each image, in points of mIoU; NaN is ignored.
        count: Number of images of each kind.

    Returns:
        Index and kind of each: 'largest', 'smallest' or 'median'.

    Raises:
        UserError: No image has a difference.
    """
    order = [int(i) for i in np.argsort(differences) if np.isfinite(differences[i])]
    if not order:
        raise UserError('no image of the split has a labelled pixel')
    middle = max(0, len(order) // 2 - count // 2)
    found = order[::-1][:count], order[:count], order[middle : middle + count]
    chosen: dict[int, str] = {}
    for kind, indices in zip(KINDS, found, strict=True):
        chosen |= {i: kind for i in indices if i not in chosen}
    return list(chosen.items())


@torch.no_grad()
def draw_images(
    baseline: RunRecord, student: RunRecord, count: int, file: Path, collection: Collection
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
        collection: Its metric chooses the checkpoints. Its notes receive notes on code in the
            configs that was left out.

    Returns:
        Name, kind (see `choose_images`) and difference of each row, from top to bottom.

    Raises:
        UserError: A checkpoint, the data or the teacher is missing or does not fit.
    """
    prepare()
    with config_errors():
        dataset = _dataset(student, collection.notes)
        best = [run.best_checkpoint(collection.metric)[0] for run in (baseline, student)]
        models = {
            'baseline': load_model(best[0]),
            'teacher': _teacher(student, collection.notes),
            'student': load_model(best[1]),
        }
    models = {name: model for name, model in models.items() if model is not None}
    compared = {name: models[name] for name in ('student', 'baseline')}
    scores = samples.image_scores(compared, dataset, range(len(dataset)))
    differences = [row['student'] - row['baseline'] for row in scores.values()]
    chosen = choose_images(differences, count)
    rows = [_row(dataset[i], models) for i, _ in chosen]
    prediction_grid(rows, dataset.metainfo, file, vector=True)
    return [(samples.stem_of(dataset, i), kind, differences[i]) for i, kind in chosen]


def _dataset(run: RunRecord, notes: list[Message]) -> BaseDataset:
    """Build the validation images of a run without running its config, which may be untrusted."""
    file = max(run.source.glob(CONFIGS))
    cfg, left_out = parse_buildable(file.read_text(encoding='utf-8'), file)
    if left_out:
        values = dict(file=file, code=shorten('; '.join(left_out), MOST_CODE))
        notes.append(message('{file}: code in a config is not run and left out: {code}', **values))
    with only_registered():
        return DATASETS.build(cfg.val_dataloader.dataset)


def _teacher(run: RunRecord, notes: list[Message]) -> nn.Module | None:
    config, checkpoint = (run.setting('model', 'teacher', key) for key in ('config', 'checkpoint'))
    if not (checkpoint and Path(checkpoint).is_file()):
        return None
    try:
        if isinstance(config, dict):
            # A published file may hold no config of its own.
            with only_registered():
                return Teacher(config, checkpoint).segmentor.eval().to(get_device())
        return load_model(checkpoint)
    except UserError as error:
        # The rest is advice for tools that take a config.
        reason = str(error).partition('; name the config')[0]
        notes.append(message('The teacher is not drawn: {error}', error=reason))
        return None


def _row(sample: samples.Sample, models: Mapping[str, nn.Module]) -> list[Panel]:
    label = samples.label_of(sample).numpy()
    predictions = {name: samples.predict(model, sample).numpy() for name, model in models.items()}
    difference = difference_picture(label, predictions['baseline'], predictions['student'])
    return [
        Panel(message('input'), samples.image_of(sample)),
        Panel(message('ground truth'), labels=label),
        *(Panel(name, labels=prediction) for name, prediction in predictions.items()),
        Panel(message('student vs baseline'), difference),
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
    picture[label == samples.IGNORED] = 255
    return picture
