"""Checkpoints: read them without running code, match weights to models, write files atomically."""

# ruff: noqa: F401  (the imports are the public names)

from mmseg_kd.checkpoints.atomic import atomic_path, remove_file, write_csv, write_text
from mmseg_kd.checkpoints.latest import find_latest_checkpoint
from mmseg_kd.checkpoints.matching import load_strictly
from mmseg_kd.checkpoints.pretrained import load_pretrained
from mmseg_kd.checkpoints.safe_load import read_checkpoint, sha256_of, state_dict_of
