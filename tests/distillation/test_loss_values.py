"""The first losses have the values of an independent computation."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mmseg_kd.distillation import (
    AttentionTransferLoss,
    KDLoss,
    KLDivergenceLoss,
    SimilarityPreservingLoss,
)

GOLDEN = np.load(Path(__file__).parents[1] / 'data' / 'kd_losses.npz')
STAGES = [f'stage{i}' for i in (1, 2, 3, 4)]


def golden(name: str) -> torch.Tensor:
    return torch.from_numpy(GOLDEN[name])


def expected(name: str) -> float:
    return float(GOLDEN[f'expected/{name}'])


@pytest.mark.parametrize('temperature', [1, 2, 4])
def test_kl_matches_the_independent_value(temperature: int) -> None:
    loss = KLDivergenceLoss(temperature=temperature)
    logits = golden('student_logits'), golden('teacher_logits')
    masked = loss(*logits, golden('target'))
    assert float(masked) == pytest.approx(
        expected(f'kl_pixel_mean_T{temperature}_masked'), rel=1e-5
    )
    unmasked = expected(f'kl_pixel_mean_T{temperature}_unmasked')
    assert float(loss(*logits)) == pytest.approx(unmasked, rel=1e-5)
    keep = KLDivergenceLoss(temperature=temperature, ignore_index=None)
    assert float(keep(*logits, golden('target'))) == pytest.approx(unmasked, rel=1e-5)


def test_kl_batchmean_is_the_pixel_mean_times_the_pixels() -> None:
    logits = golden('student_logits'), golden('teacher_logits')
    ratio = KLDivergenceLoss(reduction='batchmean')(*logits) / KLDivergenceLoss()(*logits)
    assert float(ratio) == pytest.approx(24 * 32, rel=1e-5)


@pytest.mark.parametrize('stage', STAGES)
@pytest.mark.parametrize('reduction', ['paper', 'authors_code', 'sum'])
def test_at_matches_the_independent_value(reduction: str, stage: str) -> None:
    loss = AttentionTransferLoss(reduction=reduction)
    value = loss([golden(f'student_{stage}')], [golden(f'teacher_{stage}')])
    assert float(value) == pytest.approx(expected(f'at_{reduction}_{stage}'), rel=1e-5)


@pytest.mark.parametrize('stage', STAGES)
def test_sp_matches_the_independent_value(stage: str) -> None:
    value = SimilarityPreservingLoss()([golden(f'student_{stage}')], [golden(f'teacher_{stage}')])
    assert float(value) == pytest.approx(expected(f'sp_paper_{stage}'), rel=1e-5)


@pytest.mark.parametrize(
    ('loss', 'key'),
    [(AttentionTransferLoss(), 'at_paper'), (SimilarityPreservingLoss(), 'sp_paper')],
)
def test_a_list_of_maps_is_summed(loss: KDLoss, key: str) -> None:
    value = loss([golden(f'student_{s}') for s in STAGES], [golden(f'teacher_{s}') for s in STAGES])
    assert float(value) == pytest.approx(sum(expected(f'{key}_{s}') for s in STAGES), rel=1e-5)


def test_pixel_similarity_by_hand() -> None:
    # Two cells: the student sees them alike (cosine 1), the teacher as opposites (-1).
    student = torch.tensor([1.0, 1.0]).reshape(1, 1, 1, 2)
    teacher = torch.tensor([1.0, -1.0]).reshape(1, 1, 1, 2)
    loss = SimilarityPreservingLoss(mode='pixel')
    assert float(loss(student, teacher)) == pytest.approx(2 * 2**2 / 2**2)


def test_pixel_similarity_of_other_sizes_is_that_of_common_cells() -> None:
    student, teacher = torch.randn(2, 3, 8, 9), torch.randn(2, 6, 6, 5)
    cells = [F.adaptive_avg_pool2d(x, (4, 5)) for x in (student, teacher)]
    value = SimilarityPreservingLoss(mode='pixel', grid=(4, 16))(student, teacher)
    assert float(value) == pytest.approx(
        float(SimilarityPreservingLoss(mode='pixel')(*cells)), rel=1e-5
    )


def test_pixel_similarity_has_16_cells_a_side() -> None:
    maps = torch.randn(2, 3, 20, 24), torch.randn(2, 6, 20, 24)
    cells = [F.adaptive_avg_pool2d(x, 16) for x in maps]
    loss = SimilarityPreservingLoss(mode='pixel')
    assert float(loss(*maps)) == pytest.approx(float(loss(*cells)), rel=1e-5)


def test_attention_maps_are_resized_not_features() -> None:
    student, teacher = torch.randn(2, 3, 16, 12), torch.randn(2, 6, 9, 7)
    energy = teacher.square().sum(dim=1, keepdim=True)
    resized = F.interpolate(energy, (16, 12), mode='bilinear', align_corners=False)
    loss = AttentionTransferLoss(stages='stage4')
    # The attention map of one channel is its square.
    assert float(loss(student, teacher)) == pytest.approx(
        float(loss(student, resized.sqrt())), rel=1e-5
    )


def test_all_void_images_give_zero_kl() -> None:
    x = torch.randn(2, 3, 8, 8, requires_grad=True)
    value = KLDivergenceLoss()(x, torch.randn(2, 3, 8, 8), torch.full((2, 8, 8), 255))
    value.backward()
    assert float(value) == 0
    assert float(x.grad.abs().sum()) == 0


def test_kl_masks_at_the_resolution_of_the_logits() -> None:
    # The left half is void, and only there do student and teacher differ.
    student, teacher = torch.zeros(1, 3, 4, 8), torch.zeros(1, 3, 4, 8)
    student[..., :4] = torch.randn(1, 3, 4, 4)
    target = torch.zeros(1, 16, 32, dtype=torch.long)
    target[..., :16] = 255
    assert float(KLDivergenceLoss()(student, teacher, target)) == 0
    assert float(KLDivergenceLoss()(student, teacher)) > 0


def test_kl_of_one_channel_by_hand() -> None:
    # p = 3/4 at the teacher, 1/2 at the student: 3/4 log 3/2 + 1/4 log 1/2.
    student, teacher = torch.zeros(1, 1, 1, 1), torch.full((1, 1, 1, 1), np.log(3.0))
    expected = 0.75 * np.log(1.5) + 0.25 * np.log(0.5)
    loss = KLDivergenceLoss(temperature=1.0)
    assert float(loss(student, teacher)) == pytest.approx(expected, rel=1e-5)
