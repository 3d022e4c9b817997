"""Check that this machine is ready to train, and that everything a config needs is there.

python tools/misc/check_environment.py [CONFIG] [--cfg-options KEY=VALUE ...]

Prints a line each for torch and CUDA. With a config it also starts
the training up to its first iteration, in a folder that is removed: data, weights, teacher and
losses. A line that begins with `!!` says what to do; the exit code is
then 2.
"""

import argparse
import sys

from mmseg_kd.command_line import EXIT_USER_ERROR, add_cfg_options, run_tool
from mmseg_kd.engine.environment import check_environment


def main() -> None:
    """Print the facts."""
    parser = argparse.ArgumentParser(description='Check what training needs')
    parser.add_argument('config', nargs='?', help='a config file')
    add_cfg_options(parser)
    args = parser.parse_args()
    facts = check_environment(args.config, args.cfg_options)
    for fact in facts:
        print(f'{"ok" if fact.good else "!!"}  {fact.name:9}{fact.finding}')
    if not all(fact.good for fact in facts):
        sys.exit(EXIT_USER_ERROR)


if __name__ == '__main__':
    run_tool(main)
