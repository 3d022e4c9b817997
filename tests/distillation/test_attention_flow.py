"""The flow of attention: its parts, the loss by numpy, and a student that learns from it."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import TINY_BACKBONE, tiny_model
from mmengine.config import ConfigDict
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from mmseg_kd.distillation import AttentionFlowLoss
from mmseg_kd.distillation.losses.features.attention_flow import EPS, flow_parts
from mmseg_kd.engine.compilation import compile_blocks
from mmseg_kd.errors import UserError


def attention(*shape: int, seed: int = 0) -> torch.Tensor:
    """Attention matrices (N, heads, L, L) as a model has them."""
    generator = torch.Generator().manual_seed(seed)
    return (3 * torch.randn(*shape, generator=generator, dtype=torch.float64)).softmax(dim=-1)


def parts_by_hand(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Exact and cyclic part of one matrix, number by number."""
    side = len(matrix)
    flow = np.zeros((side, side))
    for i in range(side):
        for j in range(side):
            flow[i, j] = (matrix[i, j] - matrix[j, i]) / 2
    score = [sum(flow[i]) / side for i in range(side)]
    exact = np.array([[score[i] - score[j] for j in range(side)] for i in range(side)])
    return exact, flow - exact


def loss_by_hand(student: torch.Tensor, teacher: torch.Tensor, weights: tuple, roll: int) -> float:
    total = 0.0
    for ours, theirs in zip(student.numpy(), teacher.numpy(), strict=True):
        heads = len(ours)
        for part in (0, 1):
            distance = energy = 0.0
            for head in range(heads):
                s = parts_by_hand(ours[head])[part]
                t = parts_by_hand(theirs[(head - roll) % heads])[part]
                distance += ((s - t) ** 2).sum()
                energy += (t**2).sum()
            total += weights[part] * distance / (energy + EPS * heads * ours.shape[-1])
    return total / len(student)


@pytest.mark.parametrize('weights', [(1.0, 1.0), (2.0, 0.5), (0.0, 1.0), (1.0, 0.0)])
@pytest.mark.parametrize('permuted', [False, True])
def test_the_value_by_hand(weights: tuple[float, float], permuted: bool) -> None:
    student, teacher = attention(2, 3, 6, 6), attention(2, 3, 6, 6, seed=1)
    loss = AttentionFlowLoss(*weights, permute_heads=permuted)
    expected = loss_by_hand(student, teacher, weights, roll=int(permuted))
    assert float(loss(student, teacher)) == pytest.approx(expected, rel=1e-9)
    assert float(loss(student.float(), teacher.float())) == pytest.approx(expected, rel=1e-5)


def test_other_numbers_of_heads_compare_their_means() -> None:
    student, teacher = attention(2, 3, 6, 6), attention(2, 4, 6, 6, seed=1)
    means = [x.mean(dim=1, keepdim=True) for x in (student, teacher)]
    expected = loss_by_hand(*means, (1.0, 1.0), roll=0)
    assert float(AttentionFlowLoss()(student, teacher)) == pytest.approx(expected, rel=1e-9)


def test_the_parts_are_orthogonal_and_sum_to_the_flow() -> None:
    matrix = attention(2, 3, 7, 7)
    exact, cyclic = flow_parts(matrix)
    flow = (matrix - matrix.mT) / 2
    torch.testing.assert_close(exact + cyclic, flow)
    assert float((exact * cyclic).sum().abs()) < 1e-14
    energies = [float(x.square().sum()) for x in (exact, cyclic, flow)]
    assert min(energies) > 0.1
    assert energies[0] + energies[1] == pytest.approx(energies[2])
    # The exact part adds up along a path, and no token has more of the cyclic part than it gets.
    torch.testing.assert_close(exact[..., 0, 1] + exact[..., 1, 2], exact[..., 0, 2])
    torch.testing.assert_close(cyclic.sum(dim=-1), torch.zeros_like(cyclic[..., 0]))


def test_symmetric_attention_has_no_flow() -> None:
    scores = attention(1, 2, 5, 5)
    assert not any(part.any() for part in flow_parts(scores + scores.mT))


def test_a_student_without_flow_is_one_away_from_each_part() -> None:
    uniform = torch.full((2, 3, 6, 6), 1 / 6)
    value = AttentionFlowLoss(exact_weight=0.25)(uniform, attention(2, 3, 6, 6))
    assert float(value) == pytest.approx(1.25, rel=1e-3)


@pytest.mark.parametrize(
    ('student', 'teacher', 'settings', 'message'),
    [
        (
            (2, 1, 4, 6),
            (2, 1, 4, 6),
            {},
            r"student's tap of shape \(2, 1, 4, 6\) .*stage4.attention",
        ),
        ((2, 1, 4, 4), (2, 1, 9, 9), {}, 'the student attends over 4 tokens, the teacher over 9'),
        ((2, 2, 4, 4), (2, 3, 4, 4), dict(permute_heads=True), 'equally many heads, .* not 2 of'),
        ((2, 1, 4, 4), (2, 1, 4, 4), dict(permute_heads=True), 'equally many heads, more than 1'),
    ],
)
def test_what_cannot_be_compared_is_named(
    student: tuple, teacher: tuple, settings: dict, message: str
) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        AttentionFlowLoss(**settings)(torch.rand(student), torch.rand(teacher))
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize('weights', [(-1.0, 1.0), (0.0, 0.0)])
def test_wrong_weights_are_named(weights: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match=r'AttentionFlowLoss: exact_weight=.* one of them above 0'):
        AttentionFlowLoss(*weights)


def batch() -> tuple[torch.Tensor, list[SegDataSample]]:
    samples = [SegDataSample(gt_sem_seg=PixelData(data=torch.zeros(1, 64, 96).long()))] * 2
    return torch.randn(2, 3, 64, 96), samples


@pytest.fixture
def student(teacher: dict) -> torch.nn.Module:
    losses = dict(flow_loss=dict(type='AttentionFlowLoss'))
    model = tiny_model(type='KDEncoderDecoder', teacher=teacher, kd_losses=losses)
    return MODELS.build(ConfigDict(model)).train()


def test_a_student_learns_from_its_teachers_attention(student: torch.nn.Module) -> None:
    plain = set(MODELS.build(ConfigDict(tiny_model())).state_dict())
    losses = student.loss(*batch())
    assert 0 < losses['flow_loss'].item() < 100
    losses['flow_loss'].backward()
    assert student.backbone.block4[-1].attn.q.weight.grad.any()
    assert set(student.state_dict()) == plain


def test_the_tap_is_outside_of_compiled_blocks(student: torch.nn.Module) -> None:
    images = batch()
    student.backbone.eval()
    expected = student.loss(*images)['flow_loss']
    compiled = copy.deepcopy(student)
    assert compile_blocks(compiled, dict(backend='aot_eager', fullgraph=True)) == 4
    torch.testing.assert_close(compiled.loss(*images)['flow_loss'], expected)


def test_a_teacher_without_the_tap_is_named(tmp_path: Path) -> None:
    model = tiny_model(backbone=dict(TINY_BACKBONE, sr_ratios=(8, 4, 2, 2)))
    weights = MODELS.build(ConfigDict(model)).state_dict()
    torch.save({'state_dict': weights}, tmp_path / 'coarser.pth')
    losses = dict(flow_loss=dict(type='AttentionFlowLoss'))
    other = dict(config=model, checkpoint=str(tmp_path / 'coarser.pth'))
    student = tiny_model(type='KDEncoderDecoder', teacher=other, kd_losses=losses)
    with pytest.raises(UserError, match=r"the teacher has no tap 'stage4.attention'"):
        MODELS.build(ConfigDict(student)).build_teacher()
