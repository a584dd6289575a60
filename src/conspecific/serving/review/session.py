"""The questions, the answers so far, and the file that keeps them after each answer."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from threading import Lock

import polars as pl

from conspecific.data.corrections import COLUMNS, RELABELS, Correction, Decision, read_corrections
from conspecific.data.labels import tidy
from conspecific.data.manifest import Manifest
from conspecific.errors import DataError
from conspecific.files import write_text
from conspecific.serving.refusal import Refusal
from conspecific.serving.review.questions import LABEL, Question
from conspecific.tables import csv_text

ELSEWHERE = "{file} was changed by another program since the last answer. Start the review again to go on from there."
ANSWERED = "This question was answered already, perhaps in another window. Here is the next one."


class Session:
    """A review under way. Every method may be called from any thread.

    manifest: the images that are asked about, with the corrections `base` applied. known: the species that they may be
    of. file: of the corrections; what it holds already are earlier answers, which are not asked for again, but for
    those that were skipped: they come last. A new file begins with `base`, and so can take the place of the file that
    these come from.
    Raises DataError where the file does not begin with them.
    """

    def __init__(
        self,
        manifest: Manifest,
        known: Sequence[str],
        questions: Sequence[Question],
        file: Path,
        base: Sequence[Correction] = (),
    ) -> None:
        self.manifest, self.file, self._known = manifest, file, known
        self._paths = manifest.table["path"].to_list()
        self._labels = manifest.table["label"].fill_null("").to_list()
        self._base, self._content, self._lock = len(base), _read(file), Lock()
        self._take(read_corrections(file) if file.exists() else list(base))
        if self._rows[: len(base)] != list(base):
            raise DataError(
                f"{file} does not begin with the corrections that the run was made with: name another file with output"
            )
        earlier = {(row.question, row.path) for row in self._rows if row.decision == "skip"}
        later = [any((each.kind, self._paths[image]) in earlier for image in each.images) for each in questions]
        self.questions = [each for _, each in sorted(zip(later, questions, strict=True), key=lambda pair: pair[0])]
        self._steps = self._recorded_steps()
        self._skipped: list[int] = []

    @property
    def answered(self) -> int:
        """How many questions have an answer, or were skipped since the review was started."""
        return sum(not self.pending(number) for number in range(len(self.questions)))

    @property
    def current(self) -> int | None:
        """The number of the question to be answered; None at the end."""
        return next((number for number in range(len(self.questions)) if self.pending(number)), None)

    @property
    def can_undo(self) -> bool:
        """Whether there is an answer to take back."""
        return bool(self._steps)

    @property
    def corrected(self) -> int:
        """How many images have got another label, or are left out."""
        return len({row.path for row in self._rows[self._base :] if row.decision in (*RELABELS, "out")})

    @property
    def species(self) -> list[str]:
        """The known species, and the names given so far."""
        return sorted({*self._known, *(row.label for row in self._rows if row.label)})

    def pending(self, number: int) -> list[int]:
        """Return the images of a question that are still to be decided: rows of the manifest."""
        question = self.questions[number]
        if number in self._skipped:
            return []
        decided = self._decided[question.kind] | (self._out if question.kind == LABEL else self._settled)
        return [
            image
            for image in question.images
            if self._paths[image] not in decided and self.label(image) != question.suggested
        ]

    def label(self, image: int) -> str:
        """Return the label of an image, as the answers so far leave it; empty for none."""
        return self._now.get(self._paths[image], str(self._labels[image]))

    def answer(self, number: int, decision: Decision, name: str = "") -> None:
        """Answer a question and write the file. name: of a new species.

        Raises Refusal: 409 for a question that is not the current one, and where another program wrote the file; 422
        for a new species without a name.
        """
        with self._lock:
            if number != self.current:
                raise Refusal(409, ANSWERED)
            question, label = self.questions[number], tidy(name) if decision == "new" else ""
            if decision == "new" and not label:
                raise Refusal(422, "A new species needs a name: cluster 1 will do until it has a better one.")
            if decision == "new" and label in self._known:
                decision = "same"
            given = {"same": label or question.suggested, "new": label}.get(decision, "")
            images = self.pending(number)
            rows = [
                Correction(self._paths[image], self.label(image), given, decision, question.kind) for image in images
            ]
            self._write([*self._rows, *rows])
            self._steps.append(len(rows))
            if decision == "skip":
                self._skipped.append(number)

    def undo(self) -> None:
        """Take the last answer back. Raises Refusal (409) where there is none, or another program wrote the file."""
        with self._lock:
            if not self._steps:
                raise Refusal(409, "There is no answer to take back.")
            count = self._steps[-1]
            skipped = self._rows[-1].decision == "skip"
            self._write(self._rows[:-count])
            self._steps.pop()
            if skipped and self._skipped:
                self._skipped.pop()

    def _write(self, rows: list[Correction]) -> None:
        if _read(self.file) != self._content:
            raise Refusal(409, ELSEWHERE.format(file=self.file.name))
        columns = [(row.path, row.before or None, row.label or None, row.decision, row.question) for row in rows]
        text = csv_text(pl.DataFrame(columns, schema=dict.fromkeys(COLUMNS, pl.String), orient="row"))
        write_text(self.file, text)
        self._content = text.encode()
        self._take(rows)

    def _take(self, rows: list[Correction]) -> None:
        """Make these the answers so far.

        decided: kind of question -> paths with an answer. out: paths left out. settled: those, and paths with a new
        label. now: paths with a new label -> the last.
        """
        self._rows = rows
        self._decided: defaultdict[str, set[str]] = defaultdict(set)
        for row in rows:
            if row.decision != "skip":
                self._decided[row.question].add(row.path)
        self._out = {row.path for row in rows if row.decision == "out"}
        self._settled = self._out | {row.path for row in rows if row.decision in RELABELS}
        self._now = {row.path: row.label for row in rows[self._base :] if row.decision in RELABELS}

    def _recorded_steps(self) -> list[int]:
        """Return how many rows each answer of the file took, as far back as they answer questions of this review."""
        of = {
            (each.kind, self._paths[image]): number
            for number, each in enumerate(self.questions)
            for image in each.images
        }
        steps: list[int] = []
        last: int | None = None
        for row in self._rows[self._base :]:
            number = of.get((row.question, row.path))
            if number is None:
                steps = []
            elif number == last and steps:
                steps[-1] += 1
            else:
                steps.append(1)
            last = number
        return steps


def _read(file: Path) -> bytes:
    return file.read_bytes() if file.exists() else b""
