"""The losses of frequencies: NumPy's values, the two cases known by name, and the control."""

import math

import numpy as np
import pytest
import torch

from mmseg_kd.distillation import PermutedSpectrumLoss, SobolevLoss
from mmseg_kd.distillation.grid.calculus import gradient
from mmseg_kd.distillation.grid.decomposition import basis_of, transform

SHAPE = (2, 3, 6, 7)


def maps(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, *SHAPE, generator=generator, dtype=torch.float64).unbind()


def labels() -> torch.Tensor:
    """Labels with a void corner in the first image."""
    target = torch.zeros(2, *SHAPE[2:], dtype=torch.long)
    target[0, :2, :3] = 255
    return target


def cosine_transform(x: np.ndarray) -> np.ndarray:
    """The orthonormal DCT-II of a map (H, W), by its definition."""
    height, width = x.shape
    found = np.zeros_like(x)
    for k in range(height):
        for m in range(width):
            scale = math.sqrt((1 if k == 0 else 2) / height * (1 if m == 0 else 2) / width)
            for i in range(height):
                for j in range(width):
                    wave = math.cos(math.pi * k * (i + 0.5) / height)
                    wave *= math.cos(math.pi * m * (j + 0.5) / width)
                    found[k, m] += scale * wave * x[i, j]
    return found


def eigenvalue(k: int, m: int) -> float:
    height, width = SHAPE[2:]
    return 4 - 2 * math.cos(math.pi * k / height) - 2 * math.cos(math.pi * m / width)


def expected(
    student: torch.Tensor,
    teacher: torch.Tensor,
    target: torch.Tensor,
    mode: str,
    s: float,
    betas: tuple[float, ...],
) -> float:
    """The loss by its formula, one frequency after another."""
    spectra = []
    for x in (student.numpy(), teacher.numpy()):
        x = (x - x.mean(axis=1, keepdims=True)) * (target.numpy() != 255)[:, None]
        spectra.append(np.array([[cosine_transform(c) for c in image] for image in x]))
    images, channels = SHAPE[:2]
    total = 0.0
    energies = np.zeros((2, images, channels, len(betas)))
    for n, c, k, m in np.ndindex(*SHAPE):
        value = eigenvalue(k, m)
        power = 0.0 if value < 1e-12 and s < 0 else value**s
        band = min(int(math.sqrt(value / 8) * len(betas) + 1e-9), len(betas) - 1)
        a, b = (x[n, c, k, m] for x in spectra)
        energies[0, n, c, band] += power * a * a
        energies[1, n, c, band] += power * b * b
        e = 0.01 * np.mean(spectra[1][n] ** 2)
        difference = {
            'mse': a - b,
            'amplitude': abs(a) - abs(b),
            'phase': a / math.sqrt(a * a + e) - b / math.sqrt(b * b + e),
            'log_energy': 0,
        }[mode]
        total += betas[band] * power * difference**2
    if mode != 'log_energy':
        return total / ((target != 255).sum().item() * channels)
    for n, c, band in np.ndindex(images, channels, len(betas)):
        e = 0.01 * energies[1, n].mean()
        ours, theirs = (math.log(x + e) for x in energies[:, n, c, band])
        total += betas[band] * (ours - theirs) ** 2
    return total / (images * channels)


@pytest.mark.parametrize('betas', [(1.0,), (2.0, 0.0, 0.5)])
@pytest.mark.parametrize('s', [-1.0, -0.5, 0.0, 1.0])
@pytest.mark.parametrize('mode', ['mse', 'amplitude', 'log_energy', 'phase'])
def test_values_of_numpy(mode: str, s: float, betas: tuple[float, ...]) -> None:
    student, teacher = maps()
    loss = SobolevLoss(exponent=s, band_weights=betas, mode=mode)
    value = float(loss(student, teacher, labels()))
    assert value == pytest.approx(expected(student, teacher, labels(), mode, s, betas), rel=1e-9)


def test_exponent_0_is_the_squared_error_and_1_that_of_the_differences() -> None:
    student, teacher = maps()
    squared = (student - teacher).square()
    error = SobolevLoss(exponent=0, centre=False)(student, teacher)
    assert float(error) == pytest.approx(float(squared.mean()), rel=1e-12)
    edges = gradient(student - teacher).energy().sum() / student.numel()
    differences = SobolevLoss(exponent=1, centre=False)(student, teacher)
    assert float(differences) == pytest.approx(float(edges), rel=1e-12)
    # Void values are left out of the mean.
    kept = squared.masked_select((labels() != 255)[:, None])
    masked = SobolevLoss(exponent=0, centre=False)(student, teacher, labels())
    assert float(masked) == pytest.approx(float(kept.mean()), rel=1e-12)
    # Without a constant at each pixel.
    offset = torch.randn(2, 1, *SHAPE[2:], dtype=torch.float64)
    for loss in (SobolevLoss(exponent=0), SobolevLoss(exponent=1)):
        value = loss(student + offset, teacher)
        assert float(value) == pytest.approx(float(loss(student, teacher)), rel=1e-12)


@pytest.mark.parametrize('s', [-2.0, -0.5, 1.0])
@pytest.mark.parametrize('loss', [SobolevLoss, PermutedSpectrumLoss])
def test_a_constant_offset_is_not_seen(loss: type[SobolevLoss], s: float) -> None:
    student, _ = maps()
    shifted = student + torch.tensor([3.0, -1.0, 7.0], dtype=torch.float64)[:, None, None]
    assert float(loss(exponent=s)(student, shifted)) < 1e-20
    assert float(loss(exponent=0)(student, shifted)) > 1


def test_log_energies_do_not_change_where_a_map_is_flipped() -> None:
    student, _ = maps()
    flipped = student.flip(3)
    for mode in ('amplitude', 'log_energy'):
        assert float(SobolevLoss(mode=mode, band_weights=(1, 1))(student, flipped)) < 1e-20
    for mode in ('mse', 'phase'):
        assert float(SobolevLoss(mode=mode)(student, flipped)) > 0.1


@pytest.mark.parametrize('mode', ['mse', 'amplitude', 'log_energy', 'phase'])
@pytest.mark.parametrize('loss', [SobolevLoss, PermutedSpectrumLoss])
def test_flip_equivariance(loss: type[SobolevLoss], mode: str) -> None:
    student, teacher = maps()
    built = loss(mode=mode, exponent=-0.5, band_weights=(1, 2))
    taps = [student, teacher, labels()]
    for dim in (-1, -2):
        flipped = built(*(x.flip(dim) for x in taps))
        assert float(flipped) == pytest.approx(float(built(*taps)), rel=1e-9)


def test_the_mode_of_the_phase_has_no_height() -> None:
    student, _ = maps()
    high = SobolevLoss(mode='phase', exponent=0)(100 * student, student)
    assert 0 < float(high) < 0.1 < float(SobolevLoss(mode='phase', exponent=0)(-student, student))


def spectrum_weights(loss: SobolevLoss, height: int, width: int) -> np.ndarray:
    """What the squared difference of each frequency is multiplied with."""
    basis = basis_of(torch.empty(height, width, dtype=torch.float64))
    weights = np.zeros((height, width))
    for k, m in np.ndindex(height, width):
        wave = torch.outer(basis.cosines[0][k], basis.cosines[1][m])[None, None]
        assert float(transform(wave)[0, 0, k, m]) == pytest.approx(1)
        # A single channel becomes two, the first of which is 0.
        weights[k, m] = float(loss(wave, torch.zeros_like(wave))) * 2 * height * width
    return weights


def test_the_control_has_the_same_weights_at_other_frequencies() -> None:
    loss, control, other = (
        spectrum_weights(x, 5, 6)
        for x in (
            SobolevLoss(centre=False),
            PermutedSpectrumLoss(centre=False),
            PermutedSpectrumLoss(centre=False, seed=1),
        )
    )
    assert loss.max() == pytest.approx(eigenvalue_of_corner(5, 6), rel=1e-9)
    for weights in (control, other):
        assert np.sort(weights.ravel()) == pytest.approx(np.sort(loss.ravel()), abs=1e-9)
        assert weights[0, 0] == pytest.approx(0, abs=1e-12)
        assert abs(np.corrcoef(weights.ravel()[1:], loss.ravel()[1:])[0, 1]) < 0.5
    assert not np.allclose(control, other)


def eigenvalue_of_corner(height: int, width: int) -> float:
    return sum(2 - 2 * math.cos(math.pi * (n - 1) / n) for n in (height, width))


def test_the_permutation_is_fixed_and_leaves_the_random_stream() -> None:
    torch.manual_seed(0)
    student, teacher = maps()
    state = torch.get_rng_state()
    values = {float(PermutedSpectrumLoss(seed=7)(student, teacher)) for _ in range(2)}
    assert len(values) == 1
    assert torch.equal(torch.get_rng_state(), state)
    assert values != {float(SobolevLoss()(student, teacher))}


def test_void_pixels_have_no_gradient() -> None:
    student, teacher = maps()
    student.requires_grad_()
    SobolevLoss(exponent=-0.5)(student, teacher, labels()).backward()
    void = (labels() == 255)[:, None].expand(SHAPE)
    assert not student.grad[void].any()
    assert student.grad[~void].all()


def test_permuting_leaves_the_basis_as_it_is() -> None:
    maps = torch.randn(1, 2, 6, 10, dtype=torch.float64)
    before = basis_of(maps).eigenvalues.clone()
    PermutedSpectrumLoss()(maps, maps + 1)
    assert torch.equal(basis_of(maps).eigenvalues, before)
