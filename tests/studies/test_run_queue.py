"""Workers share a study's trainings, with every kind of storage."""

import json
import sqlite3
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import pytest
from conftest import ROOT
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.storages import InMemoryStorage
from optuna.trial import TrialState, create_trial

from mmseg_kd.errors import UserError
from mmseg_kd.studies.config import Study, load_study
from mmseg_kd.studies.plan import PlannedRun, plan_study
from mmseg_kd.studies.runner import StudyRunner
from mmseg_kd.studies.sharing import run_queue
from mmseg_kd.studies.sharing.run_queue import GRACE, RunQueue
from mmseg_kd.studies.sharing.state import status_table, study_state, time_left, write_state
from mmseg_kd.studies.sharing.storage import open_storage

TOY = 'local_configs/toy/segformer.b0.toy.py'
LIST = f"""study = dict(name=NAME, seeds=SEEDS, runs=dict(
    b=dict(config={TOY!r}, needs={{'load_from': 'a'}}), a=dict(config={TOY!r}, seeds=[0])))"""
SEARCH = f"""study = dict(name=NAME, seeds=[0, 1], runs=dict(a=dict(config={TOY!r})), search=dict(
    run='a', sampler='SAMPLER', trials=4, seed=5, space={{
        'optim_wrapper.optimizer.lr': dict(type='loguniform', low=1e-5, high=1e-3),
        'train_dataloader.batch_size': dict(type='int', low=1, high=8),
        'model.backbone.drop_path_rate': dict(type='choice', choices=[0.0, 0.1])}}))"""


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


@pytest.fixture(params=['sqlite', pytest.param('postgres', marks=pytest.mark.postgres)])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == 'postgres':
        return request.getfixturevalue('postgres')
    return str(tmp_path / 'study.db')


def planned(folder: Path, text: str, **words: object) -> tuple[Study, list[PlannedRun]]:
    # A shared database may hold the studies of other tests.
    for word, value in {'NAME': repr(uuid4().hex), 'SEEDS': '[0]', **words}.items():
        text = text.replace(word, str(value))
    (folder / 'study.py').write_text(text, encoding='utf-8')
    study = load_study(str(folder / 'study.py'))
    return study, plan_study(study)


def queue(study: Study, plan: list[PlannedRun], storage: str) -> RunQueue:
    return RunQueue(study, plan, open_storage(storage, Path('unused')))


def test_a_run_waits_for_what_it_needs(tmp_path: Path, storage: str) -> None:
    study, plan = planned(tmp_path, LIST)
    first, second = queue(study, plan, storage), queue(study, plan, storage)
    lease = first.claim()
    assert lease.run.key == ('a', 0)
    assert first.claim() is None
    assert second.claim() is None
    lease.finish(TrialState.COMPLETE, 1.0)
    assert second.claim().run.key == ('b', 0)
    assert first.claim() is None


def test_a_failed_run_blocks_and_is_retried_on_demand(tmp_path: Path, storage: str) -> None:
    study, plan = planned(tmp_path, LIST)
    runs = queue(study, plan, storage)
    lease = runs.claim()
    lease.set('error', 'it broke')
    lease.finish(TrialState.FAIL)
    assert runs.claim() is None
    runs.retry_failed()
    assert runs.claim().run.key == ('a', 0)


def test_the_run_of_a_dead_process_is_given_on(tmp_path: Path, storage: str) -> None:
    study, plan = planned(tmp_path, LIST)
    runs = queue(study, plan, storage)
    lease = runs.claim()
    assert (runs.claim(), runs.in_state('running')) == (None, [lease.run])
    lease.set('heartbeat', time.time() - 0.5 * GRACE)
    assert (runs.claim(), runs.in_state('running')) == (None, [lease.run])
    lease.set('heartbeat', time.time() - 1.5 * GRACE)
    assert runs.in_state('running') == []
    assert runs.claim().run.key == ('a', 0)
    # A process that was asleep and continues finds out.
    for act in (
        lambda: lease.set('heartbeat', 1),
        lambda: lease.finish(TrialState.COMPLETE, 1.0),
    ):
        with pytest.raises(UpdateFinishedTrialError):
            act()


def test_choices_that_were_edited_need_another_name(tmp_path: Path, storage: str) -> None:
    study, plan = planned(tmp_path, SEARCH, SAMPLER='Random')
    queue(study, plan, storage).claim().finish(TrialState.FAIL)
    study, plan = planned(
        tmp_path, SEARCH.replace('0.1]', '0.1, 0.2]'), SAMPLER='Random', NAME=repr(study.name)
    )
    with pytest.raises(UserError, match=r'search space was edited .*: write another study.name'):
        queue(study, plan, storage).claim()


def test_the_values_of_an_edited_choice_are_shown(tmp_path: Path, storage: str) -> None:
    study, plan = planned(tmp_path, SEARCH, SAMPLER='Random')
    drawn = queue(study, plan, storage).claim().params
    edited = SEARCH.replace('[0.0, 0.1]', '[0.3, 0.4]')
    study, plan = planned(tmp_path, edited, SAMPLER='Random', NAME=repr(study.name))
    runs = queue(study, plan, storage)
    key = 'model.backbone.drop_path_rate'
    shown = [run['params'] for run in study_state(runs)['runs'] if run['params']]
    assert [params[key] for params in shown] == [drawn[key]]
    with pytest.raises(UserError, match='search space was edited'):
        runs.claim()


def test_a_study_that_cannot_be_written_is_read(tmp_path: Path) -> None:
    study, plan = planned(tmp_path, LIST)
    file = tmp_path / 'study.db'
    queue(study, plan, str(file)).claim()
    url = f'sqlite:///file:{file.as_posix()}?mode=ro&uri=true'
    states = [run['state'] for run in study_state(queue(study, plan, url))['runs']]
    assert sorted(states) == ['running', 'waiting']


@pytest.mark.parametrize('name', ['a%20b', '{x}', 'what?', '한글 연구'])
def test_any_folder_can_have_a_study(tmp_path: Path, name: str) -> None:
    if '?' in name and sys.platform == 'win32':
        pytest.skip('Windows allows no ? in a name')
    study, plan = planned(tmp_path, LIST)
    file = tmp_path / name / 'study.db'
    queue(study, plan, str(file)).claim()
    assert file.is_file()
    assert [file.name for file in tmp_path.iterdir() if file.is_file()] == ['study.py']


def test_a_run_that_another_process_trains_on_waits_again(tmp_path: Path, storage: str) -> None:
    study, plan = planned(tmp_path, LIST)
    runs = queue(study, plan, storage)
    worker = StudyRunner(runs, tmp_path / 'out')
    first = runs.claim()
    assert 'failed' in worker._finish(first, 'runs/a/seed0 is in use by process 7')
    states = {run['name']: run['state'] for run in study_state(runs)['runs']}
    assert states == {'a': 'waiting', 'b': 'waiting'}
    assert runs.claim().run == first.run


def test_a_trial_without_a_run_is_left_alone(tmp_path: Path, storage: str) -> None:
    # Earlier versions made them.
    study, plan = planned(tmp_path, LIST)
    runs = queue(study, plan, storage)
    runs.optuna.add_trial(create_trial(value=1.0))
    assert runs.claim().run.key == ('a', 0)
    assert set(runs.current()) == {('a', 0)}


def test_what_an_older_version_put_in_line(tmp_path: Path, storage: str) -> None:
    # It added all trainings at once, also those that cannot start yet.
    study, plan = planned(tmp_path, LIST)
    runs = queue(study, plan, storage)
    for run in reversed(plan):
        runs._add(run, TrialState.WAITING, None, {})
    lease = runs.claim()
    assert lease.run.key == ('a', 0)
    assert runs.claim() is None
    lease.finish(TrialState.COMPLETE, 1.0)
    assert runs.claim().run.key == ('b', 0)


@pytest.mark.parametrize(
    ('key', 'before', 'after', 'same'),
    [
        ('train_dataloader.num_workers', 0, 1, True),
        ('train_dataloader.batch_size', 4, 2, False),
    ],
)
def test_an_edit_that_trains_the_same_is_no_change(
    tmp_path: Path, key: str, before: int, after: int, same: bool
) -> None:
    text = LIST.replace('seeds=SEEDS', f'options={{{key!r}: VALUE}}')
    study, plan = planned(tmp_path, text, VALUE=before, NAME="'one'")
    runs = queue(study, plan, str(tmp_path / 'study.db'))
    for _ in plan:
        runs.claim().finish(TrialState.COMPLETE, 1.0)
    study, plan = planned(tmp_path, text, VALUE=after, NAME="'one'")
    runs = queue(study, plan, str(tmp_path / 'study.db'))
    # The run that the second one needs was edited too.
    trials = runs.current()
    assert [runs.same_settings(run, trials[run.key]) for run in plan] == [same, same]


@pytest.mark.parametrize('heartbeat', [{}, {'heartbeat': 1234.5}])
def test_a_run_of_an_older_version_is_taken_over(tmp_path: Path, heartbeat: dict) -> None:
    # Its heartbeat was the time since the machine was started.
    study, plan = planned(tmp_path, LIST)
    runs = queue(study, plan, str(tmp_path / 'study.db'))
    (first,) = (run for run in plan if run.name == 'a')
    attrs = dict(run='a', seed=0, attempt=1, settings=first.settings, fingerprint='f', **heartbeat)
    attrs['owner'] = {'host': 'here', 'processes': [[1, 0.0]]}
    runs.optuna.add_trial(create_trial(state=TrialState.RUNNING, user_attrs=attrs))
    assert runs.claim().run.key == ('a', 0)
    assert runs.current()[first.key].user_attrs['attempt'] == 2


def test_a_process_that_ends_gives_back_only_its_own(tmp_path: Path) -> None:
    study, plan = planned(tmp_path, LIST.replace(", needs={'load_from': 'a'}", ''))
    first, second = (queue(study, plan, str(tmp_path / 'study.db')) for _ in range(2))
    first.claim()
    kept = second.claim()
    first.give_back()
    assert second.in_state('running') == [kept.run]


def test_a_heartbeat_is_stored_now_and_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, plan = planned(tmp_path, LIST)
    runs = queue(study, plan, str(tmp_path / 'study.db'))
    lease = runs.claim()

    def stored() -> float:
        return runs.current()[lease.run.key].user_attrs['heartbeat']

    before = stored()
    lease.beat()
    assert stored() == before
    monkeypatch.setattr(run_queue, 'HEARTBEAT', 0.0)
    lease.beat()
    assert stored() > before


def test_a_database_that_is_away_stops_no_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def away(*_: object) -> None:
        raise StorageInternalError('gone')

    study, plan = planned(tmp_path, LIST)
    runs = queue(study, plan, str(tmp_path / 'study.db'))
    lease = runs.claim()
    monkeypatch.setattr(run_queue, 'HEARTBEAT', 0.0)
    monkeypatch.setattr(runs.storage, 'set_trial_user_attr', away)
    lease.beat()
    assert 'warning: the storage does not answer: gone' in capsys.readouterr().out


def test_workers_that_start_at_once_share_the_runs(tmp_path: Path, storage: str) -> None:
    # Each with a connection of its own, as a process has. Processes: test_several_processes.
    text = LIST.replace(", needs={'load_from': 'a'}", '')
    study, plan = planned(tmp_path, text, SEEDS=list(range(12)))
    together = threading.Barrier(4, timeout=60)

    def work(_: int) -> list[str]:
        runs = queue(study, plan, storage)
        together.wait()
        taken = []
        while (lease := runs.claim()) is not None:
            lease.finish(TrialState.COMPLETE, 1.0)
            taken.append(lease.run.label)
        return taken

    with ThreadPoolExecutor(4) as pool:
        taken = [label for labels in pool.map(work, range(4)) for label in labels]
    assert Counter(taken) == Counter({'a seed 0': 1, **{f'b seed {k}': 1 for k in range(12)}})


def test_the_slower_of_two_processes_takes_another_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, plan = planned(tmp_path, LIST.replace(", needs={'load_from': 'a'}", ''))
    first, second = (queue(study, plan, str(tmp_path / 'study.db')) for _ in range(2))
    taken = []

    def late(*arguments: object) -> int:
        monkeypatch.undo()
        monkeypatch.chdir(ROOT)
        taken.append(first.claim())
        return second._add(*arguments)

    monkeypatch.setattr(second, '_add', late)
    taken.append(second.claim())
    assert [lease.run.name for lease in taken] == [run.name for run in plan]


@pytest.mark.parametrize(
    ('sampler', 'seed'), [('Random', 5), ('TPE', 5), ('Random', 20261127), ('TPE', 20261127)]
)
def test_a_point_is_chosen_once_and_kept(tmp_path: Path, sampler: str, seed: int) -> None:
    text = SEARCH.replace('seed=5', f'seed={seed}')
    study, plan = planned(tmp_path, text, SAMPLER=sampler)
    runs = queue(study, plan, str(tmp_path / 'study.db'))
    one, two = runs.claim(), runs.claim()
    assert (one.run.key, two.run.key) == (('a/0', 0), ('a/0', 1))
    assert one.params == two.params
    assert 1e-5 <= one.params['optim_wrapper.optimizer.lr'] <= 1e-3
    assert one.params['model.backbone.drop_path_rate'] in (0.0, 0.1)
    one.set('error', 'it broke')
    one.finish(TrialState.FAIL)
    runs.retry_failed()
    again = runs.claim()
    assert again.run.key == ('a/0', 0)
    assert again.params == one.params
    other = runs.claim()
    assert other.run.key == ('a/1', 0)
    assert other.params != one.params


@pytest.mark.parametrize(('sampler', 'learns'), [('Random', False), ('TPE', True)])
def test_only_tpe_learns_from_scores(tmp_path: Path, sampler: str, learns: bool) -> None:
    text = SEARCH.replace('trials=4', 'trials=12').replace('seeds=[0, 1]', 'seeds=[0]')
    study, plan = planned(tmp_path, text, SAMPLER=sampler)

    def last(sign: int) -> dict:
        runs = RunQueue(study, plan, InMemoryStorage())
        for _ in plan[:-1]:
            lease = runs.claim()
            lease.finish(TrialState.COMPLETE, sign * lease.params['optim_wrapper.optimizer.lr'])
        return runs.claim().params

    assert last(1) == last(1)
    assert (last(1) != last(-1)) == learns


def test_a_state_that_cannot_be_written_stops_no_study(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    runs = queue(*planned(tmp_path, LIST), str(tmp_path / 'study.db'))
    (tmp_path / 'study.json').mkdir()
    assert write_state(runs, tmp_path) == study_state(runs)
    assert 'warning: study.json cannot be written' in capsys.readouterr().out


def test_controls_are_those_of_each_point_of_a_grid(tmp_path: Path) -> None:
    grid = "grid=dict(run='b', space={'optim_wrapper.optimizer.lr': [0.1, 0.2]})"
    text = LIST.replace('runs=', f"controls={{'b': ['a']}}, {grid}, runs=")
    runs = queue(*planned(tmp_path, text, SEEDS='[0, 1]'), str(tmp_path / 'study.db'))
    assert study_state(runs)['controls'] == {'b/0': ['a'], 'b/1': ['a']}


def test_the_remaining_time_follows_from_the_finished_runs(tmp_path: Path) -> None:
    study, plan = planned(tmp_path, LIST, SEEDS='[0, 1]')
    file = str(tmp_path / 'study.db')
    first = queue(study, plan, file)
    assert time_left(first, tmp_path) == ''
    first.claim().finish(TrialState.COMPLETE, 1.0)
    with closing(sqlite3.connect(file)) as database, database:
        day = '2026-01-01 00'
        times = f"datetime_start = '{day}:00:00.0', datetime_complete = '{day}:15:00.0'"
        database.execute(f'UPDATE trials SET {times}')
    first, second = queue(study, plan, file), queue(study, plan, file)
    assert time_left(first, tmp_path) == 'about 0:30:00 left'
    leases = first.claim(), second.claim()
    # Two processes train two runs.
    assert time_left(first, tmp_path) == 'about 0:15:00 left'
    for lease in leases:
        lease.finish(TrialState.COMPLETE, 1.0)
    assert time_left(first, tmp_path) == ''


def test_the_table_shows_how_far_each_training_is(tmp_path: Path) -> None:
    study, plan = planned(tmp_path, LIST, SEEDS='[0, 1]')
    runs = queue(study, plan, str(tmp_path / 'study.db'))
    runs.claim().finish(TrialState.COMPLETE, 7.0)
    lease = runs.claim()
    file = tmp_path / lease.run.work_dir / '20260101_000000' / 'vis_data' / 'scalars.json'
    file.parent.mkdir(parents=True)
    length, done = lease.run.max_iters, lease.run.max_iters - 30
    times = {1: 9.0, 2: 9.0, done: 2.0}
    rows = [dict(loss=1.0, time=seconds, step=step) for step, seconds in times.items()]
    rows.append(dict(mIoU11=5.0, time=0.1, step=done))
    file.write_text('\n'.join(map(json.dumps, rows)))
    table = status_table(study_state(runs), plan, tmp_path)
    shown = [[cell.strip() for cell in line.split('|')[1:-2]] for line in table.splitlines()]
    assert shown[3:6] == [
        ['1', 'a', '0', 'done', '7.00', f'0/{length}', '-'],
        ['2', 'b', '0', 'running', '5.00', f'{done}/{length}', '0:01:00'],
        ['3', 'b', '1', 'waiting', '-', f'0/{length}', '-'],
    ]


def test_what_needs_a_failed_run_takes_no_time_and_says_why(tmp_path: Path) -> None:
    text = LIST.replace('seeds=[0])))', f'seeds=[0]), c=dict(config={TOY!r})))')
    study, plan = planned(tmp_path, text, SEEDS='[0, 1]')
    runs = queue(study, plan, str(tmp_path / 'study.db'))
    lease = runs.claim()
    lease.set('error', 'it broke')
    lease.finish(TrialState.FAIL)
    for _ in range(2):
        runs.claim().finish(TrialState.COMPLETE, 1.0)
    assert time_left(runs, tmp_path) == ''
    table = status_table(study_state(runs), plan, tmp_path)
    assert table.count('needs a, which failed') == 2


@pytest.mark.parametrize(
    ('where', 'says'),
    [
        ('nosuchdb://host/name', "opened: Can't load plugin: sqlalchemy.dialects:nosuchdb"),
        ('postgresql+psycopg2://me:secret@127.0.0.1:1/x', 'Connection refused'),
        ('{folder}/study.py', 'not a database'),
        ('{folder}/text.db', 'not a database'),
    ],
)
def test_a_storage_that_cannot_be_opened_is_one_line(tmp_path: Path, where: str, says: str) -> None:
    if 'psycopg2' in where:
        pytest.importorskip('psycopg2')
    (tmp_path / 'study.py').write_text('study = 1')
    (tmp_path / 'text.db').write_text('nothing of the kind ' * 100)
    with pytest.raises(UserError, match=says) as caught:
        open_storage(where.format(folder=tmp_path.as_posix()), tmp_path)
    assert 'secret' not in str(caught.value)
    assert '\n' not in str(caught.value)
    assert (tmp_path / 'study.py').read_text() == 'study = 1'
