"""Turn a config of mmsegmentation 0.x or NVlabs/SegFormer into one that trains here.

python tools/misc/migrate_config.py OLD.py NEW.py

Settings without an equivalent here are listed on the console and at the top of NEW.py.
"""

import argparse
from pathlib import Path

from mmseg_kd.checkpoints import atomic_path
from mmseg_kd.command_line import run_tool
from mmseg_kd.config import load_config
from mmseg_kd.config.migrating import migrate, read_old_config
from mmseg_kd.errors import UserError
from mmseg_kd.paths import check_new_file, relative_to

from mmengine.config import Config

RUNTIME = Path(__file__).resolve().parents[2] / 'local_configs' / '_base_' / 'default_runtime.py'


def main() -> None:
    """Convert the config, and load the new one to check it."""
    parser = argparse.ArgumentParser(description='Turn a config of mmsegmentation 0.x into 1.x')
    parser.add_argument('old', help='a config of mmsegmentation 0.x or NVlabs/SegFormer')
    parser.add_argument('new', type=Path, help='the .py file to write')
    args = parser.parse_args()
    check_new_file(args.new, 'NEW', '.py')
    settings, remarks = migrate(read_old_config(args.old), args.old)
    runtime = relative_to(RUNTIME, args.new.resolve().parent)
    body = f'_base_ = {runtime!r}\n{Config(settings).pretty_text}'
    with atomic_path(args.new) as partial:
        partial.write_text(body, encoding='utf-8')
        try:
            load_config(str(partial))
        except UserError as error:
            problem = str(error).removeprefix(f'{partial}: ')
            remarks.append(f'to correct before it loads: {problem}')
        head = [f'Migrated from {args.old}.']
        if remarks:
            head += ['No equivalent here, please check:', *(f'- {line}' for line in remarks)]
        head = [' '.join(line.split()) for line in head]
        text = '\n'.join(f'# {line}' for line in head)
        partial.write_text(f'{text}\n{body}', encoding='utf-8')
    print('\n'.join(head))
    print(f'python tools/train.py {args.new.as_posix()}')


if __name__ == '__main__':
    run_tool(main)
