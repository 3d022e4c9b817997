"""The steps of `gpu_check.py`, by name, in the order in which they run."""

from gpu_steps import correctness, device, real_loop, running, speed
from gpu_steps.step import Step

STEPS: dict[str, Step] = {
    'device': Step(device.describe, 40, timed=True),
    'runs': Step(running.variants, 150),
    'time': Step(speed.steps, 150, needs_gpu=True, timed=True),
    'graph': Step(correctness.graph_equals_eager, 120, needs_gpu=True),
    'waits': Step(correctness.waits, 90, needs_gpu=True),
    'loop': Step(real_loop.real_loop, 120, timed=True),
    'right': Step(correctness.cpu_equals_gpu, 90, needs_gpu=True),
    'resume': Step(running.resume, 120),
    'nccl': Step(running.one_process_nccl, 90, needs_gpu=True),
}
