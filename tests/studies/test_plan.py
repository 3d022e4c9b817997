import time
from functools import cache
from pathlib import Path

import pytest
from conftest import ROOT

from mmseg_kd.config import load_config
from mmseg_kd.errors import UserError
from mmseg_kd.studies.config import load_study
from mmseg_kd.studies.plan import PlannedRun, check_files, plan_study
from mmseg_kd.studies.settings import differences, flat_settings

KD = 'local_configs/toy/segformer.b0.toy.kd.py'
ALONE = 'local_configs/toy/segformer.b0.toy.py'
SHIPPED = sorted((ROOT / 'local_configs' / 'studies').glob('*.py'))


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


@cache
def shipped(file: Path) -> list[PlannedRun]:
    return plan_study(load_study(str(file)))


def plan(folder: Path, text: str) -> list[PlannedRun]:
    file = folder / 'mine.py'
    file.write_text(text.replace('KD', repr(KD)), encoding='utf-8')
    return plan_study(load_study(str(file)))


@pytest.mark.parametrize('file', SHIPPED, ids=lambda file: file.stem)
def test_a_shipped_study_plans(file: Path) -> None:
    planned = shipped(file)
    assert load_study(str(file)).name == file.stem
    assert len({run.work_dir for run in planned}) == len(planned)
    assert len({run.fingerprint for run in planned if not run.space}) == len(
        [run for run in planned if not run.space]
    )
    places = {run.key: number for number, run in enumerate(planned)}
    configs = {run.key: run.config for run in planned}
    for run in planned:
        assert all(places[need] < places[run.key] for need in run.needs.values())
        # The checkpoint of another model would not fit, hours after the start.
        if need := run.needs.get('model.teacher.checkpoint'):
            assert run.settings['model.teacher.config'] == configs[need]


def test_the_shipped_studies_have_what_they_say() -> None:
    names = {file.stem: [run.name for run in shipped(file)] for file in SHIPPED}
    assert sorted(names['camvid_kd']) == ['baseline', 'student', 'teacher']
    assert len(names['ablation_losses']) == 3 * 8 + 1
    assert names['weights_grid'][-1] == 'student/15'
    assert names['temperature'][-1] == 'student/4'
    assert names['search_tpe'][-1] == 'student/29'
    assert len(names['hodge']) == 2 * 18 + 1
    # Seven of the first round are left out.
    assert len(names['hodge_finals']) == 5 * 11 + 1
    assert len(names['hodge_seconds']) == 5 * 6 + 1


def test_a_grid_has_every_combination_and_every_seed(tmp_path: Path) -> None:
    text = (
        'study = dict(seeds=[3, 4], runs=dict(a=dict(config=KD)), grid=dict(run="a", space={'
        '"model.kd_losses.kl_loss.temperature": [1.0, 2.0],'
        '"model.kd_losses.at_loss.stages": [["stage1"], ["stage2", "stage3"]]}))'
    )
    planned = plan(tmp_path, text)
    assert [run.key for run in planned[:2]] == [('a/0', 3), ('a/1', 3)]
    assert [run.seed for run in planned] == [3] * 4 + [4] * 4
    assert planned[-1].work_dir == 'runs/a/3/seed4'
    # Also of a single seed, so that seeds can be added later.
    assert plan(tmp_path, text.replace('[3, 4]', '[3]'))[-1].work_dir == 'runs/a/3/seed3'
    assert planned[-1].settings['model.kd_losses.at_loss.stages.1'] == 'stage3'
    assert planned[-1].settings['randomness.seed'] == 4
    assert len({run.fingerprint for run in planned}) == 8


def test_a_student_takes_the_teacher_of_its_seed(tmp_path: Path) -> None:
    text = (
        'study = dict(runs=dict(t=dict(config=KD, seeds=[0, 1]), s=dict(config=KD, '
        'seeds=[1, 2], needs={"model.teacher.checkpoint": "t"})))'
    )
    needs = {run.key: run.needs for run in plan(tmp_path, text)}
    assert needs['s', 1] == {'model.teacher.checkpoint': ('t', 1)}
    assert needs['s', 2] == {'model.teacher.checkpoint': ('t', 0)}


def test_all_runs_train_a_seed_before_any_trains_the_next(tmp_path: Path) -> None:
    text = (
        'study = dict(seeds=[0, 1], runs=dict(t=dict(config=KD, seeds=[1, 0]), n=dict(config=KD), '
        's=dict(config=KD, seeds=[0, 7], needs={"model.teacher.checkpoint": "t"})))'
    )
    keys = [run.key for run in plan(tmp_path, text)]
    # Seed 7 of the student takes the teacher's first.
    assert keys == [('t', 1), ('n', 1), ('t', 0), ('n', 0), ('s', 0), ('s', 7)]


def test_another_teacher_makes_another_student(tmp_path: Path) -> None:
    text = (
        'study = dict(runs=dict(t=dict(config=KD, options={"train_cfg.max_iters": N}), '
        's=dict(config=KD, needs={"model.teacher.checkpoint": "t"})))'
    )
    first, second = (plan(tmp_path, text.replace('N', n))[1] for n in ('10', '20'))
    assert first.fingerprint != second.fingerprint
    assert differences(first.settings, second.settings).startswith('model.teacher.checkpoint')


def test_a_new_key_that_is_checked_may_be_set(tmp_path: Path) -> None:
    options = {'randomness.deterministic': True, 'model.teacher.dtype': 'bfloat16'}
    plan(tmp_path, f'study = dict(runs=dict(a=dict(config=KD, options={options!r})))')


@pytest.mark.parametrize(
    ('options', 'says'),
    [
        ({'model.kd_losses.kl_los.temperature': 1}, "did you mean 'kl_loss'"),
        ({'model.kd_losses.kl_loss.temprature': 1}, "did you mean 'temperature'"),
        ({'modl.backbone': 1}, "did you mean 'model'"),
        ({'param_scheduler.7.end': 1}, 'below 2'),
        ({'train_cfg.max_iters': 'many'}, 'not a whole number'),
        ({'max_iters': 3}, 'train_cfg.max_iters'),
        ({'randomness.sed': 3}, "did you mean 'seed'"),
    ],
)
def test_an_unknown_key_is_found_before_anything_runs(
    tmp_path: Path, options: dict, says: str
) -> None:
    with pytest.raises(UserError) as caught:
        plan(tmp_path, f'study = dict(runs=dict(a=dict(config=KD, options={options!r})))')
    assert says in str(caught.value)
    assert '\n' not in str(caught.value)


def test_a_run_on_another_crop(tmp_path: Path) -> None:
    (run,) = plan(
        tmp_path, 'study = dict(runs=dict(a=dict(config=KD, options={"crop_size": (64, 96)})))'
    )
    assert run.settings['crop_size.1'] == 96
    assert load_config(run.config, run.options).model.data_preprocessor.size == (64, 96)


def test_a_grid_of_crops_changes_what_follows_them(tmp_path: Path) -> None:
    grid = 'grid=dict(run="a", space={"crop_size": [64, 96]})'
    planned = plan(tmp_path, f'study = dict(runs=dict(a=dict(config=KD)), {grid})')
    assert [run.settings['model.data_preprocessor.size.1'] for run in planned] == [64, 96]


def test_a_grid_over_the_crop_of_a_pipeline(tmp_path: Path) -> None:
    key = 'train_dataloader.dataset.pipeline.1.crop_size'
    config = tmp_path / 'crop.py'
    config.write_text(
        f'_base_ = {(ROOT / ALONE).as_posix()!r}\ntrain_dataloader = dict(dataset=dict(pipeline=['
        'dict(type="LoadToyScene"), dict(type="RandomCrop", crop_size=64), '
        'dict(type="PackSegInputs")]))'
    )
    grid = f'grid=dict(run="a", space={{{key!r}: [64, 96]}})'
    planned = plan(
        tmp_path, f'study = dict(runs=dict(a=dict(config={config.as_posix()!r})), {grid})'
    )
    for run in planned:
        now = flat_settings(load_config(run.config, run.options))
        assert now['model.data_preprocessor.size.1'] == run.options[key]
        assert run.settings['model.data_preprocessor.size.1'] == run.options[key]


def test_options_are_as_they_were_written(tmp_path: Path) -> None:
    whole = dict(_delete_=True, type='OptimWrapper', optimizer=dict(type='AdamW', lr=0.001))
    options = {'optim_wrapper': whole, 'train_cfg.max_iters': 4}
    own = {'train_cfg': dict(val_interval=2)}
    planned = plan(
        tmp_path,
        f'study = dict(options={options!r}, runs=dict('
        f'a=dict(config=KD), b=dict(config={ALONE!r}, options={own!r})))',
    )
    for run in planned:
        assert run.options['optim_wrapper'] == whole
        assert 'optim_wrapper.optimizer.weight_decay' not in run.settings
        assert run.settings['train_cfg.max_iters'] == run.max_iters == 4
    assert planned[1].settings['train_cfg.val_interval'] == 2


def test_an_unknown_key_of_a_search_is_found(tmp_path: Path) -> None:
    space = "{'model.kd_losses.kl_loss.temprature': dict(type='uniform', low=1, high=2)}"
    with pytest.raises(UserError, match="did you mean 'temperature'"):
        plan(
            tmp_path,
            'study = dict(runs=dict(a=dict(config=KD)), '
            f'search=dict(run="a", trials=2, space={space}))',
        )


def test_a_missing_checkpoint_is_found_before_anything_runs(tmp_path: Path) -> None:
    options = {'model.teacher.checkpoint': 'no/such.pth'}
    planned = plan(tmp_path, f'study = dict(runs=dict(a=dict(config=KD, options={options!r})))')
    with pytest.raises(UserError, match=r'model.teacher.checkpoint: no/such.pth does not exist'):
        check_files(planned)


def test_a_missing_config_of_a_teacher_is_found_before_anything_runs(tmp_path: Path) -> None:
    options = {'model.teacher.config': 'no/such.py'}
    planned = plan(tmp_path, f'study = dict(runs=dict(a=dict(config=KD, options={options!r})))')
    with pytest.raises(UserError, match=r'no/such.py does not exist; write the path of a config'):
        check_files(planned)


def test_a_missing_baseline_is_found_before_anything_runs(tmp_path: Path) -> None:
    checkpoint = tmp_path / 'teacher.pth'
    checkpoint.touch()
    options = {
        'model.teacher.checkpoint': str(checkpoint),
        'model.teacher.baseline': 'work_dirs/no_baseline',
        'model.pretrained': None,
    }
    text = 'study = dict(runs=dict(a=dict(config=KD, options={options!r})))'
    advice = r"no_baseline does not exist; .*options=\{'model.teacher.baseline': None\}"
    with pytest.raises(UserError, match=advice):
        check_files(plan(tmp_path, text.replace('{options!r}', repr(options))))
    options['model.teacher.baseline'] = str(tmp_path)
    check_files(plan(tmp_path, text.replace('{options!r}', repr(options))))


@pytest.mark.parametrize(
    'space',
    [
        'grid=dict(run="a", space={"load_from": ["no/such.pth", "there.pth"]})',
        'search=dict(run="a", trials=2, space={"load_from": '
        'dict(type="choice", choices=["there.pth", "no/such.pth"])})',
    ],
)
def test_a_missing_checkpoint_among_choices_is_found(tmp_path: Path, space: str) -> None:
    there = tmp_path / 'there.pth'
    there.touch()
    text = f'study = dict(runs=dict(a=dict(config={ALONE!r})), {space})'
    planned = plan(tmp_path, text.replace('there.pth', there.as_posix()))
    with pytest.raises(UserError, match=r'load_from: no/such.pth does not exist'):
        check_files(planned)


@pytest.mark.parametrize('source', ['package://mmseg_kd/__init__.py', 'open-mmlab://resnet18_v1c'])
def test_weights_of_a_package_or_a_url_need_no_file(tmp_path: Path, source: str) -> None:
    run = dict(config=ALONE, options={'model.pretrained': source})
    check_files(plan(tmp_path, f'study = dict(runs=dict(a={run}))'))


@pytest.mark.parametrize(
    ('source', 'says'),
    [
        ('package://mmseg_kd/no.pth', r'no.pth does not exist'),
        ('package://no_such_package/a.pth', 'no_such_package is not installed; pip install'),
    ],
)
def test_missing_weights_of_a_package_are_found(tmp_path: Path, source: str, says: str) -> None:
    run = dict(config=ALONE, options={'model.pretrained': source})
    planned = plan(tmp_path, f'study = dict(runs=dict(a={run}))')
    with pytest.raises(UserError, match=says):
        check_files(planned)


def test_two_hundred_runs_are_planned_in_seconds(tmp_path: Path) -> None:
    weights = [round(0.1 * i, 1) for i in range(1, 21)]
    text = (
        'study = dict(runs=dict(a=dict(config=KD)), grid=dict(run="a", space={'
        f'"model.kd_losses.kl_loss.loss_weight": {weights}, '
        f'"model.kd_losses.at_loss.loss_weight": {weights[:10]}}}))'
    )
    started = time.process_time()
    planned = plan(tmp_path, text)
    assert len(planned) == 200
    assert time.process_time() - started < 5
