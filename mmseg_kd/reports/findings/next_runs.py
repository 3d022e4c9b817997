"""Suggestions of further runs, as lines to copy."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mmseg_kd.distillation.gradient_diagnosis import MOST_CHANGE
from mmseg_kd.paths import relative
from mmseg_kd.records.json_lines import is_number
from mmseg_kd.records.message import Message, message
from mmseg_kd.records.run_record import RunRecord
from mmseg_kd.records.study_file import StudyRecord
from mmseg_kd.reports.comparing.collection import Collection, Group
from mmseg_kd.reports.comparing.search_results import best_at_the_edge
from mmseg_kd.reports.comparing.statistics import FEWEST_SEEDS, PairedDifference, half_width
from mmseg_kd.reports.findings.diagnoses import loss_faults, peaked_and_fell, still_improving

MOST_SEEDS = 20
# Factor that is enough to see whether a longer training helps.
LONGER = 1.5
MOST = 3


@dataclass(frozen=True)
class Suggestion:
    """A reason, and the lines to run or to add to a study."""

    reason: Message
    lines: str


def suggest(collection: Collection) -> list[Suggestion]:
    """Suggest runs, the most needed first; those of a study as lines for its config."""
    return [
        *_seeds(collection),
        *_loss_weights(collection),
        *_lengths(collection),
        *_spaces(collection),
        *_test(collection),
    ]


def seeds_needed(compared: PairedDifference) -> int | None:
    """Return the seeds with which this difference would be significant; None above 20."""
    if not compared.sd or not compared.mean:
        return None
    for n in range(len(compared.seeds) + 1, MOST_SEEDS + 1):
        if half_width(compared.sd, n) < abs(compared.mean):
            return n
    return None


def _seeds(collection: Collection) -> Iterator[Suggestion]:
    best, baseline = next(iter(collection.students), None), collection.baseline
    compared = collection.compare(best) if best is not None else None
    if compared is None or compared.verdict not in ('few seeds', 'noise'):
        return
    values = dict(name=best.name, baseline=baseline.name)
    count = FEWEST_SEEDS if compared.verdict == 'few seeds' else seeds_needed(compared)
    if count is None:
        return
    reason = message(
        'More seeds of {name} and {baseline}: if difference and spread stay as they are, '
        '{n} seeds would tell it from noise.',
        n=count,
        **values,
    )
    if compared.verdict == 'few seeds':
        reason = message(
            'More seeds of {name} and {baseline}: fewer than {least} cannot show a difference.',
            least=count,
            **values,
        )
    if _study_of(collection, best) and _study_of(collection, baseline):
        yield Suggestion(reason, f'seeds={list(range(count))},')
    else:
        yield Suggestion(reason, '\n'.join(_more_seeds(collection, best, count)))


def _more_seeds(collection: Collection, best: Group, wanted: int) -> Iterator[str]:
    """Yield the commands for the seeds that a group and the baseline lack."""
    groups = [(g, g.by_seed(collection.metric)) for g in (collection.baseline, best)]
    common = set(groups[0][1]) & set(groups[1][1])
    new = (seed for seed in itertools.count() if seed not in common)
    seeds = list(itertools.islice(new, max(1, wanted - len(common))))
    for group, have in groups:
        for seed in seeds:
            if seed not in have:
                yield _train(group.runs[0], f's{seed}', {'randomness.seed': seed})


def _loss_weights(collection: Collection) -> Iterator[Suggestion]:
    found = []
    for group in collection.groups:
        faults = loss_faults(group.runs[0]).values()
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
        yield Suggestion(reason, _lines(collection, group, 'weights', options))


def _lengths(collection: Collection) -> Iterator[Suggestion]:
    metric, students = collection.metric, collection.students
    found = []
    for group in sorted(collection.ranked, key=lambda g: g not in students):
        planned = group.runs[0].max_iters
        if planned is None:
            continue
        if still_improving(group, metric):
            reason = message('Train {name} 1.5x longer: it was still improving.', name=group.name)
            found.append((reason, group, 'longer', round(LONGER * planned)))
        elif course := peaked_and_fell(group, metric):
            reason = message(
                'Train {name} only as long as it improved, with a learning rate schedule that '
                'ends there.',
                name=group.name,
            )
            found.append((reason, group, 'shorter', course.peak))
    for reason, group, what, iterations in found[:MOST]:
        options = _schedule(group.runs[0], iterations)
        yield Suggestion(reason, _lines(collection, group, what, options))


def _schedule(run: RunRecord, iterations: int) -> dict[str, Any]:
    """Return overrides for another length; schedules that ended with the training still do."""
    options: dict[str, Any] = {'train_cfg.max_iters': iterations}
    schedulers = run.config.get('param_scheduler')
    for i, scheduler in enumerate(schedulers if isinstance(schedulers, list) else []):
        if isinstance(scheduler, Mapping) and scheduler.get('end') == run.max_iters:
            options[f'param_scheduler.{i}.end'] = iterations
    return options


def _spaces(collection: Collection) -> Iterator[Suggestion]:
    for study, edges in best_at_the_edge(collection):
        wider = {key: _wider(study.space[key], edge) for key, (_, edge) in edges.items()}
        lines = [f'{key!r}: {text},' for key, text in wider.items() if text is not None]
        if lines:
            reason = message('A search space extended beyond the best values.')
            yield Suggestion(reason, '\n'.join(lines))


def _wider(choices: Any, edge: str) -> str | None:
    """Return the choices and one step beyond an edge; None if the sign would change."""
    lowest = edge == 'lowest'
    if isinstance(choices, list):
        numbers = sorted(filter(is_number, choices))
        first, second = numbers[:2] if lowest else numbers[:-3:-1]
        # The last step again, as a factor where that keeps the sign.
        beyond = first * first / second if first > 0 and second > 0 else 2 * first - second
        return None if beyond < 0 <= min(numbers) else repr([*choices, _rounded(beyond)])
    low, high, kind = choices['low'], choices['high'], choices.get('type')
    if lowest and low == 0:
        return None
    logarithmic = str(kind).startswith('log')
    if lowest:
        low = low / 10 if logarithmic or low > 0 else low - (high - low)
    else:
        high = high * 10 if logarithmic else high + (high - low)
    if kind == 'int':
        low, high = max(1, round(low)) if choices['low'] > 0 else round(low), round(high)
    return f'dict(type={kind!r}, low={low:.3g}, high={high:.3g})'


def _rounded(value: float) -> float:
    return float(f'{value:.3g}')


def _test(collection: Collection) -> Iterator[Suggestion]:
    best = next(iter([*collection.students, *collection.ranked]), None)
    found = best and best.runs[0].best_checkpoint(collection.metric)
    config = found and _config_of(best.runs[0])
    if config:
        reason = message(
            'Test {name} on the test split: its best evaluation was chosen on the validation '
            'split, so its score is too high.',
            name=best.name,
        )
        command = f'python tools/test.py {_quoted(config)} {_quoted(relative(found[0]))}'
        yield Suggestion(reason, command)


def _lines(collection: Collection, group: Group, what: str, options: dict[str, Any]) -> str:
    study = _study_of(collection, group)
    if study is None:
        return _train(group.runs[0], what, options)
    name = f'{group.name}_{what}'.replace('/', '_')
    lines = [f'    config={study.configs.get(group.name, "")!r},']
    # The study fills in where a needed checkpoint came from.
    if needs := study.needs.get(group.name):
        lines.append(f'    needs={needs!r},')
    kept = {**group.runs[0].options, **options}
    inner = [f'        {key!r}: {value!r},' for key, value in kept.items()]
    return '\n'.join([f'{name!r}: dict(', *lines, '    options={', *inner, '    },', '),'])


def _study_of(collection: Collection, group: Group) -> StudyRecord | None:
    return next(
        (study for study in collection.studies if any(r is group.runs[0] for r in study.runs)), None
    )


def _train(run: RunRecord, what: str, options: Mapping[str, Any]) -> str:
    config = _config_of(run) or 'CONFIG'
    folder = relative(run.source.with_name(f'{run.source.name}_{what}'))
    pairs = ' '.join(_quoted(f'{key}={json.dumps(value)}') for key, value in options.items())
    return (
        f'python tools/train.py {_quoted(config)} --work-dir {_quoted(folder)} '
        f'--cfg-options {pairs}'
    )


def _config_of(run: RunRecord) -> str | None:
    """Return the full config that the run left in its work_dir."""
    found = sorted(run.source.glob('*.py'), key=lambda file: file.stat().st_mtime)
    return relative(found[-1]) if found else None


def _quoted(text: str) -> str:
    """Quote an argument for bash, PowerShell and cmd alike, as far as they agree."""
    if not re.search(r'[^\w./:=+-]', text):
        return text
    # A dollar is a variable to bash and PowerShell between double quotes; cmd has no single ones.
    return f"'{text}'" if re.search(r'[$`"]', text) else f'"{text}"'
