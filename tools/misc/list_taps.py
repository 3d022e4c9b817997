"""List every tap of a config's student and, where it has one, of its teacher.

python tools/misc/list_taps.py CONFIG [--shape HEIGHT WIDTH] [--cfg-options KEY=VALUE ...]
"""

import argparse

import torch
from mmseg.registry import MODELS

from mmseg_kd.distillation import list_taps
from mmseg_kd.distillation.teacher import build_segmentor
from mmseg_kd.engine import load_config
from mmseg_kd.engine.cli import add_cfg_options, run_tool
from mmseg_kd.engine.config import forget_pretrained


def main() -> None:
    """Print the table; no weights, no data are read."""
    parser = argparse.ArgumentParser(description='List the tap names of student and teacher')
    parser.add_argument('config', help='the config file')
    parser.add_argument(
        '--shape', type=int, nargs=2, default=(512, 512), help='size of the image (default 512 512)'
    )
    add_cfg_options(parser)
    args = parser.parse_args()

    cfg = load_config(args.config, args.cfg_options)
    teacher = cfg.model.pop('teacher', None)
    cfg.model.pop('kd_losses', None)
    forget_pretrained(cfg.model)
    image = torch.zeros(1, 3, *args.shape)
    columns = {'student': list_taps(MODELS.build(cfg.model).eval(), image)}
    if teacher is not None:
        columns['teacher'] = list_taps(build_segmentor(teacher['config']).eval(), image)
    names = list(dict.fromkeys(name for taps in columns.values() for name in taps))
    width = max(map(len, names))
    print(f'shapes (N, C, H, W) for an image of {args.shape[0]}x{args.shape[1]}')
    print(f'{"tap":{width}}', *(f'{title:22}' for title in columns), sep='  ')
    for name in names:
        cells = (str(taps.get(name, '-')) for taps in columns.values())
        print(f'{name:{width}}', *(f'{cell:22}' for cell in cells), sep='  ')


if __name__ == '__main__':
    run_tool(main)
