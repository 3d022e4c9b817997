"""Write the configs of a converted data set: its data, a baseline, a teacher and a student."""

import statistics
from pathlib import Path

from mmseg_kd.datasets.custom.converting import Counts
from mmseg_kd.datasets.custom.masks import Legend

BASES = Path(__file__).resolve().parents[3] / 'local_configs' / '_base_'
# Pixels of the longer side and of the crop's sides at most; the crop is a multiple of 32.
LONGEST, LARGEST_CROP, STEP = 1024, 512, 32


def write_configs(
    folder: Path, dest: Path, legend: Legend, counts: Counts, tested: bool
) -> list[str]:
    """Write `data.py`, `baseline.py`, `teacher.py` and `student.py` of a data set.

    Args:
        folder: Where to write.
        dest: The folder of the data set in the end.
        legend: The classes.
        counts: Of the images.
        tested: Whether there is a test split; else the test reads val.

    Returns:
        The names of the last three.
    """
    width, height = (round(statistics.median(sides)) for sides in zip(*counts.sizes, strict=True))
    scale = min(1.0, LONGEST / max(width, height))
    width, height = round(width * scale), round(height * scale)
    crop = tuple(max(STEP, min(side, LARGEST_CROP) // STEP * STEP) for side in (height, width))
    root = dest.resolve().as_posix()
    name = dest.resolve().name
    texts = {
        'data.py': _template('data').format(
            root=root,
            classes=tuple(legend.names),
            palette=[list(colour) for colour in legend.palette],
            weights=str(counts.weights()).replace(' ', ''),
            crop=crop,
            scale=(width, height),
            test='test' if tested else 'val',
        )
    }
    for role, size in (('baseline', 'b0'), ('teacher', 'b2')):
        parts = (f'models/segformer_{size}.py', 'schedules/adamw_scratch.py', 'default_runtime.py')
        texts[f'{role}.py'] = _template('model').format(
            role=role, size=size, name=name, count=len(legend.names),
            bases=[*((BASES / part).as_posix() for part in parts), './data.py'],
        )  # fmt: skip
    texts['student.py'] = _template('student').format(teacher=f'{root}/teacher.py', name=name)
    for file, text in texts.items():
        (folder / file).write_text(text, encoding='utf-8')
    return [*texts][1:]


def _template(name: str) -> str:
    return Path(__file__).with_name(f'{name}.template').read_text(encoding='utf-8')
