"""Which runs would answer what the ones at hand leave open, ready to start."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mmseg_kd.distillation.gradient_diagnosis import MOST_CHANGE
from mmseg_kd.paths import relative
from mmseg_kd.records.message import Message, message
from mmseg_kd.records.run_record import RunRecord
from mmseg_kd.records.study_file import StudyRecord
from mmseg_kd.reports.comparing.collection import Collection, Group
from mmseg_kd.reports.comparing.statistics import FEWEST_SEEDS, PairedDifference, half_width
from mmseg_kd.reports.findings.diagnoses import loss_faults, peaked_and_fell, still_improving
from mmseg_kd.reports.sections.search_results import best_at_the_edge, is_number

MOST_SEEDS = 20
# Longer by a half is enough to see whether length is what was missing.
LONGER = 1.5
MOST = 3


@dataclass(frozen=True)
class Suggestion:
    """Why, and the lines that do it."""

    reason: Message
    lines: str


def suggest(collection: Collection) -> list[Suggestion]:
    """Suggest runs, the most needed first. The runs of a study get lines for its config."""
    return [
        *_seeds(collection),
        *_loss_weights(collection),
        *_lengths(collection),
        *_spaces(collection),
        *_test(collection),
    ]


def seeds_needed(compared: PairedDifference) -> int | None:
    """Seeds with which a difference as large and as noisy would leave 0 out; None above 20."""
    if not compared.sd or not compared.mean:
        return None
    for n in range(len(compared.seeds) + 1, MOST_SEEDS + 1):
        if half_width(compared.sd, n) < abs(compared.mean):
            return n
    return None


def _seeds(collection: Collection) -> Iterator[Suggestion]:
    best = next(iter(collection.students), None)
    compared = collection.compare(best) if best is not None else None
    if compared is None:
        return
    if compared.verdict == 'few seeds':
        reason = message(
            'More seeds of {name} and {baseline}: fewer than {least} show no difference.',
            name=best.name,
            baseline=collection.baseline.name,
            least=FEWEST_SEEDS,
        )
        wanted = range(FEWEST_SEEDS)
    elif compared.verdict == 'noise' and seeds_needed(compared):
        wanted = range(seeds_needed(compared))
        reason = message(
            'More seeds of {name} and {baseline}: if difference and spread stay as they are, '
            '{n} seeds would tell it from noise.',
            name=best.name,
            baseline=collection.baseline.name,
            n=len(wanted),
        )
    else:
        return
    if _study_of(collection, best) and _study_of(collection, collection.baseline):
        yield Suggestion(reason, f'seeds={list(wanted)},')
        return
    yield Suggestion(reason, '\n'.join(_more_seeds(collection, best, len(wanted))))


def _more_seeds(collection: Collection, best: Group, wanted: int) -> Iterator[str]:
    """Commands for the seeds that a group and the baseline lack to have so many in common."""
    groups = [(g, g.by_seed(collection.metric)) for g in (collection.baseline, best)]
    common = set(groups[0][1]) & set(groups[1][1])
    new = (seed for seed in itertools.count() if seed not in common)
    seeds = list(itertools.islice(new, max(1, wanted - len(common))))
    for group, have in groups:
        for seed in seeds:
            if seed not in have:
                yield _train(group.runs[0], f's{seed}', {'randomness.seed': seed})


def _loss_weights(collection: Collection) -> Iterator[Suggestion]:
    count = 0
    for group in collection.groups:
        run = group.runs[0]
        options = {
            key: float(f'{fault.better:.3g}')
            for key, fault in loss_faults(run).values()
            if fault.better is not None
        }
        if options and count < MOST:
            count += 1
            yield Suggestion(
                message(
                    '{name} with weights that bring each loss nearer to a tenth of the gradient, '
                    "by the median of the run's reports. One step raises a weight at most "
                    '{most} times, or to 1; measure again before the next.',
                    name=group.name,
                    most=MOST_CHANGE,
                ),
                _lines(collection, group, 'weights', options),
            )


def _lengths(collection: Collection) -> Iterator[Suggestion]:
    metric = collection.metric
    suggestions, students = [], collection.students
    for group in sorted(collection.ranked, key=lambda g: g not in students):
        run = group.runs[0]
        if run.max_iters is None:
            continue
        if still_improving(group, metric):
            longer = _schedule(run, round(LONGER * run.max_iters))
            reason = message('{name} half as long again: it was still improving.', name=group.name)
            suggestions.append(Suggestion(reason, _lines(collection, group, 'longer', longer)))
        elif found := peaked_and_fell(group, metric):
            shorter = _schedule(run, found.peak)
            reason = message(
                '{name} only as long as it improved, with a learning rate that ends there.',
                name=group.name,
            )
            suggestions.append(Suggestion(reason, _lines(collection, group, 'shorter', shorter)))
    yield from suggestions[:MOST]


def _schedule(run: RunRecord, iterations: int) -> dict[str, Any]:
    """Overrides for another length; the schedules that ended with the training do so again."""
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
            reason = message('A space that goes on where the best values lay.')
            yield Suggestion(reason, '\n'.join(lines))


def _wider(choices: Any, edge: str) -> str | None:
    """The choices, and one step beyond an edge; None where only a change of sign is left."""
    if isinstance(choices, list):
        numbers = sorted(filter(is_number, choices))
        first, second = numbers[:2] if edge == 'lowest' else numbers[:-3:-1]
        # On by the last step, by its factor where that keeps the sign.
        beyond = first * first / second if first > 0 and second > 0 else 2 * first - second
        if beyond < 0 <= min(numbers):
            return None
        return repr([*choices, float(f'{beyond:.3g}')])
    low, high = choices['low'], choices['high']
    if edge == 'lowest' and low == 0:
        return None
    logarithmic = str(choices.get('type', '')).startswith('log')
    if edge == 'lowest':
        low = low / 10 if logarithmic or low > 0 else low - (high - low)
    else:
        high = high * 10 if logarithmic else high + (high - low)
    if choices.get('type') == 'int':
        low, high = max(1, round(low)) if choices['low'] > 0 else round(low), round(high)
    return f'dict(type={choices.get("type")!r}, low={low:.3g}, high={high:.3g})'


def _test(collection: Collection) -> Iterator[Suggestion]:
    best = next(iter([*collection.students, *collection.ranked]), None)
    run = best.runs[0] if best else None
    found = run and run.best_checkpoint(collection.metric)
    if not found or not _config_of(run):
        return
    yield Suggestion(
        message(
            '{name} on the test split: its best evaluation was chosen on the validation split, '
            'which flatters it.',
            name=best.name,
        ),
        f'python tools/test.py {_quoted(_config_of(run))} {_quoted(relative(found[0]))}',
    )


def _lines(collection: Collection, group: Group, what: str, options: dict[str, Any]) -> str:
    study = _study_of(collection, group)
    if study is None:
        return _train(group.runs[0], what, options)
    name = f'{group.name}_{what}'.replace('/', '_')
    kept = {**group.runs[0].options, **options}
    inner = '\n'.join(f'        {key!r}: {value!r},' for key, value in kept.items())
    config = study.configs.get(group.name, '')
    # Where a needed checkpoint came from is the study's to fill in.
    needs = study.needs.get(group.name)
    needed = f'\n    needs={needs!r},' if needs else ''
    return f'{name!r}: dict(\n    config={config!r},{needed}\n    options={{\n{inner}\n    }},\n),'


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
    """The config in full that the run left in its work_dir."""
    found = sorted(run.source.glob('*.py'), key=lambda file: file.stat().st_mtime)
    return relative(found[-1]) if found else None


def _quoted(text: str) -> str:
    """Quote an argument for bash, PowerShell and cmd alike, as far as they agree."""
    if not re.search(r'[^\w./:=+-]', text):
        return text
    # A dollar is a variable to bash and PowerShell between double quotes; cmd has no single ones.
    return f"'{text}'" if re.search(r'[$`"]', text) else f'"{text}"'
