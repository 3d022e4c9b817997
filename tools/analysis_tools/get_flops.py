"""Count a model's parameters and multiply-accumulates, part by part, without weights and data.

python tools/analysis_tools/get_flops.py CONFIG [--shape HEIGHT WIDTH]
                                         [--cfg-options KEY=VALUE ...]

What papers call FLOPs are MACs; one MAC is two floating point operations. The student and the
teachers of a distillation config are counted separately.
"""

import argparse
from collections.abc import Iterator

import mmseg_kd  # noqa: F401  # isort: skip  (first, because it refuses mixed installations)
from mmengine.config import Config
from mmseg.registry import MODELS
from prettytable import PrettyTable
from torch import nn

from mmseg_kd.checkpoints.initialization import forget_pretrained
from mmseg_kd.command_line import add_cfg_options, run_tool
from mmseg_kd.config import load_config
from mmseg_kd.config.errors import config_errors
from mmseg_kd.distillation.teacher import build_segmentor
from mmseg_kd.errors import UserError
from mmseg_kd.models.complexity import Complexity, Part, measure_complexity
from mmseg_kd.models.kd_encoder_decoder import teachers_by_name

UNITS = """
GMACs: 10^9 multiply-accumulates of convolutions, linear maps and attention, GFLOPs in papers.
Floating point operations are twice as many. Norms, activations and interpolation do not count."""
FOLDED = """As published, SegFormer's head runs its wide convolution at stride 4. Here its weights
are folded first, once per batch"""


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description='Count the MACs and parameters of a segmentor')
    parser.add_argument('config', help='the config file')
    parser.add_argument(
        '--shape',
        type=int,
        nargs='+',
        help="height and width of the image, or one side of a square (default: the config's "
        'data_preprocessor.size, else 512 512)',
    )
    add_cfg_options(parser)
    return parser.parse_args()


def image_size(cfg: Config, shape: list[int] | None) -> tuple[int, int]:
    """Return height and width of the image to count for."""
    if shape is None:
        shape = list((cfg.model.get('data_preprocessor') or {}).get('size') or (512,))
    if len(shape) > 2 or min(shape) < 1:
        raise UserError(f'--shape: {" ".join(map(str, shape))} is not HEIGHT WIDTH in pixels')
    return shape[0], shape[-1]


def models(cfg: Config) -> Iterator[tuple[str, nn.Module]]:
    """Build the config's model and its teachers; yields their titles too."""
    teachers = teachers_by_name(cfg.model.get('teacher') or {})
    forget_pretrained(cfg.model)
    with config_errors():
        model = MODELS.build(cfg.model)
    yield 'student' if teachers else 'model', model
    for name, teacher in teachers.items():
        if teacher.get('type') == 'EMATeacher':
            print(f'{name}: an average of the student, with the same counts')
            continue
        title = name if name == 'teacher' else f'teacher {name}'
        if isinstance(teacher['config'], str):
            title += f', {teacher["config"]}'
        with config_errors():
            model = build_segmentor(teacher['config'])
        yield title, model


def table(complexity: Complexity) -> str:
    """Lay out the counts, with a column for the published formula where it differs."""
    total = complexity.total
    differs = total.published != total.macs
    names = ['part', 'parameters (M)', 'GMACs', 'share']
    layout = PrettyTable(names + ['GMACs as published'] * differs)
    layout.align = 'r'
    layout.align['part'] = 'l'
    for part in [*complexity.parts, total]:
        layout.add_row(_cells(part, total, differs), divider=part is complexity.parts[-1])
    return layout.get_string()


def _cells(part: Part, total: Part, differs: bool) -> list[str]:
    parameters = f'{part.parameters / 1e6:.2f}'
    if part.training_only:
        return [f'{part.name} (training only, not in the total)', parameters, *'--', *'-' * differs]
    cells = [part.name, parameters, f'{part.macs / 1e9:.2f}']
    cells.append(f'{100 * part.macs / max(total.macs, 1):.0f} %')
    return cells + [f'{part.published / 1e9:.2f}'] * differs


def main() -> None:
    """Print a table for each model."""
    args = parse_args()
    cfg = load_config(args.config, args.cfg_options)
    size = image_size(cfg, args.shape)
    folds = []
    print(f'one image of {size[0]}x{size[1]} (height x width), up to the logits')
    for title, model in models(cfg):
        in_channels = cfg.model.backbone.get('in_channels', 3)
        try:
            complexity = measure_complexity(model, size, in_channels)
        except UserError as error:
            raise UserError(f'--shape: {error}') from error
        print(f'\n{title}: {type(model).__name__}\n{table(complexity)}')
        folds += [f'{title.split(",")[0]} {complexity.fold / 1e9:.2f}'] * bool(complexity.fold)
    print(UNITS)
    if folds:
        print(f'{FOLDED}; GMACs of that: {"; ".join(folds)}.')


if __name__ == '__main__':
    run_tool(main)
