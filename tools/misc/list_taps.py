"""List every tap of a config's student and of its teachers, with their shapes.

python tools/misc/list_taps.py CONFIG [--shape HEIGHT WIDTH] [--cfg-options KEY=VALUE ...]
"""

from mmseg_kd.command_line import at_least, config_parser, parse_with_config, run_tool
from mmseg_kd.config.models import build_models
from mmseg_kd.distillation import list_taps
from mmseg_kd.models.failures import model_errors
from mmseg_kd.nested import value_at

import torch
from prettytable import PrettyTable, TableStyle


def main() -> None:
    """Print the table; reads neither weights nor data."""
    parser = config_parser('List the tap names of student and teacher')
    add = parser.add_argument
    add('--shape', type=at_least(1), nargs=2, default=(512, 512), help='height and width')
    args, cfg = parse_with_config(parser)
    height, width = args.shape
    # The losses may name taps that do not exist; this tool helps to correct them.
    cfg.model.pop('kd_losses', None)
    image = torch.zeros(1, value_at(cfg, 'model.backbone.in_channels') or 3, height, width)
    columns = {}
    for name, model in build_models(cfg).items():
        with model_errors(model, f'an image of --shape {height} {width}', whose=name):
            columns[name] = list_taps(model.eval(), image)
    print(f'shapes (N, C, H, W) for an image of {height}x{width}')
    table = PrettyTable(['tap', *columns], align='l')
    table.set_style(TableStyle.PLAIN_COLUMNS)
    for tap in dict.fromkeys(tap for taps in columns.values() for tap in taps):
        table.add_row([tap, *(taps.get(tap, '-') for taps in columns.values())])
    print(table)


if __name__ == '__main__':
    run_tool(main)
