"""Predict images, folders and videos with a checkpoint or an exported file.

python tools/predict.py CHECKPOINT INPUT [INPUT ...] --out DIR [--config CONFIG]
                        [--batch-size N] [--device DEVICE]

Writes class ids (`ids/NAME.png`), overlays (`overlay/NAME.jpg`, or `.mp4` for a video) and
`legend.png`. The model is built from the config inside the checkpoint; a student needs no teacher.
"""

import argparse
import statistics
import time
from pathlib import Path

from mmseg_kd.command_line import at_least, run_tool
from mmseg_kd.deployment import load_predictor
from mmseg_kd.deployment.inputs import find_sources
from mmseg_kd.deployment.results import predict_sources
from mmseg_kd.paths import check_new_folder


def main() -> None:
    """Predict the inputs, and print the time per frame."""
    parser = argparse.ArgumentParser(description='Predict images, folders and videos')
    add = parser.add_argument
    add('checkpoint', help='a checkpoint, or an .onnx file of tools/export.py')
    add('inputs', nargs='+', metavar='INPUT', help='an image, video, folder, or pattern (*)')
    add('--out', required=True, metavar='DIR', help='a new folder for the results')
    add('--config', help='the config, if the checkpoint does not contain it')
    add('--batch-size', type=at_least(1), default=1, help='frames at a time')
    add('--device', help='cpu, cuda, cuda:1 (default: a GPU if there is one)')
    args = parser.parse_args()
    check_new_folder(args.out, '--out')
    out = Path(args.out)
    sources = find_sources(args.inputs)
    predictor = load_predictor(args.checkpoint, args.config, args.device)
    start = time.perf_counter()
    seconds = predict_sources(predictor, sources, out, args.batch_size)
    print(
        f'{len(seconds)} frames in {time.perf_counter() - start:.1f} s, prediction alone '
        f'{1e3 * statistics.median(seconds):.1f} ms per frame (median); results in {out}'
    )


if __name__ == '__main__':
    run_tool(main)
