"""The loss of junctions: NumPy's values, and where it is 0."""

import itertools

import numpy as np
import pytest
import torch

from mmseg_kd.distillation import JunctionLoss

SHAPE = (2, 4, 5, 6)


def maps(channels: int = SHAPE[1], seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    shape = (SHAPE[0], channels, *SHAPE[2:])
    return 2 * torch.randn(shape, generator=generator, dtype=torch.float64)


def labels() -> torch.Tensor:
    target = torch.zeros(SHAPE[0], *SHAPE[2:], dtype=torch.long)
    target[0, :2, 3:] = 255
    return target


def softmax(z: np.ndarray, temperature: float) -> np.ndarray:
    odds = np.exp(z / temperature - (z / temperature).max(axis=1, keepdims=True))
    return odds / odds.sum(axis=1, keepdims=True)


def energies(u: np.ndarray, valid: np.ndarray, normalised: bool) -> np.ndarray:
    """Determinant and trace of the structure tensor (2, N, H-1, W-1), 0 at void faces.

    The determinant is a quarter of the summed squared circulations of the flows of all pairs.
    """
    images, channels, height, width = u.shape
    found = np.zeros((2, images, height - 1, width - 1))
    for n, i, j in np.ndindex(images, height - 1, width - 1):
        if not valid[n, i : i + 2, j : j + 2].all():
            continue
        corners = [(i, j), (i, j + 1), (i + 1, j + 1), (i + 1, j)]
        for a, b in itertools.combinations(range(channels), 2):
            circulation = 0.0
            for (y, x), (v, w) in zip(corners, corners[1:] + corners[:1], strict=True):
                circulation += u[n, a, y, x] * u[n, b, v, w] - u[n, b, y, x] * u[n, a, v, w]
            found[0, n, i, j] += circulation**2 / 4
        for c in range(channels):
            square = u[n, c, i : i + 2, j : j + 2]
            right = (square[:, 1] - square[:, 0]).mean()
            down = (square[1] - square[0]).mean()
            found[1, n, i, j] += right**2 + down**2
    if normalised:
        for n in range(images):
            faces = faces_of(valid)[n].sum()
            mean = found[1, n].sum() / faces
            found[0, n] /= mean**2
            found[1, n] /= mean
    return found


def faces_of(valid: np.ndarray) -> np.ndarray:
    return valid[:, 1:, 1:] & valid[:, :-1, 1:] & valid[:, 1:, :-1] & valid[:, :-1, :-1]


@pytest.mark.parametrize('void', [False, True])
@pytest.mark.parametrize('gamma', [0.0, 0.3])
@pytest.mark.parametrize('settings', [dict(), dict(temperature=2.0), dict(softmax=False)], ids=str)
def test_values_of_numpy(settings: dict, gamma: float, void: bool) -> None:
    # Student and teacher differ in channels.
    student, teacher = maps(), maps(6, seed=1)
    target = labels() if void else None
    value = JunctionLoss(trace_weight=gamma, **settings)(student, teacher, target)
    valid = (labels().numpy() != 255) | (not void)
    features = settings == dict(softmax=False)
    found = []
    for z in (student.numpy(), teacher.numpy()):
        u = z if features else softmax(z, settings.get('temperature', 1.0))
        found.append(energies(u, valid, features))
    faces = faces_of(valid).sum()
    e = 0.01 * (found[1][1].sum() / faces + 1e-6)
    junction, edge = (
        np.sqrt(ours + added) - np.sqrt(theirs + added)
        for ours, theirs, added in zip(*found, (e**2, e), strict=True)
    )
    expected = (junction**2 + gamma * edge**2).sum() / faces
    assert float(value) == pytest.approx(expected, rel=1e-8)


def three_classes() -> torch.Tensor:
    """Logits of classes 0 to 2, which meet in the middle of 8 x 8 pixels; of class 3 nowhere."""
    ids = torch.zeros(8, 8, dtype=torch.long)
    ids[:, 4:] = 1
    ids[4:] = 2
    return 6 * torch.nn.functional.one_hot(ids, 4).permute(2, 0, 1)[None].double()


def test_only_the_junction_is_seen() -> None:
    student, teacher = torch.zeros(1, 4, 8, 8, dtype=torch.float64), three_classes()
    whole = float(JunctionLoss()(student, teacher))
    assert whole > 1e-3
    away = torch.zeros(1, 8, 8, dtype=torch.long)
    away[0, 3, 3] = 255
    # The void pixel is a corner of the face where the three meet.
    assert float(JunctionLoss()(student, teacher, away)) < 1e-6 * whole
    assert float(JunctionLoss(trace_weight=1.0)(student, teacher, away)) > 1e-3


def test_zero_where_only_two_classes_meet() -> None:
    torch.manual_seed(0)
    student, teacher = torch.randn(2, 1, 1, 8, 8)
    # Two classes of four, whose probabilities sum to 1, and two channels.
    unlikely = torch.full((1, 2, 8, 8), -1e4)
    for others in (unlikely, unlikely[:, :0]):
        pairs = [torch.cat([x, -x, others], dim=1).requires_grad_() for x in (student, teacher)]
        value = JunctionLoss()(*pairs)
        value.backward()
        assert float(value.detach()) < 1e-8
        assert float(pairs[0].grad.abs().max()) < 1e-5
        assert float(JunctionLoss(trace_weight=1.0)(*pairs).detach()) > 1e-3


def test_features_have_no_scale() -> None:
    x = maps()
    loss = JunctionLoss(softmax=False, trace_weight=1.0)
    assert float(loss(x, 50 * x)) < 1e-20
    rotation = torch.linalg.qr(maps().view(-1)[:16].view(4, 4)).Q
    rotated = torch.einsum('dc,nchw->ndhw', rotation, x)
    assert float(loss(x, rotated)) < 1e-20
    assert float(loss(x, maps(seed=1))) > 1e-3


def test_flip_equivariance() -> None:
    taps = [maps(), maps(seed=1), labels()]
    for loss in (JunctionLoss(trace_weight=0.5), JunctionLoss(softmax=False)):
        for dim in (-1, -2):
            flipped = loss(*(x.flip(dim) for x in taps))
            assert float(flipped) == pytest.approx(float(loss(*taps)), rel=1e-9)


@pytest.mark.parametrize('size', [(1, 1), (1, 5)])
def test_a_line_has_no_faces(size: tuple[int, int]) -> None:
    x = torch.randn(2, 3, *size)
    for loss in (JunctionLoss(), JunctionLoss(softmax=False)):
        assert float(loss(x, 2 * x)) == 0
