"""Load a config and prepare it for a run: reading, checks, defaults, the command line.

A mistake is reported in one line that names the key.
"""

# ruff: noqa: F401  (the imports are the public names)

from mmseg_kd.config.loading import load_config
from mmseg_kd.config.preparing import choose_start, enable_amp, prepare_test, show_predictions
