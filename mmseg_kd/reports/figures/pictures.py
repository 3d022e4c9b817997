"""The sections of a report that are figures. A figure shows as many runs as are legible."""

from __future__ import annotations

from pathlib import Path

from mmseg_kd.errors import UserError
from mmseg_kd.records.class_scores import mean_class_iou
from mmseg_kd.records.message import Message, message, messages
from mmseg_kd.reports.comparing.collection import Collection, Group, run_name
from mmseg_kd.reports.figures.class_iou import class_iou_bars
from mmseg_kd.reports.figures.learning_curves import learning_curves
from mmseg_kd.reports.figures.losses import distillation_losses, loss_curves, loss_names
from mmseg_kd.reports.figures.qualitative import Chosen, comparable_pair, draw_images
from mmseg_kd.reports.writing.document import Block, Heading, Paragraph, Picture, Table
from mmseg_kd.visualization.canvas import canvas
from mmseg_kd.visualization.confusion_figure import draw_confusion
from mmseg_kd.visualization.gradient_figure import gradient_figure
from mmseg_kd.visualization.line_styles import LineStyle, black_line, line_style

MOST_CURVES, MOST_TEACHERS = 8, 3
MOST_BARS, MOST_PANELS, MOST_MATRICES, MOST_GRADIENTS = 4, 4, 2, 2


class Gallery:
    """Draws the figures of a collection into a folder.

    Args:
        collection: The runs.
        folder: Where the PNG files go.
    """

    def __init__(self, collection: Collection, folder: Path) -> None:
        self.collection = collection
        self.metric = collection.metric
        self.folder = folder
        self.looks = _choose_looks(collection)

    def curves(self) -> list[Block]:
        """Draw the learning curves of all runs."""
        file = self.folder / 'learning_curves.png'
        learning_curves(self.collection, self.looks, self._teacher_scores(), file)
        grey = len(self.collection.ranked) - len(self.looks)
        caption = message(
            '{metric} of all runs: means of the seeds, with a band from the lowest to the highest '
            'of them.',
            metric=self.metric,
        )
        if grey > 0:
            caption = message(
                '{metric} of all runs. The best {shown} have a colour and the band of their '
                'seeds, the other {grey} are thin and grey.',
                metric=self.metric,
                shown=len(self.looks),
                grey=grey,
            )
        return [Heading(message('Learning curves')), Picture(file, caption)]

    def classes(self) -> list[Block]:
        """Draw the IoU by class, and confusion matrices."""
        groups = [g for g in self._first(MOST_BARS) if g.best_classes(self.metric)]
        if not groups:
            return []
        scores = {g.name: mean_class_iou(g.best_classes(self.metric)) for g in groups}
        # Runs on other classes have no place in the same figure.
        classes = list(scores[groups[0].name])
        scores = {name: row for name, row in scores.items() if list(row) == classes}
        deltas = {g.name: self.collection.class_differences(g) for g in groups if g.name in scores}
        deltas = {name: row for name, row in deltas.items() if row}
        baseline = self.collection.baseline.name if self.collection.baseline else None
        file = self.folder / 'class_iou.png'
        class_iou_bars(scores, deltas, baseline, self.looks, self.metric, file)
        caption = message(
            'IoU by class over all classes, means of the seeds, at the best evaluation of each, '
            'and the difference to the baseline.'
            if deltas
            else 'IoU by class over all classes, means of the seeds, at the best '
            'evaluation of each.'
        )
        blocks = [Heading(message('Classes')), Picture(file, caption)]
        return [*blocks, *self._confusions(groups)]

    def _confusions(self, groups: list[Group]) -> list[Block]:
        found = [(g.name, s) for g in groups for s in g.best_classes(self.metric)[:1]]
        found = [(name, s) for name, s in found if s.confusion is not None][:MOST_MATRICES]
        blocks: list[Block] = []
        for i, (name, scores) in enumerate(found, 1):
            file = self.folder / f'confusion_{i}.png'
            with canvas(file) as figure:
                title = f'{name}, iteration {scores.iteration}'
                draw_confusion(figure, scores.confusion, list(scores.iou), title)
            caption = message(
                '{name}: percent of the pixels of each true class (row) that are predicted as '
                'each class (column). Values below 0.5 off the diagonal are blank.',
                name=name,
            )
            blocks.append(Picture(file, caption))
        return blocks

    def losses(self) -> list[Block]:
        """Draw the losses of a few runs, and each loss's share of the gradient."""
        runs = [(g.name, g.counted[0]) for g in self._first(MOST_PANELS)]
        runs = [(name, run) for name, run in runs if loss_names(run)]
        order = distillation_losses(self.collection.runs)
        if not runs:
            return self._gradients(order)
        file = self.folder / 'losses.png'
        loss_curves(runs, file, order)
        caption = message(
            'Weighted losses of {names}, one seed each, means over the logging interval.',
            names=', '.join(name for name, _ in runs),
        )
        return [Heading(message('Losses')), Picture(file, caption), *self._gradients(order)]

    def _gradients(self, order: list[str]) -> list[Block]:
        blocks: list[Block] = []
        reported = [(g.name, run) for g in self._first() for run in g.counted if run.gradients]
        # The first run of each group.
        runs = dict(reversed(reported))
        names = list(dict.fromkeys(name for name, _ in reported))
        for i, name in enumerate(names[:MOST_GRADIENTS], 1):
            file = self.folder / f'gradients_{i}.png'
            gradient_figure(runs[name].gradients, file, order=order)
            caption = message(
                "{name}: gradient norm shares of the labels' loss and of each distillation "
                "loss, their cosine similarity with the labels' gradient, and the weighted "
                'losses.',
                name=name,
            )
            blocks.append(Picture(file, caption))
        if len(names) > MOST_GRADIENTS:
            text = message(
                'Gradients of {count} more runs are in gradients.png of their work_dirs.',
                count=len(names) - MOST_GRADIENTS,
            )
            blocks.append(Paragraph(text, remark=True))
        return blocks

    def images(self, count: int) -> list[Block]:
        """Draw validation images on which the best student and the baseline differ.

        If a checkpoint or the data is missing, a note says so instead.
        """
        pair = comparable_pair(self.collection) if count else None
        if pair is None:
            return []
        file, notes = self.folder / 'images.png', self.collection.notes
        try:
            rows = draw_images(*pair, count, file, self.metric, notes)
        except (UserError, OSError, KeyError) as error:
            notes.append(message('No images: {error}', error=error))
            return []
        caption = message(
            'Validation images, baseline {baseline}, student {student}. Last column: green where '
            'the student alone is right, orange where the baseline alone is.',
            baseline=run_name(pair[0]),
            student=run_name(pair[1]),
        )
        table = [[name, _kind(c), f'{c.difference:+.2f}'] for name, c in rows]
        headings = messages('image', 'chosen as', 'difference in mIoU of the image')
        return [
            Heading(message('Images')),
            Picture(file, caption),
            Table(headings, table, text_columns=frozenset({0, 1})),
        ]

    def _first(self, count: int | None = None) -> list[Group]:
        """Return the baseline, the best students and a teacher, of those with a colour."""
        baseline, teachers = self.collection.baseline, self.collection.taught_from[:1]
        first = [baseline] if baseline is not None and baseline.measured else []
        teachers = [group for group in teachers if group is not baseline]
        students = self.collection.students
        if count is not None:
            students = students[: count - len(first) - len(teachers)]
        return [g for g in (*first, *students, *teachers) if g.name in self.looks]

    def _teacher_scores(self) -> dict[str, float]:
        scores: dict[str, float] = {}
        for run in self.collection.runs:
            for name, card in run.teachers.items():
                score = (card.get('metrics') or {}).get(self.metric)
                if score is not None and score not in scores.values():
                    label = name if name not in scores else f'{name} of {run.name}'
                    scores[label] = score
        # More lines hide the curves.
        return dict(list(scores.items())[:MOST_TEACHERS])


def _choose_looks(collection: Collection) -> dict[str, LineStyle]:
    """Return the line styles by name: black for the baseline, a colour for the best others."""
    looks = {}
    if collection.baseline is not None:
        looks[collection.baseline.name] = black_line()
    best = [group for group in collection.ranked if group is not collection.baseline]
    best = [group.name for group in best[:MOST_CURVES]]
    # In the order of the runs, so that a new run at the end leaves the others as they were.
    names = [group.name for group in collection.groups if group.name in best]
    return looks | {name: line_style(i) for i, name in enumerate(names)}


def _kind(choice: Chosen) -> Message:
    if choice.kind == 'improved':
        return message('most improved' if choice.difference > 0 else 'least damaged')
    if choice.kind == 'damaged':
        return message('most damaged' if choice.difference < 0 else 'least improved')
    return message('median')
