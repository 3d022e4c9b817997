"""Turn a config of mmsegmentation 0.x or NVlabs/SegFormer into one that trains here.

python tools/misc/migrate_config.py OLD.py NEW.py

The keys without an equal here are printed and listed at the top of NEW.py.
"""

import argparse
from pathlib import Path

from mmseg_kd.checkpoints import atomic_path
from mmseg_kd.command_line import run_tool
from mmseg_kd.config import load_config
from mmseg_kd.config.migrating import migrate
from mmseg_kd.errors import UserError
from mmseg_kd.paths import check_new_file

RUNTIME = Path(__file__).resolve().parents[2] / 'local_configs' / '_base_' / 'default_runtime.py'


def main() -> None:
    """Write the new config, and load it to find what has to be corrected."""
    parser = argparse.ArgumentParser(description='Turn a config of mmsegmentation 0.x into 1.x')
    parser.add_argument('old', help='a config of mmsegmentation 0.x or NVlabs/SegFormer')
    parser.add_argument('new', type=Path, help='the .py file to write')
    args = parser.parse_args()
    check_new_file(args.new, 'NEW')
    if args.new.suffix != '.py':
        raise UserError(f'NEW: {args.new} does not end in .py')
    settings, lines = migrate(args.old)
    head = '\n'.join([f'# Migrated from {args.old}', *(f'# No equal here: {s}' for s in lines)])
    with atomic_path(args.new) as partial:
        body = f'_base_ = {RUNTIME.as_posix()!r}\n{settings.pretty_text}'
        partial.write_text(f'{head}\n{body}', encoding='utf-8')
    print(f'{head}\npython tools/train.py {args.new.as_posix()}')
    load_config(str(args.new))


if __name__ == '__main__':
    run_tool(main)
