"""Measure which taps carry information for attention transfer.

python tools/analysis_tools/attention_contrast.py CONFIG CHECKPOINT [--taps NAME ...]

Prints, for each tap and for p = 2 and p = 4, the coefficient of variation of the attention map
within an image (0 is flat), averaged over the validation split.
"""

from itertools import product

import mmseg_kd  # noqa: F401  # isort: skip  (first, because it refuses mixed installations)
import torch
from mmengine.runner import Runner
from tqdm import tqdm

from mmseg_kd.command_line import config_parser, run_tool
from mmseg_kd.config import load_config
from mmseg_kd.distillation import Teacher
from mmseg_kd.distillation.losses.features.attention_transfer import attention_contrast
from mmseg_kd.errors import UserError

STAGES = [f'stage{i}' for i in (1, 2, 3, 4)]
TAPS = [*STAGES, *(f'{stage}.pre_norm' for stage in STAGES), 'decode_head.linear_fuse', 'logits']
EXPONENTS = (2, 4)


@torch.no_grad()
def main() -> None:
    """Print the table."""
    parser = config_parser('Contrast of attention maps, tap by tap')
    parser.add_argument('checkpoint', help='its checkpoint')
    parser.add_argument('--taps', nargs='+', default=TAPS, help='tap names')
    args = parser.parse_args()

    cfg = load_config(args.config, args.cfg_options)
    if cfg.get('val_dataloader') is None:
        raise UserError(f'{args.config} has no val_dataloader, so there are no images to measure')
    model = Teacher(cfg.model, args.checkpoint)
    model.check_taps(args.taps)
    if torch.cuda.is_available():
        model.to('cuda')
    sums = dict.fromkeys(product(args.taps, EXPONENTS), 0.0)
    images = 0
    for batch in tqdm(Runner.build_dataloader(cfg.val_dataloader), unit='batch'):
        inputs = model.segmentor.data_preprocessor(batch)['inputs']
        taps = model(inputs, args.taps)
        images += len(inputs)
        for tap, p in sums:
            sums[tap, p] += float(attention_contrast(taps[tap], p).sum())
    width = max(map(len, args.taps))
    print(f'contrast of the attention map, mean of {images} images')
    print(f'{"tap":{width}}', *(f'{f"p={p}":>6}' for p in EXPONENTS), sep='  ')
    for tap in args.taps:
        print(f'{tap:{width}}', *(f'{sums[tap, p] / images:6.3f}' for p in EXPONENTS), sep='  ')


if __name__ == '__main__':
    run_tool(main)
