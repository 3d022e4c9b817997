"""From a config file and the command line to a config that can be run: reading, checks, defaults.

`load_config` reads; what it refuses is one line that names the key.
"""

from mmseg_kd.config.loading import (
    choose_split,
    choose_start,
    enable_amp,
    load_config,
    prepare_test,
)

__all__ = ['choose_split', 'choose_start', 'enable_amp', 'load_config', 'prepare_test']
