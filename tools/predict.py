"""Predict images, folders and videos with a checkpoint or an exported file.

python tools/predict.py CHECKPOINT INPUT [INPUT ...] --out DIR [--config CONFIG]
                        [--batch-size N] [--longest-side PIXELS] [--device DEVICE]

Writes class ids (`ids/NAME.png`), overlays (`overlay/NAME.jpg`; a video for a video) and
`legend.png`. The model comes from the config inside the checkpoint; a student needs no teacher.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

REGISTER_LATE = True

from mmseg_kd.command_line import at_least, run_tool  # noqa: E402
from mmseg_kd.paths import check_new_folder  # noqa: E402


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description='Predict images, folders and videos')
    parser.add_argument('checkpoint', help='a checkpoint, or an .onnx file of tools/export.py')
    parser.add_argument(
        'inputs', nargs='+', metavar='INPUT', help='an image, a video, a folder, or a pattern (*)'
    )
    parser.add_argument('--out', required=True, metavar='DIR', help='a new folder for the results')
    parser.add_argument('--config', help='the config, where the checkpoint does not hold it')
    parser.add_argument('--batch-size', type=at_least(1), default=1, help='frames at a time')
    parser.add_argument(
        '--longest-side',
        type=at_least(32),
        metavar='PIXELS',
        help='reduce larger images to this before the prediction; ids keep the original size',
    )
    parser.add_argument('--device', help='cpu, cuda, cuda:1 (default: a GPU if there is one)')
    return parser.parse_args()


def main() -> None:
    """Predict."""
    args = parse_args()
    out = Path(args.out)
    check_new_folder(args.out, '--out')
    from mmseg_kd import register_all

    register_all()
    from mmseg_kd.deployment import load_predictor
    from mmseg_kd.deployment.inputs import find_sources
    from mmseg_kd.deployment.results import write_legend
    from mmseg_kd.deployment.running import predict_sources

    sources = find_sources(args.inputs)
    predictor = load_predictor(args.checkpoint, args.config, args.device, args.longest_side)
    start = time.perf_counter()
    seconds = predict_sources(predictor, sources, out, args.batch_size)
    write_legend(predictor.classes, predictor.palette, out / 'legend.png')
    print(
        f'{len(seconds)} frames in {time.perf_counter() - start:.1f} s, prediction alone '
        f'{1e3 * statistics.median(seconds):.1f} ms per frame (median); results in {out}'
    )


if __name__ == '__main__':
    run_tool(main)
