"""Predict images and videos, and write what comes out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from mmseg_kd.checkpoints import atomic_path
from mmseg_kd.deployment.inputs import Source
from mmseg_kd.deployment.predictor import Predictor
from mmseg_kd.deployment.results import overlay, write_ids, write_picture

# Receives a frame and its class ids.
Write = Callable[[np.ndarray, np.ndarray], None]


def predict_sources(
    predictor: Predictor, sources: Sequence[Source], out: Path, batch_size: int = 1
) -> list[float]:
    """Predict images and videos, with a progress bar.

    Args:
        predictor: What predicts.
        sources: What to predict.
        out: Receives `ids/NAME.png` and `overlay/NAME.jpg` of an image, `ids/NAME/000000.png` and
            `overlay/NAME.mp4` of a video.
        batch_size: Frames that are predicted together, where they have one size.

    Returns:
        Seconds of prediction per frame, without reading and writing.
    """
    seconds: list[float] = []
    waiting: list[tuple[np.ndarray, Write]] = []

    def flush() -> None:
        if not waiting:
            return
        start = time.perf_counter()
        predictions = predictor.predict([frame for frame, _ in waiting])
        each = (time.perf_counter() - start) / len(waiting)
        for (frame, write), ids in zip(waiting, predictions, strict=True):
            write(frame, ids)
            seconds.append(each)
            bar.update()
        waiting.clear()

    with tqdm(total=sum(map(len, sources)), unit='frame') as bar:
        for source in sources:
            with _writer(source, out, predictor.palette) as write:
                for frame in source.frames():
                    if len(waiting) == batch_size or (
                        waiting and waiting[0][0].shape != frame.shape
                    ):
                        flush()
                    waiting.append((frame, write))
                if source.is_video:
                    flush()
        flush()
    return seconds


@contextmanager
def _writer(source: Source, out: Path, palette: Sequence[Sequence[int]]) -> Iterator[Write]:
    ids_file, picture = out / 'ids' / source.name, out / 'overlay' / source.name
    if not source.is_video:

        def write_image(frame: np.ndarray, ids: np.ndarray) -> None:
            write_ids(ids, _with(ids_file, '.png'))
            write_picture(overlay(frame, ids, palette), _with(picture, '.jpg'))

        yield write_image
        return
    picture.parent.mkdir(parents=True, exist_ok=True)
    video, written = cv2.VideoWriter(), 0

    def write_frame(frame: np.ndarray, ids: np.ndarray) -> None:
        nonlocal written
        if not written:
            size = frame.shape[1::-1]
            video.open(str(partial), cv2.VideoWriter_fourcc(*'mp4v'), source.rate, size)
        write_ids(ids, ids_file / f'{written:06}.png')
        video.write(overlay(frame, ids, palette))
        written += 1

    with atomic_path(_with(picture, '.mp4')) as partial:
        yield write_frame
        video.release()


def _with(name: Path, suffix: str) -> Path:
    """Add a suffix; a name may have dots."""
    return name.with_name(name.name + suffix)
