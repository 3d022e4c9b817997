"""The pixels of `SegAugment` for a whole batch, as tensor operations on any device.

What OpenCV computes for uint8 images is repeated in its own integers, so the pixels are the same
wherever they are made. One thing cannot be had: at the end of a row, in what its vector unit
leaves over of the width (32 pixels with AVX2), OpenCV rounds a conversion from HSV where it
truncates before. Here all are as before, so that up to 31 columns can differ by a few levels.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np
import torch
from torch import Tensor

from mmseg_kd.datasets.augment import LEVELS, Draw

# OpenCV's weights of a bilinear resize have 11 bits, its divisors of a conversion to HSV 12.
WEIGHT_ONE = 1 << 11
DIVISOR_BITS = 12
HUES = 180


def apply_batch(
    images: Tensor,
    sizes: Sequence[tuple[int, int]],
    draws: Sequence[Draw],
) -> Tensor:
    """Resize, crop, flip and colour a batch of images, as `augment.apply` does each of them.

    Nothing waits for the device.

    Args:
        images: BGR (N, 3, H, W), uint8; smaller images lie in the upper left corner.
        sizes: Height and width of each.
        draws: What was drawn for each.

    Returns:
        uint8 (N, 3, h, w) with h and w those of the greatest crop; what is below and to the right
        of a smaller crop means nothing.
    """
    batch = _resize_and_crop(images, sizes, draws)
    batch = _tones(batch, [draw.tones_first for draw in draws])
    for channel, tables in ((1, [d.saturation for d in draws]), (0, [d.hue for d in draws])):
        chosen = [i for i, table in enumerate(tables) if table is not None]
        if chosen:
            at = _to_device(np.array(chosen), batch.device)
            table = _to_device(np.stack([tables[i] for i in chosen]), batch.device)
            batch[at] = _through_hsv(batch[at], channel, table)
    return _tones(batch, [draw.tones_last for draw in draws])


def _to_device(array: np.ndarray, device: torch.device) -> Tensor:
    tensor = torch.from_numpy(array)
    if device.type == 'cuda':
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)


def _resize_and_crop(
    images: Tensor, sizes: Sequence[tuple[int, int]], draws: Sequence[Draw]
) -> Tensor:
    height, width = (max(draw.crop[side] for draw in draws) for side in (0, 1))
    across = np.zeros((4, len(draws), width), np.int32)
    down = np.zeros((4, len(draws), height), np.int32)
    for i, (draw, size) in enumerate(zip(draws, sizes, strict=True)):
        crop = draw.crop
        part = _neighbours(draw.size[0], size[1], edges_alone=True)
        part = part[:, draw.left : draw.left + crop[1]]
        across[:, i, : crop[1]] = part[:, ::-1] if draw.flip else part
        part = _neighbours(draw.size[1], size[0], edges_alone=False)
        down[:, i, : crop[0]] = part[:, draw.top : draw.top + crop[0]]
    plan = _to_device(np.concatenate([across, down], axis=2), images.device)
    first, second, share_first, share_second = plan[..., :width].unsqueeze(2).unsqueeze(2)
    shape = (*images.shape[:3], width)
    wide = images.gather(3, first.long().expand(shape)).int() * share_first
    wide += images.gather(3, second.long().expand(shape)).int() * share_second
    # OpenCV drops these bits before it weighs the rows.
    wide >>= 4
    first, second, share_first, share_second = plan[..., width:].unsqueeze(2).unsqueeze(4)
    shape = (*images.shape[:2], height, width)
    high = (wide.gather(2, first.long().expand(shape)) * share_first) >> 16
    high += (wide.gather(2, second.long().expand(shape)) * share_second) >> 16
    return ((high + 2) >> 2).to(torch.uint8)


def _neighbours(length: int, source: int, edges_alone: bool) -> np.ndarray:
    """First and second neighbour of each of `length` places in a line of `source`, their weights.

    Args:
        length: Pixels after the resize.
        source: Pixels before it.
        edges_alone: Whether a place beyond the edge takes the whole of the pixel there; across,
            OpenCV does so, while down it adds two parts of it, which are rounded each.
    """
    position = ((np.arange(length) + 0.5) * (1 / (length / source)) - 0.5).astype(np.float32)
    first = np.floor(position).astype(np.int32)
    share = position - first.astype(np.float32)
    if edges_alone:
        share[(first < 0) | (first >= source - 1)] = 0
    weights = [np.rint(part * np.float32(WEIGHT_ONE)) for part in (np.float32(1) - share, share)]
    places = [np.clip(first + i, 0, source - 1) for i in (0, 1)]
    return np.stack([*places, *(weight.astype(np.int32) for weight in weights)])


def _tones(batch: Tensor, tables: Sequence[np.ndarray | None]) -> Tensor:
    """Give every image's pixels (N, 3, H, W) the value in its table."""
    if all(table is None for table in tables):
        return batch
    table = np.stack([LEVELS if table is None else table for table in tables])
    return _look_up(_to_device(table, batch.device), batch)


def _look_up(table: Tensor, values: Tensor) -> Tensor:
    """Entries of tables (N, 256) at values (N, ...) of 0 to 255."""
    start = 256 * torch.arange(len(values), device=values.device, dtype=torch.int32)
    places = values.int() + start.view(-1, *[1] * (values.dim() - 1))
    return table.flatten().index_select(0, places.flatten()).view(values.shape)


def _through_hsv(batch: Tensor, channel: int, table: Tensor) -> Tensor:
    """Give one channel of HSV the values in each image's table; uint8 BGR in and out."""
    hsv = list(_bgr_to_hsv(batch))
    hsv[channel] = _look_up(table, hsv[channel]).int()
    hue, saturation, value = hsv
    packed = _packed_bgr(batch.device).index_select(
        0, ((hue * 256 + saturation) * 256 + value).flatten()
    )
    return torch.stack(
        [(packed >> shift).to(torch.uint8).view(hue.shape) for shift in (0, 8, 16)], dim=1
    )


def _bgr_to_hsv(batch: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Hue (below 180), saturation and value (N, H, W), int32, of uint8 images (N, 3, H, W)."""
    blue, green, red = batch.int().unbind(1)
    value = torch.maximum(torch.maximum(blue, green), red)
    difference = value - torch.minimum(torch.minimum(blue, green), red)
    of_saturation, of_hue = _divisors(batch.device)
    half = 1 << (DIVISOR_BITS - 1)
    hue = torch.where(
        value == red,
        green - blue,
        torch.where(value == green, blue - red + 2 * difference, red - green + 4 * difference),
    )
    shape = value.shape
    hue = hue * of_hue.index_select(0, difference.flatten()).view(shape) + half >> DIVISOR_BITS
    saturation = difference * of_saturation.index_select(0, value.flatten()).view(shape) + half
    return torch.where(hue < 0, hue + HUES, hue), saturation >> DIVISOR_BITS, value


@lru_cache
def _divisors(device: torch.device) -> tuple[Tensor, Tensor]:
    """Fixed-point 255 / i and 30 / i, int32 (256,)."""
    tables = []
    for dividend in (255 << DIVISOR_BITS, (HUES << DIVISOR_BITS) / 6):
        table = np.zeros(256, np.int32)
        table[1:] = np.rint(dividend / np.arange(1, 256))
        tables.append(torch.from_numpy(table).to(device))
    return tuple(tables)


@lru_cache
def _packed_bgr(device: torch.device) -> Tensor:
    """Blue + 256 green + 65536 red of every hue, saturation and value; int32, 45 MiB.

    It is OpenCV's own answer: in floating point it depends on how the processor multiplies.
    """
    hsv = np.empty((HUES, 256, 256, 3), np.uint8)
    hsv[..., 0] = np.arange(HUES)[:, None, None]
    hsv[..., 1], hsv[..., 2] = LEVELS[:, None], LEVELS
    bgr = cv2.cvtColor(hsv.reshape(-1, 256, 3), cv2.COLOR_HSV2BGR).reshape(-1, 3)
    return torch.from_numpy(bgr.astype(np.int32) @ np.array([1, 1 << 8, 1 << 16], np.int32)).to(
        device
    )
