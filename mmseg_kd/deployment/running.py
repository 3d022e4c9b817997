"""Predict images and videos, and write what comes out."""

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import groupby, islice
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from mmseg_kd.checkpoints import atomic_path
from mmseg_kd.deployment.inputs import Source
from mmseg_kd.deployment.predictor import Predictor
from mmseg_kd.deployment.results import overlay, write_ids, write_picture

Frame = tuple[Source, int, np.ndarray]


def predict_sources(
    predictor: Predictor, sources: Sequence[Source], out: Path, batch_size: int = 1
) -> list[float]:
    """Predict images and videos, with a progress bar.

    Args:
        predictor: What predicts.
        sources: What to predict.
        out: Receives `ids/NAME.png` and `overlay/NAME.jpg` of an image, `ids/NAME/000000.png` and
            `overlay/NAME.mp4` of a video.
        batch_size: Neighbouring frames of one size that are predicted together.

    Returns:
        Seconds of prediction per frame, without reading and writing.
    """
    seconds: list[float] = []
    frames = ((s, i, frame) for s in sources for i, frame in enumerate(s.frames()))
    with tqdm(total=sum(map(len, sources)), unit='frame') as bar, ExitStack() as open_video:
        for batch in _batches(frames, batch_size):
            start = time.perf_counter()
            predictions = predictor.predict([frame for _, _, frame in batch])
            seconds += [(time.perf_counter() - start) / len(batch)] * len(batch)
            for (source, number, frame), ids in zip(batch, predictions, strict=True):
                painted = overlay(frame, ids, predictor.palette)
                name, picture = out / 'ids' / source.name, out / 'overlay' / source.name
                if source.is_video:
                    if number == 0:
                        open_video.close()
                        video = _open(source, _with(picture, '.mp4'), painted, open_video)
                    video.write(painted)
                    write_ids(ids, name / f'{number:06}.png')
                else:
                    write_picture(painted, _with(picture, '.jpg'))
                    write_ids(ids, _with(name, '.png'))
                bar.update()
    return seconds


def _batches(frames: Iterator[Frame], size: int) -> Iterator[list[Frame]]:
    for _, group in groupby(frames, key=lambda frame: frame[2].shape):
        while batch := list(islice(group, size)):
            yield batch


def _open(source: Source, file: Path, frame: np.ndarray, stack: ExitStack) -> cv2.VideoWriter:
    """Open a video for frames of one size; it has its name when the stack is closed."""
    partial = stack.enter_context(atomic_path(file))
    code = cv2.VideoWriter_fourcc(*'mp4v')
    video = cv2.VideoWriter(str(partial), code, source.rate, frame.shape[1::-1])
    stack.callback(video.release)
    return video


def _with(name: Path, suffix: str) -> Path:
    """Add a suffix; the name may have dots."""
    return name.with_name(name.name + suffix)
