"""Check and time training on a GPU in a few minutes, one table at the end.

    python benchmarks/gpu_check.py [--minutes 9] [--only STEP ...] [--device cpu] [--out DIR]

Every step runs in a process of its own under its own time limit. Its results are written at once
to `gpu_check.json` and `gpu_check.md` in `--out` (by default work_dirs/gpu_check); steps that the
JSON file has already are skipped. A step that fails leaves its traceback there and the next one
runs. With `--device cpu` the steps that need no GPU run at a small size.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import time
import traceback
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / 'benchmarks')]
# The parent looks for a GPU without starting CUDA, so that the steps can be forked.
os.environ['PYTORCH_NVML_BASED_CUDA_CHECK'] = '1'
# Deterministic products of matrices; read when a process first uses CUDA.
os.environ.setdefault('CUBLAS_WORKSPACE_CONFIG', ':4096:8')

import torch  # noqa: E402

from gpu_steps import STEPS  # noqa: E402 - after the variables above


def main() -> None:
    """Run the steps: those that are timed one after another, the others `--jobs` at a time."""
    parser = argparse.ArgumentParser(description='Check and time training on a GPU')
    parser.add_argument('--minutes', type=float, default=9, help='time for all steps (default 9)')
    parser.add_argument('--only', nargs='+', choices=[*STEPS], metavar='STEP', help=str([*STEPS]))
    parser.add_argument('--jobs', type=int, default=1, help='untimed steps at a time (default 1)')
    parser.add_argument('--device', default='cuda', choices=['cuda', 'cpu'])
    parser.add_argument('--out', default='work_dirs/gpu_check', help='folder of the results')
    args = parser.parse_args()
    out = Path(args.out).resolve()
    out.mkdir(parents=True, exist_ok=True)
    os.chdir(ROOT)
    check = Check(out, args.device, time.monotonic() + 60 * args.minutes)
    names = [name for name in args.only or STEPS if check.wants(name)]
    for name in (name for name in names if STEPS[name].timed):
        check.start(name)
        check.wait(0)
    check.threads = max(check.threads // args.jobs, 1)
    for name in (name for name in names if not STEPS[name].timed):
        check.wait(args.jobs - 1)
        check.start(name)
    check.wait(0)


class Check:
    """The steps that run, and the results of those that have.

    Args:
        out: Folder of the results.
        device: 'cuda' or 'cpu'.
        deadline: When the last step is stopped, by `time.monotonic`.
    """

    def __init__(self, out: Path, device: str, deadline: float) -> None:
        self.out, self.device, self.deadline = out, device, deadline
        self.file = out / 'gpu_check.json'
        self.results: dict[str, Any] = {}
        if self.file.is_file():
            self.results = json.loads(self.file.read_text(encoding='utf-8'))
        self.running: dict[str, tuple[multiprocessing.Process, float, float]] = {}
        self.threads = os.cpu_count() or 1
        self.method = 'fork' if sys.platform == 'linux' else 'spawn'

    def wants(self, name: str) -> bool:
        """Whether a step has no results yet and means something on the device."""
        return name not in self.results and (self.device == 'cuda' or not STEPS[name].needs_gpu)

    def start(self, name: str) -> None:
        """Start a step in a process of its own."""
        now = time.monotonic()
        limit = min(STEPS[name].seconds, self.deadline - now)
        if limit <= 1:
            print(f'{name}: no time left', flush=True)
            return
        print(f'{name}: at most {limit:.0f} s', flush=True)
        part, log = self.out / f'{name}.part.json', self.out / f'{name}.log'
        part.unlink(missing_ok=True)
        process = multiprocessing.get_context(self.method).Process(
            target=_step, args=(name, self.device, str(part), str(log), self.threads)
        )
        process.start()
        self.running[name] = (process, now, now + limit)

    def wait(self, most: int) -> None:
        """Wait until at most so many steps run, and write the results of those that end."""
        while True:
            for name, (process, started, limit) in list(self.running.items()):
                late = time.monotonic() > limit
                if process.is_alive() and not late:
                    continue
                if process.is_alive():
                    process.kill()
                process.join()
                del self.running[name]
                state = 'done' if process.exitcode == 0 else 'failed'
                self._end(name, 'stopped: too slow' if late else state, time.monotonic() - started)
            if len(self.running) <= most:
                return
            time.sleep(0.05)

    def _end(self, name: str, state: str, seconds: float) -> None:
        part = self.out / f'{name}.part.json'
        rows = json.loads(part.read_text(encoding='utf-8')) if part.is_file() else []
        part.unlink(missing_ok=True)
        self.results[name] = dict(state=state, seconds=round(seconds, 1), rows=rows)
        self.file.write_text(json.dumps(self.results, indent=1), encoding='utf-8')
        self.file.with_suffix('.md').write_text(_markdown(self.results), encoding='utf-8')
        print(_markdown({name: self.results[name]}), flush=True)


def _step(name: str, device: str, part: str, log: str, threads: int) -> None:
    torch.set_num_threads(threads)
    # What a step prints goes to a file of its own.
    with Path(log).open('w', encoding='utf-8') as stream:
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)
    rows: list[dict[str, Any]] = []

    def record(**row: Any) -> None:
        rows.append(row)
        Path(part).write_text(json.dumps(rows), encoding='utf-8')

    try:
        STEPS[name].run(device, record)
    except Exception:
        record(error=traceback.format_exc()[-3000:])
        sys.exit(1)


def _markdown(results: dict[str, Any]) -> str:
    """One table a step."""
    lines = []
    for name, result in results.items():
        lines += ['', f'## {name}: {result["state"]}, {result["seconds"]} s', '']
        rows = [row for row in result['rows'] if 'error' not in row]
        columns = list(dict.fromkeys(key for row in rows for key in row))
        if columns:
            lines += [f'| {" | ".join(columns)} |', f'|{"---|" * len(columns)}']
            lines += [f'| {" | ".join(_cell(row.get(key)) for key in columns)} |' for row in rows]
        for row in result['rows']:
            if 'error' in row:
                rest = ', '.join(f'{key}={value}' for key, value in row.items() if key != 'error')
                lines += ['', rest, '```', row['error'].rstrip(), '```']
    return '\n'.join(lines).lstrip('\n') + '\n'


def _cell(value: Any) -> str:
    if value is None:
        return ''
    return f'{value:.4g}' if isinstance(value, float) else str(value)


if __name__ == '__main__':
    main()
