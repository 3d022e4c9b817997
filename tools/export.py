"""Export a checkpoint to ONNX and compare the file with the model.

python tools/export.py CHECKPOINT OUT.onnx --images INPUT [INPUT ...] [--end-to-end] [--fp16]
                       [--config CONFIG]

The file takes any batch, height and width: `images` (N, 3, H, W), RGB, float32 from 0 to 255, to
`logits` (N, K, H, W). With `--end-to-end`: `images` (N, H, W, 3), RGB, uint8, to `ids` (N, H, W).
"""

import argparse
from pathlib import Path

from mmseg_kd.checkpoints import atomic_path
from mmseg_kd.command_line import run_tool
from mmseg_kd.deployment.export import compare, export_onnx
from mmseg_kd.deployment.inputs import find_sources
from mmseg_kd.deployment.predictor import Predictor, read_image
from mmseg_kd.errors import UserError
from mmseg_kd.paths import check_new_file

# Compared images, and the share of equal class ids below which the file is not kept.
MOST_IMAGES = 8
LEAST_AGREEMENT = 0.99


def main() -> None:
    """Export, and keep the file only if its predictions are the model's."""
    parser = argparse.ArgumentParser(description='Export a checkpoint to ONNX')
    add = parser.add_argument
    add('checkpoint')
    add('out', type=Path, help='the new .onnx file')
    add('--images', nargs='+', required=True, metavar='INPUT', help='images to compare with torch')
    add('--end-to-end', action='store_true', help='uint8 images in, class ids out')
    add('--fp16', action='store_true', help='compute in float16, for GPUs')
    add('--config', help='the config, if the checkpoint does not contain it')
    args = parser.parse_args()
    out = args.out
    check_new_file(out, 'OUT', '.onnx')
    files = [source.path for source in find_sources(args.images) if not source.is_video]
    if not files:
        raise UserError(f'--images: {args.images[0]} contains only videos; name images')
    images = [read_image(file) for file in files[:MOST_IMAGES]]
    predictor = Predictor(args.checkpoint, args.config, 'cpu')
    print('exporting: seconds, or some minutes if a backbone of timm pads by the size', flush=True)
    with atomic_path(out) as partial:
        module = export_onnx(predictor.trained, partial, args.end_to_end, args.fp16)
        difference, agreement = compare(module, partial, images, predictor)
        if not args.end_to_end:
            print(f'largest difference of a logit: {difference:.2g}')
        share = f'{100 * agreement:.4f} % of the pixels of {len(images)} images'
        print(f'class ids are equal on {share}')
        if agreement < LEAST_AGREEMENT:
            raise UserError(f'{out}: the file does not predict what the model predicts; removed it')
    print(f'{out}: {out.stat().st_size / 2**20:.1f} MiB')


if __name__ == '__main__':
    run_tool(main)
