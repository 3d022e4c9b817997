"""Check and time training on a GPU in a few minutes.

    python benchmarks/gpu_check.py [--minutes 9] [--only STEP ...] [--device cpu] [--out DIR]

Each measurement and each group of tests marked `gpu` runs in its own process with a time limit.
After each step its table is printed, and `gpu_check.json` and `gpu_check.md` in `--out` (by default
work_dirs/gpu_check) are updated. The output of a process is in STEP.log. Steps that are done in the
JSON file are skipped. With `--device cpu` the measurements that need no GPU run at a small size.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENT = os.environ | {
    'PYTHONPATH': os.pathsep.join([str(ROOT), str(ROOT / 'benchmarks'), *sys.path]),
    # Makes matrix products deterministic.
    'CUBLAS_WORKSPACE_CONFIG': ':4096:8',
}
LAST_CHARACTERS = 3000


class Step(NamedTuple):
    """A measurement, or a group of tests.

    Attributes:
        seconds: Its time limit.
        tests: Arguments of pytest; None for a measurement.
        on_cpu: Whether it can run on a CPU.
    """

    seconds: float
    tests: str | None = None
    on_cpu: bool = False


RUNS, STEPS_ON_GPU = 'tests/gpu/test_gpu_runs.py', 'tests/gpu/test_gpu_steps.py'
STEPS = {
    'device': Step(60, on_cpu=True),
    'runs': Step(180, f'{RUNS} -k trains or tools'),
    'time': Step(180),
    'graph': Step(150, f'{STEPS_ON_GPU} tests/engine/test_graphed_step.py -k recorded'),
    'waits': Step(120, f'{STEPS_ON_GPU} -k waits'),
    'loop': Step(150, on_cpu=True),
    'right': Step(120, f'{STEPS_ON_GPU} -k cpu'),
    'resume': Step(150, f'{RUNS} -k resumed'),
    'nccl': Step(120, f'{RUNS} -k nccl'),
}


def main() -> None:
    """Run the measurements, then the tests."""
    parser = argparse.ArgumentParser(description='Check and time training on a GPU')
    parser.add_argument('--minutes', type=float, default=9, help='time for all steps (default 9)')
    parser.add_argument('--only', nargs='+', choices=[*STEPS], metavar='STEP', help=str([*STEPS]))
    parser.add_argument('--device', default='cuda', choices=['cuda', 'cpu'])
    parser.add_argument('--out', type=Path, default='work_dirs/gpu_check', help='results folder')
    args = parser.parse_args()
    out = args.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    file = out / 'gpu_check.json'
    results = json.loads(file.read_text(encoding='utf-8')) if file.is_file() else {}
    deadline = time.monotonic() + 60 * args.minutes
    names = [n for n in args.only or STEPS if results.get(n, {}).get('state') != 'done']
    names = [name for name in names if args.device == 'cuda' or STEPS[name].on_cpu]
    for name in sorted(names, key=lambda name: STEPS[name].tests is not None):
        if (result := _run(name, args.device, out, deadline)) is None:
            print(f'{name}: no time left', flush=True)
            continue
        results[name] = result
        file.write_text(json.dumps(results, indent=1), encoding='utf-8')
        file.with_suffix('.md').write_text(_markdown(results), encoding='utf-8')
        print(_markdown({name: result}), flush=True)


def _run(name: str, device: str, out: Path, deadline: float) -> dict[str, Any] | None:
    start, step = time.monotonic(), STEPS[name]
    limit = min(step.seconds, deadline - start)
    if limit <= 1:
        return None
    log, part = out / f'{name}.log', out / f'{name}.part'
    part.unlink(missing_ok=True)
    command = ['gpu_steps', name, device, str(part)]
    if step.tests:
        files, _, chosen = step.tests.partition(' -k ')
        command = ['pytest', *files.split(), '-v', '-m', 'gpu', f'--junitxml={part}', '-k', chosen]
    with log.open('w', encoding='utf-8') as stream:
        try:
            code = subprocess.run(
                [sys.executable, '-m', *command],
                cwd=ROOT,
                env=ENVIRONMENT,
                stdout=stream,
                stderr=subprocess.STDOUT,
                timeout=limit,
            ).returncode
            state = 'failed' if code else 'done'
        except subprocess.TimeoutExpired:
            state = 'stopped: too slow'
    rows = []
    if part.is_file():
        rows = [*_of_tests(part)] if step.tests else json.loads(part.read_text(encoding='utf-8'))
        part.unlink()
    result = dict(state=state, seconds=round(time.monotonic() - start, 1), rows=rows)
    if state != 'done':
        result['log'] = log.read_text(encoding='utf-8', errors='replace')[-LAST_CHARACTERS:]
    return result


def _of_tests(report: Path) -> Iterator[dict[str, Any]]:
    """Read a row for each test from pytest's XML, with the values that the test measured."""
    for case in ElementTree.parse(report).iter('testcase'):
        bad = [child.tag for child in case if child.tag in ('failure', 'error', 'skipped')]
        measured = {p.get('name'): float(p.get('value')) for p in case.iter('property')}
        yield dict(test=case.get('name'), state=bad[0] if bad else 'passed', **measured)


def _markdown(results: dict[str, Any]) -> str:
    """Format the rows as one table per step."""
    lines = []
    for name, result in results.items():
        lines += ['', f'## {name}: {result["state"]}, {result["seconds"]} s', '']
        columns = list(dict.fromkeys(key for row in result['rows'] for key in row))
        if columns:
            lines += [f'| {" | ".join(columns)} |', f'|{"---|" * len(columns)}']
        for row in result['rows']:
            lines.append(f'| {" | ".join(_cell(row.get(key, "")) for key in columns)} |')
        if 'log' in result:
            lines += ['', '```', result['log'].rstrip(), '```']
    return '\n'.join(lines).lstrip('\n') + '\n'


def _cell(value: Any) -> str:
    return f'{value:.4g}' if isinstance(value, float) else str(value)


if __name__ == '__main__':
    main()
