from pathlib import Path

import pytest
from conftest import ROOT

from mmseg_kd.errors import UserError
from mmseg_kd.studies.config import load_study

RUN = "dict(config='local_configs/toy/segformer.b0.toy.py')"
KEY = 'optim_wrapper.optimizer.lr'


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def load(folder: Path, text: str):
    file = folder / 'mine.py'
    file.write_text(text.replace('RUN', RUN).replace('KEY', repr(KEY)), encoding='utf-8')
    return load_study(str(file))


def test_what_is_not_written_has_a_default(tmp_path: Path) -> None:
    study = load(tmp_path, 'study = dict(runs=dict(a=RUN))')
    assert (study.name, study.metric) == ('mine', 'mIoU11')
    assert (study.baseline, study.test) == (None, False)
    assert study.runs['a'].seeds == (0,)


def test_a_name_may_be_korean(tmp_path: Path) -> None:
    assert list(load(tmp_path, 'study = dict(runs=dict(학생=RUN, 교사_1=RUN))').runs) == [
        '학생',
        '교사_1',
    ]


def test_needed_runs_come_first(tmp_path: Path) -> None:
    text = 'study = dict(runs=dict(c=dict(**RUN, needs={"load_from": "b"}), a=RUN, b=RUN))'
    assert list(load(tmp_path, text).runs) == ['b', 'c', 'a']


@pytest.mark.parametrize(
    ('text', 'says'),
    [
        ('x = 1', 'study: write study=dict(...), not None'),
        ('study = dict(runs=dict(', 'line 1'),
        ('study = dict(runs={})', 'study.runs: write runs=dict(NAME='),
        ('study = dict(run=dict(a=RUN))', "did you mean 'runs'"),
        ('study = dict(runs=dict(a=dict(config="no.py")))', 'no.py does not exist'),
        ('study = dict(runs=dict(a=dict(confg="no.py")))', "did you mean 'config'"),
        ('study = dict(runs={"a/b": RUN})', "'a/b' becomes a folder"),
        ('study = dict(runs=dict(kd=RUN, KD=RUN))', "'KD' and 'kd' are one folder on Windows"),
        (
            'study = dict(runs={"\ud559": RUN, "\u1112\u1161\u11a8": RUN})',
            'are one folder on Windows',
        ),
        ('study = dict(runs={"kd.": RUN})', "'kd.': Windows drops a dot at the end"),
        ('study = dict(runs={"aux": RUN})', "'aux' is reserved by Windows"),
        ('study = dict(runs={"CON": RUN})', "'CON' is reserved by Windows"),
        ('study = dict(runs={"nul.1": RUN})', "'nul.1' is reserved by Windows"),
        ('study = dict(runs={"Com1": RUN})', "'Com1' is reserved by Windows"),
        ('study = dict(name="prn", runs=dict(a=RUN))', "study.name: 'prn' is reserved"),
        ('study = dict(runs=dict(a=dict(**RUN, needs={"load_from": "b"})))', "'b' is not one of a"),
        (
            'study = dict(runs=dict(a=RUN, b=dict(**RUN, needs={"model.teacher.config": "a"})))',
            "study.runs.b.needs['model.teacher.config']: a run makes a checkpoint",
        ),
        (
            'study = dict(runs=dict(a=dict(**RUN, needs={"load_from": "b"}), '
            'b=dict(**RUN, needs={"load_from": "a"})))',
            'a -> b -> a',
        ),
        ('study = dict(runs=dict(a=RUN), baseline="b")', "study.baseline: 'b' is not one of a"),
        ('study = dict(runs=dict(a=RUN), seeds=[])', 'study.seeds: [] is not a list of whole'),
        ('study = dict(runs=dict(a=RUN), seeds=[0, 0])', 'twice'),
        ('study = dict(runs=dict(a=RUN), seeds="0")', 'list of whole numbers'),
        ('study = dict(runs=dict(a=RUN), options={"randomness.seed": 1})', 'seeds=[...]'),
        ('study = dict(runs=dict(a=RUN), grid=dict(run="a", space={}))', 'space is empty'),
        (
            'study = dict(runs=dict(a=RUN), grid=dict(run="a", space={"randomness.seed": [1, 2]}))',
            'study.grid.space: randomness.seed is set by the study; write seeds=[...] instead',
        ),
        (
            'study = dict(runs=dict(a=RUN, b=dict(**RUN, needs={"load_from": "a"})), '
            'grid=dict(run="b", space={"load_from": ["x.pth", "y.pth"]}))',
            "study.runs.b.needs['load_from']: the grid varies this key too",
        ),
        (
            'study = dict(runs=dict(a=RUN), search=dict(run="a", trials=3, '
            'space={KEY: dict(type=["uniform"], low=1, high=2)}))',
            'one of uniform',
        ),
        (
            'study = dict(runs=dict(a=RUN), grid=dict(run="a", space={KEY: [1]}), '
            'search=dict(run="a", trials=3, space={KEY: dict(type="uniform", low=1, high=2)}))',
            'study has a grid and a search; write one of them',
        ),
        ('study = dict(runs=dict(a=RUN), grid=dict(run="a", space={KEY: []}))', 'at least one'),
        ('study = dict(runs=dict(a=RUN), grid=dict(run="a", space={KEY: [1, 1]}))', 'twice'),
        ('study = dict(runs=dict(a=RUN), grid=dict(run="b", space={KEY: [1]}))', "'b' is not"),
        ('study = dict(runs=dict(a=RUN), search=dict(run="a", trials=3, space={}))', 'empty'),
        (
            'study = dict(runs=dict(a=RUN), search=dict(run="a", trials=0, '
            'space={KEY: dict(type="uniform", low=1, high=2)}))',
            'trials: 0',
        ),
        (
            'study = dict(runs=dict(a=RUN), search=dict(run="a", trials=3, sampler="Tree", '
            'space={KEY: dict(type="uniform", low=1, high=2)}))',
            "'Tree' is not one of TPE, Random",
        ),
        (
            'study = dict(runs=dict(a=RUN), search=dict(run="a", trials=3, '
            'space={KEY: dict(type="loguniform", low=0, high=2)}))',
            'no logarithm',
        ),
        (
            'study = dict(runs=dict(a=RUN), search=dict(run="a", trials=3, '
            'space={KEY: dict(type="uniform", low=2, high=1)}))',
            'not below',
        ),
        (
            'study = dict(runs=dict(a=RUN), search=dict(run="a", trials=3, '
            'space={KEY: dict(type="int", low=1.5, high=2)}))',
            'whole numbers',
        ),
        (
            'study = dict(runs=dict(a=RUN), search=dict(run="a", trials=3, '
            'space={KEY: dict(type="normal", low=1, high=2)}))',
            'one of uniform',
        ),
    ],
)
def test_a_mistake_is_one_line_that_says_where(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(UserError) as caught:
        load(tmp_path, text)
    assert says in str(caught.value)
    assert 'mine.py' in str(caught.value)
    assert '\n' not in str(caught.value)
