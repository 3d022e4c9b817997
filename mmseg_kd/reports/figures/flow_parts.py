"""The parts of the flows between the maps of a tap, drawn over the image.

Models are segmentors by name, 'teacher' (may be missing) before 'student'.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from matplotlib import colormaps
from mmengine.dataset import BaseDataset
from torch import Tensor, nn

from mmseg_kd.distillation.grid.calculus import Flow, pair_flow, structure_tensor, valid_faces
from mmseg_kd.distillation.grid.decomposition import split_masked
from mmseg_kd.distillation.maps import class_logits, resize_labels, resize_map, valid_pixels
from mmseg_kd.reports.figures import samples
from mmseg_kd.reports.figures.images import WORSE
from mmseg_kd.visualization import Panel, prediction_grid
from mmseg_kd.visualization.prediction_grid import HEAT_COLOURS

PARTS = ('gradient', 'curl', 'harmonic')
# Iterations of conjugate gradients. The harmonic part is a small remainder, so the error of the
# other two must be smaller still.
ITERATIONS = 100
# Principal components of features.
COMPONENTS = 12
# The smallest scale of the other parts, as a fraction of the largest value of the gradient part.
SMALLEST_SCALE = 0.05
# Width of a panel; larger images are shown reduced.
PANEL_PIXELS = 240
# Names and colours of the edges in the first column.
NAMES = ('edges of the prediction', 'edges of the label')
LEGEND = dict(classes=NAMES, palette=(WORSE, (255, 255, 255)))


class FlowParts(NamedTuple):
    """What is drawn for a model and an image.

    Attributes:
        ids: Predicted ids (H, W), at the size of the network's input.
        heats: Amplitudes (H, W) by part, and 'junction'.
        shares: Share of each part in the energy of the flows, in percent.
        junction: Mean of the junction energy over the faces.
        grid: Height and width of the map that was decomposed.
    """

    ids: np.ndarray
    heats: dict[str, np.ndarray]
    shares: dict[str, float]
    junction: float
    grid: tuple[int, int]


@torch.no_grad()
def flow_parts(
    model: nn.Module,
    sample: samples.Sample,
    tap: str,
    like: nn.Module,
    void: Sequence[int] = (),
    grid: Sequence[int] | None = None,
) -> FlowParts:
    """Decompose the flows between all pairs of maps at a tap of a model for one image.

    Args:
        model: The segmentor.
        sample: The image and its label.
        tap: Name of the tap. Logits become probabilities, other maps their first principal
            components.
        like: The student, whose preprocessor prepares the image.
        void: Ids to leave out as void, in addition to 255.
        grid: Height and width to which the map is resized, as losses resize a teacher's; its own
            if None.

    Raises:
        UserError: The tap is not a map.
    """
    inputs = like.data_preprocessor(samples.batch_of(sample), False)['inputs']
    maps = samples.tap_maps(model, inputs, [tap], like, '--tap')[tap]
    maps = resize_map(maps, grid or maps.shape[2:])
    size, padded = sample['inputs'].shape[1:], inputs.shape[2:]
    label = resize_labels(samples.label_of(sample)[None], size)
    label = torch.where(torch.isin(label, label.new_tensor(void)), samples.IGNORED, label)
    # The padding is void.
    label = F.pad(label, (0, padded[1] - size[1], 0, padded[0] - size[0]), value=samples.IGNORED)
    valid = valid_pixels(label, maps, samples.IGNORED)[0]
    u = _potentials(maps[0].double().cpu(), valid, tap == 'logits')
    energies = pair_energies(u, valid)
    xx, xy, yy = (entry[0] for entry in structure_tensor(u[None]))
    junction = (xx * yy - xy.square()).clamp(min=0).sqrt() * valid_faces(valid)
    total = float(sum(energies.values()).sum()) or 1.0
    heats = {name: energy.sqrt() for name, energy in energies.items()}
    heats['junction'] = _between_pixels(junction)
    return FlowParts(
        resize_labels(samples.predict(model, sample)[None], size)[0].numpy(),
        {name: _enlarged(heat, padded)[: size[0], : size[1]] for name, heat in heats.items()},
        {name: 100 * float(energy.sum()) / total for name, energy in energies.items()},
        float(junction.sum() / valid_faces(valid).sum().clamp(min=1)),
        tuple(valid.shape),
    )


def _potentials(x: Tensor, valid: Tensor, logits: bool) -> Tensor:
    """Return probabilities of logits (C, H, W), or the principal components of features.

    The components have mean 0 and a mean squared norm of 1 over the valid pixels. The energies of
    all pairs are the same in every rotated basis of the channels.
    """
    if logits:
        return class_logits(x[None]).softmax(dim=1)[0]
    values = x[:, valid]
    if not values.numel():
        return torch.zeros_like(x[:COMPONENTS])
    mean = values.mean(dim=1, keepdim=True)
    # `eigh` returns them in ascending order of their variance.
    variances, directions = torch.linalg.eigh(torch.cov(values, correction=0).view(len(x), -1))
    scale = variances.sum().clamp(min=1e-12).sqrt()
    directions = directions[:, -COMPONENTS:]
    return ((directions.T @ (x.flatten(1) - mean)) / scale).unflatten(1, x.shape[1:])


def pair_energies(u: Tensor, valid: Tensor) -> dict[str, Tensor]:
    """Sum the energies of the parts of the flows between all pairs of maps.

    Args:
        u: Maps (C, H, W).
        valid: Booleans (H, W). Edges and faces at other pixels are left out.

    Returns:
        By part, the energy at each pixel (H, W): half of that of its edges.
    """
    energies = {name: torch.zeros_like(u[0]) for name in PARTS}
    # One map with all later ones at a time: all pairs at once would take too much memory.
    for i in range(len(u) - 1):
        parts = split_masked(pair_flow(u[i], u[i + 1 :]), valid, ITERATIONS)
        for name, part in zip(PARTS, parts, strict=True):
            energies[name] += _at_pixels(part)
    return energies


def _at_pixels(flow: Flow) -> Tensor:
    x, y = (part.square().sum(dim=0) / 2 for part in flow)
    across = F.pad(x, (1, 0)) + F.pad(x, (0, 1))
    return across + F.pad(y, (0, 0, 1, 0)) + F.pad(y, (0, 0, 0, 1))


def _between_pixels(faces: Tensor) -> Tensor:
    """Bring values of faces (H-1, W-1) to (2H, 2W), each at the corners of its four pixels."""
    doubled = F.pad(faces, (1, 1, 1, 1)).repeat_interleave(2, 0).repeat_interleave(2, 1)
    return doubled[1:-1, 1:-1]


def _enlarged(heat: Tensor, size: Sequence[int]) -> np.ndarray:
    return F.interpolate(heat[None, None], tuple(size), mode='nearest-exact')[0, 0].numpy()


def write_flow_parts(
    models: Mapping[str, nn.Module],
    dataset: BaseDataset,
    indices: Sequence[int],
    tap: str,
    folder: Path,
    void: Sequence[int] = (),
) -> dict[str, dict[str, float]]:
    """Draw images into `NAME.png`.

    Args:
        models: The models.
        dataset: Labelled images.
        indices: Which of them to draw.
        tap: Name of the tap.
        folder: Where to write.
        void: As for `flow_parts`.

    Returns:
        By model, the mean over the images of the shares of the parts in percent.
    """
    shares: dict[str, list[dict[str, float]]] = {name: [] for name in models}
    student = models['student']
    for i in indices:
        sample = dataset[i]
        own = flow_parts(student, sample, tap, student, void)
        found = {'student': own}
        if 'teacher' in models:
            other = flow_parts(models['teacher'], sample, tap, student, void, own.grid)
            found = {'teacher': other, **found}
        label = resize_labels(samples.label_of(sample)[None], sample['inputs'].shape[1:])[0]
        rows = _rows(samples.image_of(sample), label.numpy(), found)
        prediction_grid(rows, LEGEND, folder / f'{samples.stem_of(dataset, i)}.png')
        for name, one in found.items():
            shares[name].append(one.shares)
    return {
        name: {part: float(np.mean([one[part] for one in rows])) for part in PARTS}
        for name, rows in shares.items()
    }


def _rows(
    image: np.ndarray, label: np.ndarray, found: Mapping[str, FlowParts]
) -> list[list[Panel]]:
    # One scale for all rows; the parts without a potential share one, so that an empty one is dark.
    highest = {
        name: max(float(one.heats[name].max()) for one in found.values())
        for name in (*PARTS, 'junction')
    }
    least = SMALLEST_SCALE * highest['gradient']
    highest['curl'] = highest['harmonic'] = max(highest['curl'], highest['harmonic'], least)
    rows = []
    for model, one in found.items():
        row = [Panel(model, _with_edges(image, label, one.ids))]
        for part, heat in one.heats.items():
            share = one.shares.get(part)
            junction = f'junctions: mean {one.junction:.4f}'
            text = junction if share is None else f'{part} part: {share:.1f} %'
            row.append(Panel(text, _over(image, heat / (highest[part] or 1.0))))
        rows.append(row)
    return rows


def _with_edges(image: np.ndarray, label: np.ndarray, ids: np.ndarray) -> np.ndarray:
    drawn = 0.6 * image.mean(axis=2, keepdims=True).repeat(3, axis=2)
    drawn[_edges(ids)], drawn[_edges(label)] = LEGEND['palette']
    return drawn.astype(np.uint8)


def _edges(ids: np.ndarray) -> np.ndarray:
    """Return the pixels with another id near them, as visible lines."""
    width = 1 + max(1, round(ids.shape[1] / PANEL_PIXELS))
    near = np.ones((width, width), np.uint8)
    return cv2.morphologyEx(ids.astype(np.uint8), cv2.MORPH_GRADIENT, near) > 0


def _over(image: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Lay a heat map from 0 to 1 over a darkened image, the more opaque the higher it is."""
    colours = 255 * colormaps[HEAT_COLOURS](heat)[..., :3]
    opacity = np.clip(2 * heat, 0, 1)[..., None]
    grey = 0.4 * image.mean(axis=2, keepdims=True)
    return (opacity * colours + (1 - opacity) * grey).astype(np.uint8)
