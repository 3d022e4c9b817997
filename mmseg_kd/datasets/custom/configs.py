"""Write the configs of a converted data set: its data, a baseline, a teacher and a student."""

import statistics
from pathlib import Path

from mmseg_kd.datasets.custom.converting import Counts
from mmseg_kd.datasets.custom.masks import Legend

# In pixels: limits of an image's longer side and of the crop's sides, which are multiples of STEP.
LONGEST, LARGEST_CROP, STEP = 1024, 512, 32
# The config files, and the size of the SegFormer in those that define one.
SIZES = dict(data='', baseline='b0', teacher='b2', student='')


def write_configs(
    folder: Path, dest: Path, bases: Path, legend: Legend, counts: Counts, tested: bool
) -> list[str]:
    """Write `data.py`, `baseline.py`, `teacher.py` and `student.py` of a data set.

    Args:
        folder: Where to write.
        dest: The folder of the data set, to which `folder` is renamed later.
        bases: The folder `local_configs/_base_`, from which the configs inherit.
        legend: The classes.
        counts: The sizes of the images and the pixels of the classes.
        tested: Whether there is a test split; otherwise the test reads val.

    Returns:
        The names of the configs to train: all but `data.py`.
    """
    width, height = (round(statistics.median(sides)) for sides in zip(*counts.sizes, strict=True))
    scale = min(1.0, LONGEST / max(width, height))
    width, height = round(width * scale), round(height * scale)
    crop = tuple(max(STEP, min(side, LARGEST_CROP) // STEP * STEP) for side in (height, width))
    root = dest.resolve()
    values = dict(
        root=root.as_posix(),
        teacher=(root / 'teacher.py').as_posix(),
        checkpoint=f'work_dirs/{root.name}_teacher/iter_4000.pth',
        baseline=f'work_dirs/{root.name}_baseline',
        count=len(legend.names),
        classes=tuple(legend.names),
        palette=[list(colour) for colour in legend.palette],
        weights=str(counts.weights()).replace(' ', ''),
        crop=crop,
        scale=(width, height),
        test='test' if tested else 'val',
    )
    for role, size in SIZES.items():
        parts = (f'models/segformer_{size}.py', 'schedules/adamw_scratch.py', 'default_runtime.py')
        inherited = [*((bases / part).as_posix() for part in parts), './data.py']
        template = Path(__file__).with_name(f'{"model" if size else role}.template')
        text = template.read_text(encoding='utf-8')
        work_dir = f'work_dirs/{root.name}_{role}'
        text = text.format(**values, role=role, size=size, bases=inherited, work_dir=work_dir)
        (folder / f'{role}.py').write_text(text, encoding='utf-8')
    return [f'{role}.py' for role in SIZES if role != 'data']
