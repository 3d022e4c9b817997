"""Load a config and prepare it for a run: reading, checks, defaults, the command line.

A mistake is reported in one line that names the key.
"""

from mmseg_kd.config.loading import load_config
from mmseg_kd.config.preparing import choose_start, enable_amp, prepare_test, show_predictions

__all__ = ['choose_start', 'enable_amp', 'load_config', 'prepare_test', 'show_predictions']
