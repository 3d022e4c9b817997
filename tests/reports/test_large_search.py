"""How long a report on many runs takes, and how much memory."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from reports.run_copies import copy_run, set_curve, write_study


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != 'linux', reason='reads the peak of memory from /proc')
def test_sixty_runs_of_a_search(trained_pair: dict[str, Path], tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    runs = []
    copy_run(trained_pair['baseline'], tmp_path / 'runs' / 'baseline')
    set_curve(tmp_path / 'runs' / 'baseline', [20.0, 25.0, 30.0])
    runs.append(dict(name='baseline', work_dir='runs/baseline'))
    for i in range(60):
        folder = copy_run(trained_pair['student'], tmp_path / 'runs' / 'student' / str(i))
        params = {
            'optim_wrapper.optimizer.lr': float(10 ** rng.uniform(-4, -2)),
            'model.kd_losses.kl_loss.temperature': float(rng.uniform(1, 8)),
            'model.kd_losses.at_loss.loss_weight': float(rng.uniform(0, 2)),
        }
        top = 35 + 2 * np.log10(params['optim_wrapper.optimizer.lr']) + rng.normal()
        set_curve(folder, [20.0, 25.0, float(top)])
        _lengthen(folder, 800)
        runs.append(dict(name=f'student/{i}', work_dir=f'runs/student/{i}', params=params))
    space = {
        'optim_wrapper.optimizer.lr': dict(type='loguniform', low=1e-4, high=1e-2),
        'model.kd_losses.kl_loss.temperature': dict(type='uniform', low=1, high=8),
        'model.kd_losses.at_loss.loss_weight': dict(type='uniform', low=0, high=2),
    }
    write_study(tmp_path, runs, kind='search', space=space, baseline='baseline')
    # In a process of its own, whose memory is the report's (rusage would have this one's, which
    # the new process begins as); processor time, because other programs run on the machine that
    # tests.
    code = (
        'import json, re, runpy, sys, time\n'
        'from pathlib import Path\n'
        'begun = time.process_time()\n'
        'runpy.run_path("tools/analysis_tools/report.py", run_name="__main__")\n'
        'status = Path("/proc/self/status").read_text()\n'
        'peak = int(re.search(r"VmHWM:\\s+(\\d+)", status)[1])\n'
        'print(json.dumps([time.process_time() - begun, peak]))\n'
    )
    ran = subprocess.run(
        [sys.executable, '-c', code, str(tmp_path)], cwd=ROOT, check=True, capture_output=True
    )
    seconds, kilobytes = json.loads(ran.stdout.splitlines()[-1])
    # 5 to 12 with the imports, by the processor.
    assert seconds < 40
    # 720,000, of which torch is 480,000.
    assert kilobytes < 800 * 2**10
    names = {file.name for file in tmp_path.glob('figures/*.png')}
    assert 'slices_1.png' in names
    text = (tmp_path / 'report.md').read_text(encoding='utf-8')
    assert 'Thin and grey, if any: the runs below the best' in text


def _lengthen(folder: Path, rows: int) -> None:
    """As many training rows as a run of 40,000 iterations leaves."""
    (file,) = folder.glob('*/vis_data/scalars.json')
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    training = [row for row in lines if 'loss' in row]
    more = [training[i % len(training)] | {'step': 10 + i} for i in range(rows)]
    file.write_text(''.join(json.dumps(row) + '\n' for row in lines + more))
