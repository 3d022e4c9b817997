"""The sections of a report that are pictures. A picture shows as many runs as can be read."""

from __future__ import annotations

from pathlib import Path

from mmseg_kd.checkpoints import atomic_path
from mmseg_kd.errors import UserError
from mmseg_kd.records.class_scores import mean_class_iou
from mmseg_kd.records.message import Message, message
from mmseg_kd.reports.comparing.collection import Collection, Group, run_name
from mmseg_kd.reports.figures.canvas import Look, canvas, choose_looks
from mmseg_kd.reports.figures.class_iou import class_iou_bars
from mmseg_kd.reports.figures.learning_curves import learning_curves
from mmseg_kd.reports.figures.losses import distillation_losses, loss_curves, loss_names
from mmseg_kd.reports.figures.qualitative import Chosen, comparable_pair, draw_images
from mmseg_kd.reports.writing.document import Block, Heading, Paragraph, Picture, Table
from mmseg_kd.visualization.confusion_figure import draw_confusion
from mmseg_kd.visualization.gradient_figure import gradient_figure

MOST_BARS, MOST_PANELS, MOST_MATRICES, MOST_GRADIENTS = 4, 4, 2, 2


class Gallery:
    """Draws the pictures of a collection into a folder.

    Args:
        collection: The runs.
        folder: Where the PNG files go.
    """

    def __init__(self, collection: Collection, folder: Path) -> None:
        self.collection = collection
        self.folder = folder
        self.looks: dict[str, Look] = choose_looks(collection)

    def curves(self) -> list[Block]:
        """Learning curves of all runs."""
        collection, file = self.collection, self.folder / 'learning_curves.png'
        learning_curves(collection, self.looks, self._teacher_scores(), file)
        caption = message(
            '{metric} of all runs: means of the seeds, with a band from the lowest to the highest '
            'of them.',
            metric=collection.metric,
        )
        grey = len(collection.ranked) - len(self.looks)
        if grey > 0:
            caption = message(
                '{metric} of all runs. The best {shown} have a colour and the band of their '
                'seeds, the rest ({grey}) is thin and grey.',
                metric=collection.metric,
                shown=len(self.looks),
                grey=grey,
            )
        return [Heading(message('Learning curves')), Picture(file, caption)]

    def classes(self) -> list[Block]:
        """IoU by class, and confusion matrices."""
        collection = self.collection
        groups = [g for g in self._first(MOST_BARS) if g.best_classes(collection.metric)]
        if not groups:
            return []
        scores = {g.name: mean_class_iou(g.best_classes(collection.metric)) for g in groups}
        # Runs on other classes have no place in the same picture.
        first = list(next(iter(scores.values())))
        scores = {name: row for name, row in scores.items() if list(row) == first}
        baseline = collection.baseline.name if collection.baseline else None
        file = self.folder / 'class_iou.png'
        deltas = {g.name: collection.class_differences(g) for g in groups if g.name in scores}
        deltas = {name: row for name, row in deltas.items() if row}
        class_iou_bars(scores, deltas, baseline, self.looks, collection.metric, file)
        blocks: list[Block] = [
            Heading(message('Classes')),
            Picture(
                file,
                message(
                    'IoU by class over all classes, means of the seeds, at the best evaluation of '
                    'each; beside it the difference to the baseline.'
                    if deltas
                    else 'IoU by class over all classes, means of the seeds, at the best '
                    'evaluation of each.'
                ),
            ),
        ]
        return [*blocks, *self._confusions(groups)]

    def _confusions(self, groups: list[Group]) -> list[Block]:
        blocks: list[Block] = []
        for group in groups:
            found = [
                s for s in group.best_classes(self.collection.metric) if s.confusion is not None
            ]
            if not found or len(blocks) == MOST_MATRICES:
                continue
            file = self.folder / f'confusion_{len(blocks) + 1}.png'
            title = f'{group.name}, iteration {found[0].iteration}'
            with canvas(file) as figure:
                draw_confusion(figure, found[0].confusion, list(found[0].iou), title)
            caption = message(
                '{name}: of the pixels of each true class (row), per cent predicted as each class '
                '(column); below 0.5 left blank off the diagonal.',
                name=group.name,
            )
            blocks.append(Picture(file, caption))
        return blocks

    def losses(self) -> list[Block]:
        """Losses of a few runs, and what each loss has of the gradient."""
        runs = [
            (g.name, g.counted[0]) for g in self._first(MOST_PANELS) if loss_names(g.counted[0])
        ]
        blocks: list[Block] = []
        order = distillation_losses(self.collection.runs)
        if runs:
            file = self.folder / 'losses.png'
            loss_curves(runs, file, order)
            caption = message(
                'Weighted losses of {names}, one seed each, means over the logging interval.',
                names=', '.join(name for name, _ in runs),
            )
            blocks += [Heading(message('Losses')), Picture(file, caption)]
        return [*blocks, *self._gradients(order)]

    def _gradients(self, order: list[str]) -> list[Block]:
        blocks: list[Block] = []
        taught = [g for g in self._first(99) if any(run.gradients for run in g.counted)]
        for i, group in enumerate(taught[:MOST_GRADIENTS]):
            file = self.folder / f'gradients_{i + 1}.png'
            run = next(run for run in group.counted if run.gradients)
            with atomic_path(file) as partial:
                gradient_figure(run.gradients, partial, order=order)
            caption = message(
                "{name}: what the labels and each loss have of the student's gradient, whether "
                "a loss pulls the labels' way, and the weighted losses.",
                name=group.name,
            )
            blocks.append(Picture(file, caption))
        if len(taught) > MOST_GRADIENTS:
            blocks.append(
                Paragraph(
                    message(
                        'Gradients of {count} more runs are in gradients.png of their work_dirs.',
                        count=len(taught) - MOST_GRADIENTS,
                    ),
                    remark=True,
                )
            )
        return blocks

    def images(self, count: int) -> list[Block]:
        """Images of the validation split on which the best student and the baseline differ.

        Where a checkpoint or the data is missing, a note says so instead.
        """
        pair = comparable_pair(self.collection) if count else None
        if pair is None:
            return []
        baseline, student = pair
        file = self.folder / 'images.png'
        try:
            rows = draw_images(
                baseline, student, count, file, self.collection.metric, self.collection.notes
            )
        except (UserError, OSError, KeyError) as error:
            self.collection.notes.append(message('No images: {error}', error=error))
            return []
        caption = message(
            'Validation images, baseline {baseline}, student {student}. Last column: green where '
            'the student alone is right, orange where the baseline alone is.',
            baseline=run_name(baseline),
            student=run_name(student),
        )
        table = [[name, _kind(c), f'{c.difference:+.2f}'] for name, c in rows]
        headings = [
            message('image'),
            message('chosen as'),
            message('difference in mIoU of the image'),
        ]
        return [
            Heading(message('Images')),
            Picture(file, caption),
            Table(headings, table, text_columns=frozenset({0, 1})),
        ]

    def _first(self, count: int) -> list[Group]:
        """The baseline, the best students and a teacher, of those with a colour."""
        baseline, teachers = self.collection.baseline, self.collection.taught_from[:1]
        first = [baseline] if baseline is not None and baseline.measured else []
        teachers = [group for group in teachers if group is not baseline]
        students = self.collection.students[: count - len(first) - len(teachers)]
        return [g for g in (*first, *students, *teachers) if g.name in self.looks]

    def _teacher_scores(self) -> dict[str, float]:
        scores: dict[str, float] = {}
        for run in self.collection.runs:
            for name, card in run.teachers.items():
                score = (card.get('metrics') or {}).get(self.collection.metric)
                if score is not None and score not in scores.values():
                    label = name if name not in scores else f'{name} of {run.name}'
                    scores[label] = score
        # More lines than these hide the curves.
        return dict(list(scores.items())[:3])


def _kind(choice: Chosen) -> Message:
    if choice.kind == 'improved':
        return message('most improved') if choice.difference > 0 else message('least damaged')
    if choice.kind == 'damaged':
        return message('most damaged') if choice.difference < 0 else message('least improved')
    return message('median')
