"""Entropy and calibration of predictions."""

import numpy as np
import pytest
import torch
from teacher_report.calibration_reference import reference

from mmseg_kd.evaluation.calibration import pixel_statistics, summarise


@pytest.mark.parametrize('scale', [0.1, 1.0, 5.0, 100.0])
@pytest.mark.parametrize('ignore_index', [255, 3])
def test_entropy_and_calibration_are_the_papers(scale: float, ignore_index: int) -> None:
    rng = np.random.default_rng(0)
    logits = (scale * rng.standard_normal((7, 40, 50))).astype(np.float32)
    label = np.where(
        rng.random((40, 50)) < 0.5, logits.argmax(axis=0), rng.integers(0, 7, (40, 50))
    )
    label[:10] = ignore_index
    # What is not counted may be anything.
    logits[:, :5] = 1e9
    x, y = torch.from_numpy(logits), torch.from_numpy(label)
    entropy, ece = summarise(pixel_statistics(x, x.argmax(dim=0), y, ignore_index))
    expected = reference(logits.transpose(1, 2, 0), label, ignore_index)
    assert entropy == pytest.approx(expected[0], rel=1e-5, abs=1e-7)
    assert ece == pytest.approx(expected[1], abs=1e-5)


def test_entropy_and_calibration_by_hand() -> None:
    label = torch.zeros(1, 4, dtype=torch.long)
    uniform = torch.zeros(8, 1, 4)
    # Every class as likely as the other, and always right: 1/8 sure, wholly accurate.
    entropy, ece = summarise(pixel_statistics(uniform, label, label))
    assert entropy == pytest.approx(np.log(8))
    assert ece == pytest.approx(1 - 1 / 8)
    # Wholly sure of class 0; half of the labels are another.
    label[0, 2:] = 1
    sure = torch.full((8, 1, 4), -200.0)
    sure[0] = 200.0
    statistics = pixel_statistics(sure, sure.argmax(dim=0), label)
    assert summarise(statistics) == pytest.approx((0.0, 0.5))
    # One who is sure is in the last bin, and one at the edge of two in the lower one.
    assert statistics[0].tolist() == [0.0] * 14 + [4.0]
    edge = torch.zeros(4, 1, 1)
    counts = pixel_statistics(edge, torch.zeros(1, 1), torch.zeros(1, 1), bins=4)[0]
    assert counts.tolist() == [1, 0, 0, 0]


def test_errors_of_two_bins_do_not_cancel() -> None:
    # Too sure by 0.4 in one bin, too doubtful by 0.4 in another.
    p = torch.tensor([0.9] * 10 + [0.6] * 10)
    logits = torch.stack([p.log(), (1 - p).log()]).view(2, 1, 20)
    label = torch.tensor([0] * 5 + [1] * 5 + [0] * 10).view(1, 20)
    _, ece = summarise(pixel_statistics(logits, logits.argmax(dim=0), label))
    assert ece == pytest.approx(0.4, abs=1e-6)


def test_one_channel_is_a_probability() -> None:
    # mmseg's heads of one channel give the sigmoid.
    p = torch.tensor([[[0.5, 0.9]]])
    label = torch.tensor([[1, 1]])
    entropy, ece = summarise(pixel_statistics(p, torch.tensor([[0, 1]]), label))
    expected = (np.log(2) - 0.9 * np.log(0.9) - 0.1 * np.log(0.1)) / 2
    assert entropy == pytest.approx(expected, rel=1e-5)
    assert ece == pytest.approx((0.5 + 0.1) / 2, rel=1e-5)


def test_without_a_labelled_pixel_nothing_is_known() -> None:
    label = torch.full((2, 2), 255)
    logits = torch.randn(3, 2, 2)
    assert summarise(pixel_statistics(logits, logits.argmax(dim=0), label)) == (None, None)
