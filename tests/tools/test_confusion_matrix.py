"""From a checkpoint to the picture of its confusions."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from conftest import run
from PIL import Image
from reports.drawn_figures import keep_figures

TOOL = 'analysis_tools/confusion_matrix.py'


@pytest.fixture(scope='module')
def predictions(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('tested')
    arguments = ['--work-dir', folder / 'work', '--out', folder / 'out']
    checkpoint = trained / 'run' / 'iter_6.pth'
    assert run('test.py', trained / 'config.py', checkpoint, *arguments) == 0
    return folder


def test_it_agrees_with_the_test(
    trained: Path,
    predictions: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    figures = keep_figures(monkeypatch)
    assert run(TOOL, trained / 'config.py', predictions / 'out', tmp_path / 'matrix') == 0
    printed = capfd.readouterr().out
    metrics = json.loads(next((predictions / 'work').glob('*/*.json')).read_text())
    for key in ('aAcc', 'mIoU', 'mAcc'):
        assert f'{key} {metrics[key]:.2f}' in printed
    table = tmp_path / 'matrix' / 'confusion_matrix.csv'
    with table.open(encoding='utf-8-sig', newline='') as file:
        head, *rows = csv.reader(file)
    assert head == ['truth \\ predicted', *(row[0] for row in rows)]
    matrix = np.array([row[1:] for row in rows], dtype=int)
    hit = matrix.diagonal()
    iou = hit / np.maximum(matrix.sum(0) + matrix.sum(1) - hit, 1)
    seen = matrix.sum(0) + matrix.sum(1) > 0
    assert 100 * iou[seen].mean() == pytest.approx(metrics['mIoU'], abs=0.01)
    # Rows are the truth.
    truth = matrix.sum(axis=1, keepdims=True)
    shares = np.divide(100 * matrix, truth, out=np.full(matrix.shape, np.nan), where=truth > 0)
    assert np.nanmean(shares.diagonal()) == pytest.approx(metrics['mAcc'], abs=0.01)
    drawn = figures['confusion_matrix'].axes[0].collections[0].get_array()
    assert drawn.filled(np.nan) == pytest.approx(shares, nan_ok=True)
    np.fill_diagonal(shares, 0)
    i, j = np.unravel_index(np.nanargmax(shares), shares.shape)
    assert f'{shares[i, j]:3.0f} % of {head[1 + i]} is taken for {head[1 + j]}' in printed
    with Image.open(tmp_path / 'matrix' / 'confusion_matrix.png') as image:
        assert image.width > 1000


def test_mistakes_are_one_line(
    trained: Path, predictions: Path, tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    config, out = trained / 'config.py', predictions / 'out'
    kept = tmp_path / 'kept' / 'confusion_matrix.csv'
    kept.parent.mkdir()
    kept.write_text('mine')
    for arguments, message in (
        ((trained / 'run' / 'iter_6.pth', tmp_path / 'a'), 'tools/test.py'),
        ((tmp_path / 'lost', tmp_path / 'a'), str(tmp_path / 'lost')),
        ((out, kept.parent), 'confusion_matrix.csv exists'),
        (
            (out, tmp_path / 'a', '--cfg-options', 'test_dataloader.dataset.num_images=3'),
            '1 of 3 images have no prediction',
        ),
    ):
        assert run(TOOL, config, *arguments) == 2
        error = capfd.readouterr().err
        assert message in error
        assert 'Traceback' not in error
        assert error.strip().splitlines()[-1].startswith('error: ')
    assert kept.read_text() == 'mine'
    assert not (tmp_path / 'a').exists()
