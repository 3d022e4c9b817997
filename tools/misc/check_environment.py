"""Check that this machine can train, and that everything a config needs is there.

python tools/misc/check_environment.py [CONFIG] [--cfg-options KEY=VALUE ...]

Prints the versions and the GPU. With a config it also checks data, weights, teacher and losses: it
starts the training up to its first iteration, in a folder that it removes. If something is missing,
one line says what to do (exit code 2).
"""

import argparse
import platform
from importlib.metadata import version
from tempfile import TemporaryDirectory

from mmseg_kd.checkpoints.initialization import forget_pretrained, init_weights
from mmseg_kd.command_line import add_cfg_options, run_tool
from mmseg_kd.config import load_config
from mmseg_kd.config.errors import config_errors
from mmseg_kd.engine.devices import unused_card
from mmseg_kd.engine.runner import build_runner
from mmseg_kd.engine.starting import prepare_training
from mmseg_kd.errors import UserError
from mmseg_kd.installation import FORKS
from mmseg_kd.paths import check_folder

import torch


def main() -> None:
    """Check the machine, and the config if there is one."""
    parser = argparse.ArgumentParser(description='Check what training needs')
    parser.add_argument('config', nargs='?', help='a config file')
    add_cfg_options(parser)
    args = parser.parse_args()
    versions = ', '.join(f'{name} {version(name)}' for name in ('torchvision', *FORKS))
    print(f'Python {platform.python_version()}, torch {torch.__version__}, {versions}')
    if problem := unused_card():
        raise UserError(problem)
    card = 'no NVIDIA card: training runs on the CPU'
    if torch.cuda.is_available():
        card = f'{torch.cuda.get_device_name()}, CUDA {torch.version.cuda}'
    print(card)
    if args.config is None:
        return
    cfg = load_config(args.config, args.cfg_options)
    check_folder(cfg.work_dir, 'work_dir')
    # Windows cannot remove the log file, which is still open.
    with config_errors(), TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        cfg.work_dir = folder
        if cfg.get('load_from') is not None:
            # As in training, which then needs no pretrained weights.
            forget_pretrained(cfg.model)
        runner = build_runner(cfg)
        prepare_training(runner)
        init_weights(runner.bare_model)
        runner.load_or_resume()
    print('a training can start')


if __name__ == '__main__':
    run_tool(main)
