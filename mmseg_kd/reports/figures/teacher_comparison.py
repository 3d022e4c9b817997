"""The page on single images: where a student and its teacher differ, their entropy and attention.

Models are segmentors by name: 'baseline' (may be missing), 'student' and 'teacher'. Taps are pairs,
the student's and the teacher's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.dataset import BaseDataset
from torch import nn

from mmseg_kd.distillation.maps import resize_map
from mmseg_kd.evaluation.calibration import probabilities
from mmseg_kd.records.message import Message, message, messages, number
from mmseg_kd.reports.figures import samples
from mmseg_kd.reports.figures.images import KINDS, choose_images, difference_picture
from mmseg_kd.reports.writing.document import Heading, Paragraph, Picture, Table
from mmseg_kd.reports.writing.html_page import to_html
from mmseg_kd.reports.writing.language import language
from mmseg_kd.visualization import Panel, prediction_grid

ROLES = ('student', 'teacher')
COLUMNS = 4
# Characters of a tap in one line of a title.
TAP_WIDTH = 18

Models = Mapping[str, nn.Module]
TapPairs = Sequence[tuple[str, str]]
# Why an image is chosen, and its mIoU by model.
Chosen = tuple[Message, Mapping[str, float]]


class Attention(NamedTuple):
    """The attention maps of student and teacher at a pair of taps.

    Attributes:
        taps: Names of the two taps.
        maps: Sums of squared features (2, H, W), of norm 1 at the student's resolution, in which
            they are compared; enlarged to the image.
        distance: The 'paper' value of `AttentionTransferLoss`, from 0 to sqrt(2).
    """

    taps: tuple[str, str]
    maps: np.ndarray
    distance: float


@dataclass(frozen=True)
class Comparison:
    """What the models compute for one image.

    Attributes:
        image: RGB (H, W, 3).
        label: True ids (H', W').
        ids: Predicted ids (H', W') by model.
        entropy: Entropy (H', W') in nats by model.
        attention: The attention maps of each pair of taps.
    """

    image: np.ndarray
    label: np.ndarray
    ids: dict[str, np.ndarray]
    entropy: dict[str, np.ndarray]
    attention: list[Attention]


@torch.no_grad()
def choose(
    models: Models, dataset: BaseDataset, count: int = 1, stems: Sequence[str] | None = None
) -> dict[int, Chosen]:
    """Choose images by student minus baseline, or teacher where there is no baseline, in mIoU.

    Args:
        models: The models.
        dataset: Labelled images.
        count: Number of images of each kind: the best, the worst and the median ones.
        stems: Names, without the ending, of images to take instead.

    Returns:
        By index of the image, why it is chosen and its mIoU in percent by model.

    Raises:
        UserError: There is no such image, or no image has a labelled pixel.
    """
    indices = range(len(dataset)) if stems is None else samples.indices_of(dataset, stems)
    scores = samples.image_scores(models, dataset, indices)
    if stems is not None:
        return {i: (message('named'), row) for i, row in scores.items()}
    kinds = dict(zip(KINDS, messages('best', 'worst', 'median'), strict=True))
    chosen = choose_images([_difference(row) for row in scores.values()], count)
    return {i: (kinds[kind], scores[i]) for i, kind in chosen}


@torch.no_grad()
def compare(models: Models, sample: samples.Sample, taps: TapPairs) -> Comparison:
    """Run the models on one image.

    Raises:
        UserError: A tap is not a map.
    """
    ids, entropy = {}, {}
    for name, model in models.items():
        result = model.test_step(samples.batch_of(sample))[0]
        ids[name] = result.pred_sem_seg.data[0].cpu().numpy()
        shares = probabilities(result.seg_logits.data)
        entropy[name] = torch.special.entr(shares).sum(dim=0).cpu().numpy()
    attention = _attention(models, sample, taps) if taps else []
    image, label = samples.image_of(sample), samples.label_of(sample).numpy()
    return Comparison(image, label, ids, entropy, attention)


def _attention(models: Models, sample: samples.Sample, taps: TapPairs) -> list[Attention]:
    """Compare attention maps of the whole image, even if the test uses a sliding window."""
    student = models['student']
    inputs = student.data_preprocessor(samples.batch_of(sample), False)['inputs']
    # As in training, the teacher sees what the student sees.
    recorded = [
        samples.tap_maps(models[role], inputs, names, student, '--taps')
        for role, names in zip(ROLES, zip(*taps, strict=True), strict=True)
    ]
    height, width = sample['inputs'].shape[1:]
    found = []
    for pair in taps:
        features = [maps[tap] for maps, tap in zip(recorded, pair, strict=True)]
        maps = [x.float().square().sum(dim=1, keepdim=True) for x in features]
        maps = [resize_map(x, maps[0].shape[2:]) for x in maps]
        normed = F.normalize(torch.cat(maps).flatten(1))
        distance = float((normed[0] - normed[1]).norm())
        # Without the padding.
        drawn = F.interpolate(normed.view(2, *maps[0].shape[1:]), inputs.shape[2:])
        found.append(Attention(pair, drawn[:, 0, :height, :width].cpu().numpy(), distance))
    return found


def panels(one: Comparison, highest: float) -> list[list[Panel]]:
    """Arrange the pictures of an image in rows.

    Args:
        one: The image.
        highest: The entropy at the end of the colour scale.
    """
    labels = {name: Panel(name, labels=ids) for name, ids in one.ids.items()}
    difference = difference_picture(one.label, one.ids['teacher'], one.ids['student'])
    first = [Panel('input', one.image), Panel('ground truth', labels=one.label)]
    first += [labels[name] for name in labels if name not in ROLES]
    first.append(Panel('student vs teacher', difference))
    rest = [labels[role] for role in ROLES]
    rest += [Panel(f'entropy, {role}', one.entropy[role], highest=highest) for role in ROLES]
    rest[-1].unit = 'entropy (nats)'
    for taps, maps, _ in one.attention:
        for tap, role, heat in zip(taps, ROLES, maps, strict=True):
            title = f'{fill(tap, TAP_WIDTH)}, \n{role}'
            rest.append(Panel(title, heat, highest=float(maps.max())))
    rows = [first, *(rest[i : i + COLUMNS] for i in range(0, len(rest), COLUMNS))]
    return [row + [Panel()] * (COLUMNS - len(row)) for row in rows]


def write_comparison(
    models: Models,
    dataset: BaseDataset,
    taps: TapPairs,
    folder: Path,
    files: Mapping[str, str],
    chosen: Mapping[int, Chosen],
    lang: str = 'en',
) -> None:
    """Draw images into `NUMBER_NAME.png` and write `index.html`.

    Args:
        models: The models.
        dataset: The images.
        taps: Where to read the attention maps.
        folder: Where to write.
        files: The models' checkpoints by name, for the page.
        chosen: The images, as `choose` returns them.
        lang: 'en' or 'ko'.

    Raises:
        UserError: A tap is not a map.
    """
    comparisons = {i: compare(models, dataset[i], taps) for i in chosen}
    highest = max(float(one.entropy[role].max()) for one in comparisons.values() for role in ROLES)
    rows, pictures = [], []
    for place, (i, one) in enumerate(comparisons.items(), 1):
        (kind, scores), stem = chosen[i], samples.stem_of(dataset, i)
        file = folder / f'{place:0{len(str(len(chosen)))}}_{stem}.png'
        prediction_grid(panels(one, highest), dataset.metainfo, file)
        points = [f'{score:.2f}' for score in scores.values()]
        rows.append([stem, kind, *points, number(_difference(scores), '+.2f')])
        pictures += [Heading(stem), Picture(file, _caption(one))]
    other = 'baseline' if 'baseline' in models else 'teacher'
    difference = message('student minus {other}', other=other)
    explanation = message(
        'In "student vs teacher" the student alone is right where it is green, the teacher alone '
        'where it is orange. All entropies share one colour scale. An attention map is the sum of '
        'the squared features over the channels, of norm 1, at the resolution of the student; the '
        'two maps of a tap share one colour scale.'
    )
    blocks = [
        Heading(message('Student and teacher, image by image'), 1),
        Table(messages('model', 'checkpoint'), list(files.items())),
        Paragraph(message('mIoU of the image in percent:')),
        Table([*messages('image', 'chosen as'), *models, difference], rows),
        Paragraph(explanation),
        *pictures,
    ]
    with language(lang):
        (folder / 'index.html').write_text(to_html(blocks, lang), encoding='utf-8')


def _difference(scores: Mapping[str, float]) -> float:
    return scores['student'] - scores.get('baseline', scores['teacher'])


def _caption(one: Comparison) -> Message:
    student, teacher = (f'{one.entropy[x][one.label != samples.IGNORED].mean():.3f}' for x in ROLES)
    return message(
        'Mean entropy in nats: student {student}, teacher {teacher}. Distance of the attention '
        'maps (0: equal, 1.41: disjoint): {distances}.',
        student=student,
        teacher=teacher,
        distances=', '.join(f'{x.taps[0]} {x.distance:.2f}' for x in one.attention) or '-',
    )
