"""The measurements of `gpu_check.py`: python -m gpu_steps NAME DEVICE FILE.json."""
