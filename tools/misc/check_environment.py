"""Check that this machine can train, and that everything a config needs is there.

python tools/misc/check_environment.py [CONFIG] [--cfg-options KEY=VALUE ...]

Prints the versions and the GPU. With a config it also checks data, weights, teacher and losses: it
starts the training up to its first iteration, in a folder that it removes. If something is missing,
one line says what to do (exit code 2).
"""

import argparse
import platform
from contextlib import suppress
from importlib.metadata import version
from tempfile import TemporaryDirectory

from mmseg_kd.command_line import add_cfg_options, run_tool
from mmseg_kd.config import choose_start, load_config
from mmseg_kd.engine.devices import unused_card
from mmseg_kd.engine.runner import build_runner
from mmseg_kd.errors import UserError
from mmseg_kd.installation import FORKS
from mmseg_kd.paths import check_folder

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner


class Ready(Exception):
    """A training can begin its first iteration."""


class StopHook(Hook):
    """Stop a training before its first iteration, and before a teacher is measured."""

    priority = 'HIGHEST'

    def before_train(self, runner: Runner) -> None:
        """Raise Ready."""
        raise Ready


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
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder, suppress(Ready):
        cfg.work_dir = folder
        choose_start(cfg, None)
        # To time the training takes half a minute.
        cfg.train_cfg.pop('time_budget', None)
        runner = build_runner(cfg)
        runner.register_hook(StopHook())
        runner.train()
    print('a training can start')


if __name__ == '__main__':
    run_tool(main)
