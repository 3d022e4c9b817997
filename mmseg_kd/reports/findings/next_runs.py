"""Suggestions of further runs, as lines to copy."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pprint import pformat
from typing import Any, NamedTuple

from mmseg_kd.distillation.gradient_diagnosis import MOST_CHANGE
from mmseg_kd.nested import ending_at
from mmseg_kd.paths import quoted, relative
from mmseg_kd.records.json_lines import NUMBER, fits
from mmseg_kd.records.message import Message, message
from mmseg_kd.records.run_record import RunRecord
from mmseg_kd.reports.comparing.collection import Collection, Group
from mmseg_kd.reports.comparing.statistics import FEWEST_SEEDS, PairedDifference, half_width
from mmseg_kd.reports.findings.training import FEWEST_EVALUATIONS, loss_faults

MOST_SEEDS = 20
# Factor that is enough to see whether a longer training helps.
LONGER = 1.5
# In points. Smaller differences between two evaluations can be chance.
STILL_IMPROVING = 0.5
MOST = 3


class Suggestion(NamedTuple):
    """A reason, the lines to run or to add to a study, and the name of the run that they add."""

    reason: Message
    lines: str
    entry: str = ''


def suggest(collection: Collection) -> list[Suggestion]:
    """Suggest runs, the most needed first; those of a study as lines for its config."""
    found = [*_seeds(collection), *_loss_weights(collection), *_longer_runs(collection)]
    done = {group.name for group in collection.groups}
    return [each for each in found if each.entry not in done]


def seeds_needed(compared: PairedDifference) -> int | None:
    """Return how many seeds would make this difference significant; None if more than 20."""
    if compared.verdict == 'few seeds':
        return FEWEST_SEEDS
    counts = range(len(compared.seeds) + 1, MOST_SEEDS + 1)
    widths = {n: half_width(compared.sd, n, compared.confidence) for n in counts}
    return next((n for n, width in widths.items() if width < abs(compared.mean)), None)


def _seeds(collection: Collection) -> Iterator[Suggestion]:
    best, baseline = next(iter(collection.students), None), collection.baseline
    compared = collection.compare(best) if best is not None else None
    decided = compared is None or compared.verdict in ('better', 'worse')
    if decided or (count := seeds_needed(compared)) is None:
        return
    reason = message(
        'More seeds of {name} and {baseline}: fewer than {n} cannot show a difference.'
        if compared.verdict == 'few seeds'
        else 'More seeds of {name} and {baseline}: if the difference and its spread stay the same, '
        '{n} seeds would separate it from noise.',
        name=best.name,
        baseline=baseline.name,
        n=count,
    )
    known = sorted({*baseline.seeds, *best.seeds})
    # First the seeds that both groups have, then those of one of them.
    order = [*compared.seeds, *known, *range(count)]
    if best.params:
        # The scores of the seeds that chose this point are too high.
        unused = [*baseline.seeds, *range(count + len(known))]
        order = [seed for seed in unused if seed not in best.seeds]
    seeds = list(dict.fromkeys(order))[:count]
    line, runs = f'seeds={sorted({*seeds, *known})},', f'{best.name} and {baseline.name}'
    in_study = dict.fromkeys((best, baseline), f'{line}  # of the runs {runs}')
    if best.params:
        # Seeds of the whole study would train every point of its grid or search.
        in_study[best] = _lines(best, 'seeds', {}, seeds)
        in_study[baseline] = f'# and in the run {baseline.name}: {line}'
    lines = []
    for group, line in in_study.items():
        missing = sorted(set(seeds) - set(group.seeds))
        if group.first.study_config:
            lines += [line] * bool(missing)
        else:
            lines += [_train(group.first, f's{x}', {'randomness.seed': x}) for x in missing]
    if lines:
        entry = _entry(best, 'seeds') if best.params else ''
        yield Suggestion(reason, '\n'.join(dict.fromkeys(lines)), entry)


def _loss_weights(collection: Collection) -> Iterator[Suggestion]:
    found = []
    for group in collection.ranked:
        faults = loss_faults(group.first).values()
        options = {key: _rounded(fault.better) for key, fault in faults if fault.better is not None}
        if options:
            found.append((group, options))
    for group, options in found[:MOST]:
        reason = message(
            'Train {name} with weights that bring each loss closer to a tenth of the gradient, '
            "by the median of the run's reports. One step raises a weight at most {most} times, "
            'or to 1; measure again before the next step.',
            name=group.name,
            most=MOST_CHANGE,
        )
        yield Suggestion(reason, _lines(group, 'weights', options), _entry(group, 'weights'))


def _longer_runs(collection: Collection) -> Iterator[Suggestion]:
    students = collection.students
    # A student that trains longer than the baseline cannot be compared with it.
    groups = dict.fromkeys([*students[:1], collection.baseline, *students, *collection.ranked])
    found = [g for g in groups if g is not None and g.first.max_iters and _improving(g)]
    for group in found[:MOST]:
        reason = message('Train {name} 1.5x longer: it was still improving.', name=group.name)
        options = _longer(group.first, round(LONGER * group.first.max_iters))
        yield Suggestion(reason, _lines(group, 'longer', options), _entry(group, 'longer'))


def _improving(group: Group) -> bool:
    """Return whether a finished group's last evaluation is clearly the best."""
    iterations, values = group.curves()
    means = values.mean(axis=0)
    # A run in progress improves in any case.
    enough = group.finished and len(iterations) >= FEWEST_EVALUATIONS
    return enough and means[-1] - means[:-1].max() >= STILL_IMPROVING


def _longer(run: RunRecord, iterations: int) -> dict[str, Any]:
    """Return overrides for another length; schedules that ended with the training still do."""
    budget = run.setting('train_cfg', 'time_budget')
    if fits(budget, NUMBER) and run.max_iters:
        return {'train_cfg.time_budget': _rounded(budget * iterations / run.max_iters)}
    options: dict[str, Any] = {'train_cfg.max_iters': iterations}
    return options | {f'{key}.end': iterations for key, _ in ending_at(run.config, run.max_iters)}


def _rounded(value: float) -> float:
    return float(f'{value:.3g}')


def _lines(group: Group, what: str, options: dict[str, Any], seeds: Sequence[int] = ()) -> str:
    """Return an entry of the study's config, or a command if the group is not in a study."""
    run = group.first
    if not run.study_config:
        return _train(run, what, options)
    # The study fills in the path of a needed checkpoint.
    entry = {'config': run.study_config, 'needs': run.needs, 'options': {**run.options, **options}}
    entry['seeds'] = sorted(seeds or group.seeds)
    filled = {key: value for key, value in entry.items() if value}
    # With the asterisks it can stand in `dict(...)` and in `{...}`.
    return f'**{pformat({_entry(group, what): filled}, sort_dicts=False)},'


def _entry(group: Group, what: str) -> str:
    return f'{group.name}_{what}'.replace('/', '_')


def _train(run: RunRecord, what: str, options: Mapping[str, Any]) -> str:
    # The full config that the run left in its work_dir.
    found = sorted(run.source.glob('*.py'), key=lambda file: file.stat().st_mtime)
    config = relative(found[-1]) if found else 'CONFIG'
    folder = relative(run.source.with_name(f'{run.source.name}_{what}'))
    pairs = [quoted(f'{key}={json.dumps(value)}') for key, value in options.items()]
    start = ['python tools/train.py', quoted(config), '--work-dir', quoted(folder)]
    return ' '.join([*start, '--cfg-options', *pairs])
