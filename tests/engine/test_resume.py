"""A run that is killed and resumed ends where one that was not does."""

from pathlib import Path

import pytest
import torch
from conftest import KD_LOSSES, tiny_config, tiny_model
from killing import Kill, KillAt
from mmengine.config import Config
from mmengine.hooks import Hook

from mmseg_kd.checkpoints import read_checkpoint
from mmseg_kd.config import choose_start
from mmseg_kd.datasets import CamVidDataset
from mmseg_kd.engine import build_runner
from mmseg_kd.engine.runner import KDRunner
from mmseg_kd.errors import UserError


class DrawBefore(Hook):
    """Draw a random number before a resumed training, as another hook may.

    It comes before the evaluation is repeated and its best score is saved.
    """

    def before_train(self, runner: KDRunner) -> None:
        if runner.resumes:
            torch.rand(1)


def train(cfg: object, resume: str | None = None, kill: KillAt | None = None) -> dict:
    """Weights and evaluations at the end of a run."""
    choose_start(cfg, resume)
    runner = build_runner(cfg)
    runner.register_hook(DrawBefore(), priority='VERY_HIGH')
    if kill:
        runner.register_hook(kill, priority='VERY_HIGH')
    runner.train()
    return {
        'weights': {k: v.clone() for k, v in runner.bare_model.state_dict().items()},
        'evaluations': runner.message_hub.get_info('evaluations'),
        'losses': runner.message_hub.get_scalar('train/loss').data[0].tolist(),
    }


def assert_same(run: dict, reference: dict) -> None:
    assert run['evaluations'] == reference['evaluations']
    for name, value in reference['weights'].items():
        assert torch.equal(run['weights'][name], value), name
    assert run['losses'] == reference['losses']


def kd_model(teacher: dict) -> dict:
    return tiny_model(type='KDEncoderDecoder', teacher=teacher, kd_losses=KD_LOSSES)


@pytest.fixture(scope='module')
def reference(tmp_path_factory: pytest.TempPathFactory) -> dict:
    """The plain run that nobody disturbed."""
    return train(tiny_config(tmp_path_factory.mktemp('whole')))


@pytest.mark.parametrize(
    ('stage', 'iteration'),
    [
        ('after_train_iter', 4),  # in the middle of an interval
        ('before_val_iter', 3),  # while evaluating a checkpoint that is already written
        ('after_val_epoch', 3),  # evaluated, but not yet noted
        ('before_val_iter', 6),  # in the last evaluation
    ],
)
def test_a_killed_run_ends_at_the_same_weights(
    tmp_path: Path, reference: dict, stage: str, iteration: int
) -> None:
    with pytest.raises(Kill):
        train(tiny_config(tmp_path), kill=KillAt(stage, iteration))
    run = train(tiny_config(tmp_path), resume='auto')
    assert [row['iter'] for row in run['evaluations']] == [3, 6]
    assert_same(run, reference)


@pytest.mark.slow
def test_a_killed_distillation_ends_at_the_same_weights(tmp_path: Path, teacher: dict) -> None:
    model = kd_model(teacher)
    reference = train(tiny_config(tmp_path / 'whole', model=model))
    with pytest.raises(Kill):
        train(tiny_config(tmp_path / 'cut', model=model), kill=KillAt('after_train_iter', 4))
    assert_same(train(tiny_config(tmp_path / 'cut', model=model), resume='auto'), reference)


def test_killed_twice(tmp_path: Path, reference: dict) -> None:
    for kill, resume in [
        (KillAt('before_val_iter', 3), None),
        (KillAt('before_train_iter', 4), 'auto'),  # after making up for the evaluation
    ]:
        with pytest.raises(Kill):
            train(tiny_config(tmp_path), resume=resume, kill=kill)
    assert_same(train(tiny_config(tmp_path), resume='auto'), reference)


def test_evaluation_does_not_change_the_training(tmp_path: Path, reference: dict) -> None:
    run = train(tiny_config(tmp_path, train_cfg__val_interval=2))
    for name, value in reference['weights'].items():
        assert torch.equal(run['weights'][name], value), name


@pytest.mark.slow
def test_workers_change_nothing_and_resume(tmp_path: Path, reference: dict) -> None:
    options = dict(train_dataloader__num_workers=2)
    with pytest.raises(Kill):
        train(tiny_config(tmp_path, **options), kill=KillAt('after_train_iter', 3))
    assert_same(train(tiny_config(tmp_path, **options), resume='auto'), reference)


@pytest.mark.slow
def test_another_seed_changes_the_training(tmp_path: Path) -> None:
    short = dict(train_cfg__max_iters=1, train_cfg__val_interval=9)
    one, two = (
        train(tiny_config(tmp_path / str(seed), randomness__seed=seed, **short)) for seed in (0, 1)
    )
    assert one['losses'] != two['losses']


@pytest.mark.slow
def test_a_run_without_a_seed_resumes_with_its_own(tmp_path: Path) -> None:
    whole = train(tiny_config(tmp_path, randomness__seed=None))
    (tmp_path / 'iter_6.pth').unlink()
    again = train(tiny_config(tmp_path, randomness__seed=None), resume='auto')
    assert_same(again, whole)


@pytest.mark.slow
def test_resume_true_in_the_config_is_honoured(tmp_path: Path) -> None:
    train(tiny_config(tmp_path, train_cfg__max_iters=3))
    run = train(tiny_config(tmp_path, resume=True))
    assert [row['iter'] for row in run['evaluations']] == [3, 6]


@pytest.mark.slow
def test_resume_needs_no_pretrained_file(tmp_path: Path) -> None:
    train(tiny_config(tmp_path, train_cfg__max_iters=3))
    lost = tiny_model(pretrained='pretrained/mit_b0.pth')
    assert train(tiny_config(tmp_path, model=lost), resume='auto')['evaluations']


def test_the_saved_config_says_how_a_resumed_run_began(tmp_path: Path) -> None:
    train(tiny_config(tmp_path / 'first', train_cfg__max_iters=3))
    start = str(tmp_path / 'first' / 'iter_3.pth')
    began = dict(load_from=start, model=tiny_model(pretrained='lost.pth'))
    train(tiny_config(tmp_path / 'run', train_cfg__max_iters=3, **began))
    train(tiny_config(tmp_path / 'run', **began), resume='auto')
    saved = [*(tmp_path / 'run').glob('*.py'), *(tmp_path / 'run').glob('*/vis_data/config.py')]
    assert len(saved) >= 3
    for cfg in map(Config.fromfile, saved):
        assert (cfg.resume, cfg.load_from, cfg.model.pretrained) == (False, start, 'lost.pth')


def test_a_new_run_does_not_overwrite_an_old_one(tmp_path: Path) -> None:
    train(tiny_config(tmp_path, train_cfg__max_iters=3))
    with pytest.raises(UserError, match=r'already holds a run \(iter_3.pth\): continue it with'):
        train(tiny_config(tmp_path))


def test_a_best_checkpoint_cannot_be_resumed(tmp_path: Path) -> None:
    train(tiny_config(tmp_path / 'a', train_cfg__max_iters=3))
    best = next((tmp_path / 'a').glob('best_*.pth'))
    with pytest.raises(UserError, match=r'cannot be resumed: it has no optimizer'):
        train(tiny_config(tmp_path / 'b'), resume=str(best))
    # A run that is refused does not replace the config of an earlier one.
    assert not list((tmp_path / 'b').glob('*.py'))


@pytest.mark.slow
def test_checkpoints_hold_the_student_and_are_whole(tmp_path: Path, teacher: dict) -> None:
    train(tiny_config(tmp_path / 'kd', model=kd_model(teacher)))
    plain = train(tiny_config(tmp_path / 'plain'))
    files = sorted(p.name for p in (tmp_path / 'kd').glob('*.pth'))
    assert [f for f in files if not f.startswith('best')] == ['iter_3.pth', 'iter_6.pth']
    checkpoint = read_checkpoint(tmp_path / 'kd' / 'iter_6.pth')
    assert list(checkpoint['state_dict']) == list(plain['weights'])
    assert not list((tmp_path / 'kd').rglob('*tmp*'))


@pytest.mark.slow
def test_only_the_last_checkpoints_are_kept(tmp_path: Path) -> None:
    options = dict(default_hooks__checkpoint=dict(interval=1, max_keep_ckpts=2))
    train(tiny_config(tmp_path, train_cfg__max_iters=4, **options))
    assert sorted(p.name for p in tmp_path.glob('iter_*')) == ['iter_3.pth', 'iter_4.pth']
    train(tiny_config(tmp_path, **options), resume='auto')
    assert sorted(p.name for p in tmp_path.glob('iter_*')) == ['iter_5.pth', 'iter_6.pth']


def test_a_kill_while_writing_leaves_no_half_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_one = dict(default_hooks__checkpoint__max_keep_ckpts=1)
    train(tiny_config(tmp_path, train_cfg__max_iters=3, **keep_one))
    intact = (tmp_path / 'iter_3.pth').read_bytes()

    def half_written(checkpoint: dict, file: str, *args: object, **kwargs: object) -> None:
        Path(file).write_bytes(b'PK\x03\x04 half')
        raise Kill

    monkeypatch.setattr('mmengine.runner.runner.save_checkpoint', half_written)
    with pytest.raises(Kill):
        train(tiny_config(tmp_path, **keep_one), resume='auto')
    assert sorted(p.name for p in tmp_path.glob('iter_*')) == ['iter_3.pth']
    assert (tmp_path / 'iter_3.pth').read_bytes() == intact


def test_the_best_checkpoint_outlives_the_writing_of_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kill_at_the_second_best(checkpoint: dict, file: str, *args: object, **kw: object) -> None:
        if 'best_mIoU_iter_6' in str(file):
            raise Kill
        torch.save(checkpoint, file)

    monkeypatch.setattr('mmengine.runner.runner.save_checkpoint', kill_at_the_second_best)
    with pytest.raises(Kill):
        train(tiny_config(tmp_path))
    assert [p.name for p in tmp_path.glob('best_*')] == ['best_mIoU_iter_3.pth']
    monkeypatch.undo()
    train(tiny_config(tmp_path), resume='auto')
    assert [p.name for p in tmp_path.glob('best_*')] == ['best_mIoU_iter_6.pth']
    assert not list(tmp_path.glob('.*tmp*'))


def test_a_teacher_of_other_classes_is_refused(tmp_path: Path, teacher: dict) -> None:
    checkpoint = torch.load(teacher['checkpoint'])
    classes = list(CamVidDataset.METAINFO['classes'])
    checkpoint['meta'] = dict(dataset_meta=dict(classes=classes[::-1]))
    torch.save(checkpoint, teacher['checkpoint'])
    with pytest.raises(UserError, match='the same classes in another order'):
        train(tiny_config(tmp_path / 'kd', model=kd_model(teacher)))


def test_data_with_ids_in_another_order_are_refused(tmp_path: Path) -> None:
    train(tiny_config(tmp_path / 'run', train_cfg__max_iters=3))
    checkpoint = read_checkpoint(tmp_path / 'run' / 'iter_3.pth')
    meta = checkpoint['meta']['dataset_meta']
    meta['classes'] = tuple(meta['classes'])[::-1]
    torch.save(checkpoint, tmp_path / 'turned.pth')
    start = str(tmp_path / 'turned.pth')
    with pytest.raises(UserError, match='the same ones in another order'):
        train(tiny_config(tmp_path / 'tuned', load_from=start))


def test_a_rate_that_a_resumed_run_does_not_use_is_named(tmp_path: Path) -> None:
    for i, factor in enumerate((1, 2)):
        folder = tmp_path / str(i)
        train(tiny_config(folder, train_cfg__max_iters=3))
        cfg = tiny_config(folder)
        cfg.optim_wrapper.optimizer.lr *= factor
        train(cfg, resume='auto')
        log = max(folder.glob('*/*.log')).read_text(encoding='utf-8')
        assert ("the config's lr is not used: a resumed optimizer keeps" in log) == (factor == 2)
        assert "the config's weight_decay is not used" not in log


def test_workers_that_persist_without_a_worker(tmp_path: Path) -> None:
    data = tiny_config(tmp_path).train_dataloader
    loader = KDRunner.build_dataloader(dict(data, num_workers=0, persistent_workers=True))
    assert loader.num_workers == 0
