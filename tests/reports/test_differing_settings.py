from pathlib import Path

from mmseg_kd.records.literal_config import parse_literals
from mmseg_kd.reports.comparing.differing_settings import differing_settings


def test_only_what_differs() -> None:
    base = dict(
        model=dict(type='A', backbone=dict(type='mit_b0', depth=2)),
        optim_wrapper=dict(optimizer=dict(type='AdamW', lr=1e-3)),
        param_scheduler=[dict(type='Poly', end=100), dict(type='Linear', end=9)],
        work_dir='x',
    )
    other = dict(
        model=dict(
            type='B',
            backbone=dict(type='mit_b0', depth=2),
            kd_losses=dict(kl=dict(type='KL', temperature=4.0), at=None),
        ),
        optim_wrapper=dict(optimizer=dict(type='AdamW', lr=2e-3)),
        param_scheduler=[dict(type='Poly', end=200), dict(type='Linear', end=9)],
        work_dir='y',
    )
    assert differing_settings([base, other, base]) == {
        'model.type': ['A', 'B', 'A'],
        'model.kd_losses.kl': ['–', 'KL(temperature=4)', '–'],  # noqa: RUF001
        'optim_wrapper.optimizer.lr': ['0.001', '0.002', '0.001'],
        'param_scheduler.0.end': ['100', '200', '100'],
    }
    assert differing_settings([base, base]) == {}


def test_parts_of_another_type_are_not_taken_apart() -> None:
    configs = [dict(model=dict(head=dict(type=t, width=w))) for t, w in (('A', 1), ('B', 2))]
    assert differing_settings(configs) == {'model.head': ['A(width=1)', 'B(width=2)']}


def test_the_end_of_a_loss_is_shown() -> None:
    ramp, text = dict(type='LinearWarmup', value=1, end=1500), 'KLDivergenceLoss(loss_weight='
    configs: list[dict] = [dict(model=dict(kd_losses=dict(at={})))]
    for t in (8, 4):
        cooling = dict(type='CosineDecay', value=t, begin=20000, end=40000)
        loss = dict(type='KLDivergenceLoss', loss_weight=ramp, temperature=cooling)
        configs.append(dict(model=dict(kd_losses=dict(at={}, kl=loss))))
    text += 'LinearWarmup(value=1, end=1500), temperature=CosineDecay('
    text += 'value={}, begin=20000, end=40000))'
    shown = differing_settings(configs)['model.kd_losses.kl']
    assert shown[1:] == [text.format(8), text.format(4)]


def test_literals(tmp_path: Path) -> None:
    file = tmp_path / 'config.py'
    file.write_text(
        "a=dict(b=[1, dict(c=-2.5, **{'x.y': (None, True)})], d={'k': 'v'})\n"
        "e=float('inf')\nimport os\nf=os.getcwd()\n"
    )
    assert parse_literals(file.read_text()) == {
        'a': {'b': [1, {'c': -2.5, 'x.y': (None, True)}], 'd': {'k': 'v'}},
        'e': "float('inf')",
        'f': 'os.getcwd()',
    }
