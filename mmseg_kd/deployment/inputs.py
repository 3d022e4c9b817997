"""Find the images and videos that a command line names, and read them in batches."""

import glob
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from mmseg_kd.datasets.checked_files import check_image
from mmseg_kd.datasets.listing import SUFFIXES, images_in
from mmseg_kd.deployment.predictor import read_image
from mmseg_kd.errors import UserError

VIDEO_SUFFIXES = ('.mp4', '.avi', '.mov', '.mkv', '.webm')


@dataclass(frozen=True)
class Source:
    """An image or a video, and the name of its results below the output folders."""

    path: Path
    name: Path

    @property
    def is_video(self) -> bool:
        """Whether it is a video, by its suffix."""
        return self.path.suffix.lower() in VIDEO_SUFFIXES

    def __len__(self) -> int:
        """Check the file, and return the number of frames; a video may state too many."""
        if not self.is_video:
            check_image(self.path)
            return 1
        video = cv2.VideoCapture(str(self.path))
        if not video.isOpened():
            raise UserError(f'{self.path}: is not a video that OpenCV can read')
        return max(int(video.get(cv2.CAP_PROP_FRAME_COUNT)), 0)

    def frames(self) -> Iterator[np.ndarray]:
        """Read the image, or the frames of the video: (H, W, 3), BGR."""
        if not self.is_video:
            yield read_image(self.path)
            return
        video, empty = cv2.VideoCapture(str(self.path)), True
        while (read := video.read())[0]:
            empty = False
            yield read[1]
        if empty:
            raise UserError(f'{self.path}: OpenCV cannot read a frame of it')


def find_sources(inputs: Sequence[str]) -> list[Source]:
    """List the images and videos that the inputs name, in order.

    Args:
        inputs: Images, videos, folders (searched with their subfolders) and patterns with `*`.

    Raises:
        UserError: An input does not exist, holds nothing or is of an unknown kind, or two files
            would have results of the same name.
    """
    sources: dict[Path, Source] = {}
    for text in inputs:
        if not text.strip():
            raise UserError('INPUT is empty; name an image, a video or a folder')
        for source in _sources_of(text):
            other = sources.setdefault(source.name, source)
            if other.path.resolve() != source.path.resolve():
                raise UserError(
                    f'{other.path} and {source.path} would have results of the same name, '
                    f'{source.name}; predict them into two folders'
                )
    for source in sources.values():
        for other in filter(None, map(sources.get, source.name.parents)):
            if other.is_video:
                raise UserError(
                    f'the results of {source.path} would be among the frames of {other.path}; '
                    'predict them into two folders'
                )
    return list(sources.values())


def _sources_of(text: str) -> list[Source]:
    path, known = Path(text), (*SUFFIXES, *VIDEO_SUFFIXES)
    files = images_in(path, known) if path.is_dir() else [path]
    if not path.exists():
        # Windows' consoles do not expand patterns.
        found = sorted(glob.glob(text, recursive=True))  # noqa: PTH207 - it may be absolute
        files = [Path(file) for file in found]
        if not files:
            raise UserError(f'{text}: does not exist')
    files = [file for file in files if file.suffix.lower() in known and file.is_file()]
    if not files:
        problem = 'is not an image or a video' if path.is_file() else 'holds no image or video'
        raise UserError(f'{text}: {problem} ({", ".join(known)})')
    names = [file.relative_to(path) if path.is_dir() else Path(file.name) for file in files]
    return [Source(file, name.with_suffix('')) for file, name in zip(files, names, strict=True)]
