"""Count a model's parameters and multiply-accumulates, part by part, without weights and data.

python tools/analysis_tools/get_flops.py CONFIG [--shape HEIGHT WIDTH]
                                         [--cfg-options KEY=VALUE ...]

What papers call FLOPs are MACs; one MAC is two floating point operations. The student and the
teachers of a distillation config are counted separately.
"""

import mmseg_kd  # noqa: F401  # isort: skip  (first, because it refuses mixed installations)
from mmengine.config import Config
from prettytable import PrettyTable

from mmseg_kd.command_line import config_parser, run_tool
from mmseg_kd.config import load_config
from mmseg_kd.config.models import build_models
from mmseg_kd.distillation.teachers import teachers_by_name
from mmseg_kd.errors import UserError
from mmseg_kd.models.complexity import Part, measure_complexity

UNITS = """
GMACs: 10^9 multiply-accumulates of convolutions, linear maps and attention, GFLOPs in papers.
Floating point operations are twice as many. Norms, activations and interpolation do not count.
SegFormer's head counts as published, with its wide convolution at stride 4; here it is folded."""


def image_size(cfg: Config, shape: list[int] | None) -> tuple[int, int]:
    """Return height and width of the image to count for."""
    if shape is None:
        shape = list((cfg.model.get('data_preprocessor') or {}).get('size') or (512,))
    if len(shape) > 2 or min(shape) < 1:
        raise UserError(f'--shape: {" ".join(map(str, shape))} is not HEIGHT WIDTH in pixels')
    return shape[0], shape[-1]


def table(parts: list[Part]) -> str:
    """Lay out the counts; the last part is the total."""
    layout = PrettyTable(['part', 'parameters (M)', 'GMACs', 'share'])
    layout.align = 'r'
    layout.align['part'] = 'l'
    for part in parts:
        name, share = part.name, 100 * part.macs / max(parts[-1].macs, 1)
        counts = [f'{part.macs / 1e9:.2f}', f'{share:.0f} %']
        if part.training_only:
            name, counts = f'{name} (training only, not in the total)', ['-'] * 2
        row = [name, f'{part.parameters / 1e6:.2f}', *counts]
        layout.add_row(row, divider=part is parts[-2])
    return layout.get_string()


def main() -> None:
    """Print a table for each model."""
    parser = config_parser('Count the MACs and parameters of a segmentor')
    text = "height and width, or one side (default: the config's data_preprocessor.size, else 512)"
    parser.add_argument('--shape', type=int, nargs='+', help=text)
    args = parser.parse_args()
    cfg = load_config(args.config, args.cfg_options)
    size = image_size(cfg, args.shape)
    teachers = teachers_by_name(cfg.model.get('teacher') or {})
    in_channels = cfg.model.backbone.get('in_channels', 3)
    print(f'one image of {size[0]}x{size[1]} (height x width), up to the logits')
    for name, model in build_models(cfg).items():
        try:
            counts = table(measure_complexity(model, size, in_channels))
        except UserError as error:
            raise UserError(f'--shape: {error}') from error
        config = teachers.get(name, {}).get('config')
        title = f'{name}, {config}' if isinstance(config, str) else name
        print(f'\n{title}: {type(model).__name__}\n{counts}')
    print(UNITS)


if __name__ == '__main__':
    run_tool(main)
