"""What a run's losses weigh, worked out from its gradient report."""

import json
from pathlib import Path

import pytest
from test_train_and_test import run

TOOL = 'analysis_tools/gradient_table.py'


def report(iteration: int, weight: float, features: float, cosine: float | None) -> dict:
    row = dict(raw=2.0, weighted=2.0 * weight, weight=weight, features=features, logits=0.0)
    row |= dict(share=0.0, cosine=cosine)
    task = dict(weighted=1.0, features=1.0, logits=1.0, share=1.0)
    return dict(iter=iteration, task=task, losses=dict(kl_loss=row))


def test_shares_are_those_at_weight_1(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    reports = [report(0, 0.01, 0.03, 0.5), report(50, 1.0, 1.0, -0.5), report(100, 0.0, 0.0, None)]
    (tmp_path / 'gradients.jsonl').write_text('\n'.join(map(json.dumps, reports)))
    assert run(TOOL, tmp_path, '--average', '1', '--iterations', '0', '60', '100') == 0
    rows = [x.split() for x in capsys.readouterr().out.splitlines() if 'kl_loss' in x]
    # 0.03 / 0.01 = 3 beside the labels' 1 is three quarters.
    assert [' '.join(row).strip('| ') for row in rows] == [
        'kl_loss | 0.01 | 2 | 75.0 % | +0.50',
        'kl_loss | 1 | 2 | 50.0 % | -0.50',
        'kl_loss | 0 or not measured | - | - | -',
    ]


def test_no_report_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert run(TOOL, tmp_path) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert 'gradients.jsonl is missing' in line
