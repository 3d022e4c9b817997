"""Export a checkpoint to ONNX and compare the file with the model.

python tools/export.py CHECKPOINT OUT.onnx --images INPUT [INPUT ...] [--end-to-end] [--fp16]
                       [--config CONFIG]

The file takes any batch, height and width: `images` (N, 3, H, W), RGB, float32 from 0 to 255, to
`logits` (N, K, H, W). With `--end-to-end`: `images` (N, H, W, 3), RGB, uint8, to `ids` (N, H, W).
"""

from __future__ import annotations

import argparse
from pathlib import Path

REGISTER_LATE = True

from mmseg_kd.command_line import run_tool  # noqa: E402
from mmseg_kd.errors import UserError  # noqa: E402
from mmseg_kd.paths import check_new_file  # noqa: E402

# Images that are compared, and the share of equal class ids below which the file is not kept.
MOST_IMAGES = 8
LEAST_AGREEMENT = 0.99


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description='Export a checkpoint to ONNX')
    parser.add_argument('checkpoint')
    parser.add_argument('out', help='the new .onnx file')
    parser.add_argument(
        '--images',
        nargs='+',
        required=True,
        metavar='INPUT',
        help=f'images or folders; the first {MOST_IMAGES} images are compared with torch',
    )
    parser.add_argument('--end-to-end', action='store_true', help='uint8 images in, class ids out')
    parser.add_argument('--fp16', action='store_true', help='compute in float16, for GPUs')
    parser.add_argument('--config', help='the config, where the checkpoint does not hold it')
    return parser.parse_args()


def main() -> None:
    """Export."""
    args = parse_args()
    out = Path(args.out)
    if out.suffix.lower() != '.onnx':
        raise UserError(f'{out}: the name must end in .onnx')
    check_new_file(out, 'OUT')
    from mmseg_kd import register_all

    register_all()
    from mmseg_kd.deployment.export import compare, export_onnx
    from mmseg_kd.deployment.inputs import find_sources
    from mmseg_kd.deployment.predictor import read_image
    from mmseg_kd.deployment.segmentor import load_segmentor

    files = [source.path for source in find_sources(args.images) if not source.is_video]
    if not files:
        raise UserError(f'--images: {args.images[0]} holds videos alone; name images')
    images = [read_image(file) for file in files[:MOST_IMAGES]]
    module = export_onnx(
        load_segmentor(args.checkpoint, args.config), out, args.end_to_end, args.fp16
    )
    parity = compare(module, out, images)
    if parity.difference is not None:
        print(f'largest difference of a logit: {parity.difference:.2g}')
    print(
        f'class ids are equal on {100 * parity.agreement:.4f} % of the pixels of {len(images)} '
        'images'
    )
    if parity.agreement < LEAST_AGREEMENT:
        out.unlink()
        raise UserError(f'{out}: the file does not predict what the model predicts; removed it')
    print(f'{out}: {out.stat().st_size / 2**20:.1f} MiB')


if __name__ == '__main__':
    run_tool(main)
