"""Share options, facts about the machine and the JSON file among the measuring commands."""

import argparse
import importlib.metadata
import json
import platform
from pathlib import Path
from typing import Any

import torch
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope

from mmseg_kd.checkpoints import write_text
from mmseg_kd.command_line import add_cfg_options, at_least
from mmseg_kd.engine.optim import set_matmul_precision
from mmseg_kd.errors import UserError
from mmseg_kd.paths import check_new_file

PACKAGES = ('torch', 'onedl-mmengine', 'onedl-mmcv', 'onedl-mmsegmentation', 'numpy')


def start(parser: argparse.ArgumentParser) -> tuple[argparse.Namespace, dict[str, str | int]]:
    """Add the options of every measuring command, read and apply them, and print the machine.

    Args:
        parser: The command's parser.

    Returns:
        The arguments, and the facts about the machine.

    Raises:
        UserError: `--out` cannot be written, or torch does not have the `--device`.
    """
    parser.add_argument('--repeats', type=at_least(1), default=7, help='measurements of each run')
    parser.add_argument('--amp', action='store_true', help='measure in mixed precision')
    parser.add_argument('--batch-size', type=at_least(1), default=2, help='images per step')
    sides = dict(type=at_least(1), nargs=2, metavar=('H', 'W'), default=(512, 512))
    parser.add_argument('--size', help='size of an image', **sides)
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    parser.add_argument('--out', type=Path, help='JSON file for the measurements')
    add_cfg_options(parser)
    args = parser.parse_args()
    if args.out is not None:
        check_new_file(args.out, '--out')
    be_quiet()
    # As in training.
    set_matmul_precision(None)
    torch.backends.cudnn.benchmark = True
    facts = machine(args.device) | dict(n=args.repeats)
    print(', '.join(f'{key} {value}' for key, value in facts.items()))
    return args, facts


def write(path: Path | None, **content: Any) -> None:
    """Write measurements as JSON where `--out` says."""
    if path is None:
        return
    write_text(path, json.dumps(content, indent=1))
    print(f'measurements: {path}')


def machine(device: str) -> dict[str, str | int]:
    """Return the names and versions of the device, Python and the packages.

    Raises:
        UserError: Torch does not have the device.
    """
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).partition('\n')[0].partition('. ')[0]
        raise UserError(f'--device {device}: {reason}') from error
    return {
        'device': torch.cuda.get_device_name() if device != 'cpu' else platform.machine(),
        'threads': torch.get_num_threads(),
        'Python': platform.python_version(),
        **{package: importlib.metadata.version(package) for package in PACKAGES},
    }


def be_quiet() -> None:
    """Log errors only, in a new logger, because building a model logs many lines."""
    init_default_scope('mmseg_kd')
    MMLogger.get_instance('benchmark', log_level='ERROR')
