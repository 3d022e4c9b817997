"""Predict images and videos, and write class ids, overlays and the legend."""

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import groupby, islice
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from tqdm import tqdm

from mmseg_kd.checkpoints import atomic_path
from mmseg_kd.deployment.inputs import Source
from mmseg_kd.deployment.predictor import Predictor
from mmseg_kd.errors import UserError, user_errors
from mmseg_kd.visualization.canvas import canvas
from mmseg_kd.visualization.prediction_grid import class_patches

OPACITY = 0.5
JPEG_QUALITY = 92

Frame = tuple[Source, int, np.ndarray]


def predict_sources(
    predictor: Predictor, sources: Sequence[Source], out: Path, batch_size: int = 1
) -> list[float]:
    """Predict images and videos, with a progress bar.

    Args:
        predictor: The predictor of a checkpoint or an exported file.
        sources: The images and videos.
        out: Receives `ids/NAME.png` and `overlay/NAME.jpg` of an image, `ids/NAME/000000.png` and
            `overlay/NAME.mp4` of a video, and `legend.png`.
        batch_size: Maximum number of frames in a batch; they are consecutive and of one size.

    Returns:
        Seconds of prediction per frame, without reading and writing.
    """
    seconds: list[float] = []
    frames = ((s, i, frame) for s in sources for i, frame in enumerate(s.frames()))
    with tqdm(total=sum(map(len, sources)), unit='frame') as bar, ExitStack() as open_video:
        for batch in _batches(frames, batch_size):
            start = time.perf_counter()
            # For example an image that is too small for the model, or a batch for the memory.
            with user_errors(f'{batch[0][0].path}: ', Exception):
                predictions = predictor.predict([frame for _, _, frame in batch])
            seconds += [(time.perf_counter() - start) / len(batch)] * len(batch)
            for (source, number, frame), ids in zip(batch, predictions, strict=True):
                painted, overlays = overlay(frame, ids, predictor.palette), out / 'overlay'
                if source.is_video:
                    if number == 0:
                        open_video.close()
                        file = overlays / f'{source.name}.mp4'
                        video = _open(source, file, painted, open_video)
                    video.write(painted)
                    _write(ids, out / 'ids' / source.name / f'{number:06}.png')
                else:
                    _write(painted[..., ::-1], overlays / f'{source.name}.jpg')
                    _write(ids, out / 'ids' / f'{source.name}.png')
                bar.update()
    _write_legend(predictor.classes, predictor.palette, out / 'legend.png')
    return seconds


def _batches(frames: Iterator[Frame], size: int) -> Iterator[list[Frame]]:
    for _, group in groupby(frames, key=lambda frame: frame[2].shape):
        while batch := list(islice(group, size)):
            yield batch


def _open(source: Source, file: Path, frame: np.ndarray, stack: ExitStack) -> cv2.VideoWriter:
    """Open a video for frames of one size; closing the stack completes the file."""
    partial = stack.enter_context(atomic_path(file))
    code = cv2.VideoWriter_fourcc(*'mp4v')
    rate = cv2.VideoCapture(str(source.path)).get(cv2.CAP_PROP_FPS) or 25.0
    video = cv2.VideoWriter(str(partial), code, rate, frame.shape[1::-1])
    stack.callback(video.release)
    if not video.isOpened():
        raise UserError(f'{file}: OpenCV cannot write videos of this size; predict its frames')
    return video


def overlay(image: np.ndarray, ids: np.ndarray, palette: Sequence[Sequence[int]]) -> np.ndarray:
    """Paint class ids (H, W) over an image (H, W, 3), both BGR, where an id has a colour."""
    colours = np.asarray(palette, np.uint8)[:, ::-1]
    painted = image.copy()
    known = ids < len(colours)
    painted[known] = colours[ids[known]]
    return cv2.addWeighted(image, 1 - OPACITY, painted, OPACITY, 0)


def _write(picture: np.ndarray, file: Path) -> None:
    """Write class ids (H, W) or an RGB image in the format of the file's suffix."""
    with atomic_path(file) as partial:
        Image.fromarray(picture).save(partial, quality=JPEG_QUALITY)


def _write_legend(classes: Sequence[str], palette: Sequence[Sequence[int]], file: Path) -> None:
    """Draw the colours of the classes."""
    patches = class_patches(classes, palette)
    columns = -(-len(patches) // 20)
    rows = -(-len(patches) // columns)
    with canvas(file, 0.25 + 0.24 * rows, 2.4 * columns) as figure:
        figure.legend(handles=patches, loc='center', frameon=False, ncols=columns)
