"""Print a config in full, with everything that it inherits and with `--cfg-options` applied.

python tools/misc/print_config.py CONFIG [--save-path FILE.py] [--cfg-options KEY=VALUE ...]

The output is a config file.
"""

from pathlib import Path

from mmseg_kd.checkpoints import write_text
from mmseg_kd.command_line import config_parser, parse_with_config, run_tool
from mmseg_kd.paths import check_new_file

from mmengine.config import Config


def main() -> None:
    """Print the config, and write it to `--save-path`."""
    parser = config_parser('Print a config in full')
    parser.add_argument('--save-path', type=Path, help='also write it to this .py file')
    args, cfg = parse_with_config(parser)
    # Format with yapf, which load_config skips for speed.
    cfg = Config(cfg.to_dict(), cfg.text, cfg.filename)
    if args.save_path is not None:
        check_new_file(args.save_path, '--save-path', '.py')
        write_text(args.save_path, cfg.pretty_text)
    print(cfg.pretty_text.rstrip())


if __name__ == '__main__':
    run_tool(main)
