"""List every tap of a config's student and of its teachers, with their shapes.

python tools/misc/list_taps.py CONFIG [--shape HEIGHT WIDTH] [--cfg-options KEY=VALUE ...]
"""

import argparse

import mmseg_kd  # noqa: F401  # isort: skip  (first, because it refuses mixed installations)
import torch
from mmseg.registry import MODELS

from mmseg_kd.checkpoints.initialization import forget_pretrained
from mmseg_kd.command_line import add_cfg_options, run_tool
from mmseg_kd.config import load_config
from mmseg_kd.config.errors import config_errors
from mmseg_kd.distillation import list_taps
from mmseg_kd.distillation.teacher import build_segmentor
from mmseg_kd.errors import UserError
from mmseg_kd.models.kd_encoder_decoder import teachers_by_name


def main() -> None:
    """Print the table; reads neither weights nor data."""
    parser = argparse.ArgumentParser(description='List the tap names of student and teacher')
    parser.add_argument('config', help='the config file')
    parser.add_argument(
        '--shape', type=int, nargs=2, default=(512, 512), help='size of the image (default 512 512)'
    )
    add_cfg_options(parser)
    args = parser.parse_args()

    if min(args.shape) < 1:
        raise UserError(f'--shape: {min(args.shape)} is not a number of pixels')
    cfg = load_config(args.config, args.cfg_options)
    teachers = teachers_by_name(cfg.model.pop('teacher', None) or {})
    cfg.model.pop('kd_losses', None)
    forget_pretrained(cfg.model)
    with config_errors():
        models = {'student': MODELS.build(cfg.model)}
        models |= {
            # An average has the student's taps.
            name: build_segmentor(teacher['config'])
            for name, teacher in teachers.items()
            if 'config' in teacher
        }
    image = torch.zeros(1, 3, *args.shape)
    columns = {}
    for name, model in models.items():
        try:
            columns[name] = list_taps(model.eval(), image)
        except (RuntimeError, ValueError) as error:
            reason = str(error).partition('\n')[0]
            raise UserError(f'--shape: the {name} cannot take the image: {reason}') from error
    names = list(dict.fromkeys(name for taps in columns.values() for name in taps))
    width = max(map(len, names))
    print(f'shapes (N, C, H, W) for an image of {args.shape[0]}x{args.shape[1]}')
    print(f'{"tap":{width}}', *(f'{title:22}' for title in columns), sep='  ')
    for name in names:
        cells = (str(taps.get(name, '-')) for taps in columns.values())
        print(f'{name:{width}}', *(f'{cell:22}' for cell in cells), sep='  ')


if __name__ == '__main__':
    run_tool(main)
