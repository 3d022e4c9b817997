from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import tiny_model
from mmseg.registry import MODELS
from PIL import Image

from mmseg_kd.errors import UserError
from mmseg_kd.records.run_record import RunRecord
from mmseg_kd.reports.comparing.collecting import read_collection
from mmseg_kd.reports.comparing.collection import Collection
from mmseg_kd.reports.figures import images, samples
from mmseg_kd.reports.figures.images import (
    BETTER,
    WORSE,
    _teacher,
    choose_images,
    comparable_pair,
    difference_picture,
    draw_images,
)


def test_images_are_chosen_by_what_they_gained() -> None:
    chosen = choose_images([0.5, np.nan, -3.0, 9.0, 1.0, 0.0], 1)
    assert chosen == [(3, 'largest'), (2, 'smallest'), (0, 'median')]
    assert len(choose_images([1.0, 2.0], 3)) == 2
    with pytest.raises(UserError, match='no image of the split has a labelled pixel'):
        choose_images([np.nan], 2)


def test_the_difference_is_painted() -> None:
    label = np.array([[1, 1, 1, 255]])
    picture = difference_picture(label, np.array([[0, 1, 1, 0]]), np.array([[1, 0, 1, 1]]))
    assert [tuple(map(int, pixel)) for pixel in picture[0]] == [
        BETTER,
        WORSE,
        (225, 225, 225),
        (255, 255, 255),
    ]


def test_real_checkpoints_are_drawn(
    trained_pair: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores: dict[int, dict[str, float]] = {}
    measure = samples.image_scores
    monkeypatch.setattr(samples, 'image_scores', lambda *a: scores.update(measure(*a)) or scores)
    collection = read_collection(list(trained_pair.values()), 'baseline')
    # The tiny baseline is the student's teacher as well.
    baseline, student = comparable_pair(collection)
    assert (baseline.name, student.name) == ('baseline', 'student')
    rows = draw_images(baseline, student, 1, tmp_path / 'images.png', collection)
    gains = {f'{i:04d}': row['student'] - row['baseline'] for i, row in scores.items()}
    best, worst = sorted(gains, key=gains.get, reverse=True)
    assert gains[best] > gains[worst]
    assert rows == [(best, 'largest', gains[best]), (worst, 'smallest', gains[worst])]
    with Image.open(tmp_path / 'images.png') as picture:
        # Six columns: input, truth, baseline, teacher, student, difference.
        assert picture.width == pytest.approx(6 * 3.2 * 110, abs=2)


def test_images_that_cannot_be_compared_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class NoImages(list):
        metainfo = dict(classes=('a', 'b'), palette=[[0, 0, 0], [9, 9, 9]])

    models = {'baseline': SimpleNamespace(num_classes=3)}
    with pytest.raises(UserError, match='the baseline predicts 3 classes, but the images have 2'):
        samples.image_scores(models, NoImages(), range(0))
    (tmp_path / 'iter_1.pth').touch()
    run = RunRecord('kd', tmp_path)
    monkeypatch.setattr(images, '_dataset', lambda *args: NoImages())
    monkeypatch.setattr(images, 'load_model', lambda file: SimpleNamespace(num_classes=2))
    with pytest.raises(UserError, match='no image of the split has a labelled pixel'):
        draw_images(run, run, 1, tmp_path / 'images.png', Collection('', [], 'mIoU'))


def test_a_published_teacher_with_its_config_in_the_run_is_drawn(tmp_path: Path) -> None:
    config, file = tiny_model(), tmp_path / 'published.pth'
    torch.save({'state_dict': MODELS.build(config).state_dict()}, file)
    notes: list = []
    for known, drawn in ((config, True), ('no.py', False)):
        settings = dict(model=dict(teacher=dict(config=known, checkpoint=str(file))))
        model = _teacher(RunRecord('student', tmp_path, config=settings), notes)
        assert (model is not None) is drawn
    assert [str(note) for note in notes] == [f'The teacher is not drawn: {file}: holds no config']
