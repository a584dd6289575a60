"""The report of a run: one self-contained HTML file, and images of the example queries."""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from conspecific.files import write_text, write_whole
from conspecific.images import open_rgb
from conspecific.montage import answer_sheet, side_by_side
from conspecific.reporting.page.answers import Answer, describe_hits
from conspecific.reporting.page.section import Section, render_page
from conspecific.reporting.page.thumbnails import Thumbnails
from conspecific.reporting.page.wording import species_name
from conspecific.reporting.run.examples import Example, pairs_of, selected_queries
from conspecific.reporting.run.headline import headline, lead, tallies
from conspecific.reporting.run.sections import SECTIONS
from conspecific.reporting.run.subject import Subject
from conspecific.reporting.run.trust import findings
from conspecific.runs.directory import RunDirectory
from conspecific.runs.record import read_record

SCRIPTS = ("page/nav.js", "page/viewer.js", "run/map.js")


def write_report(path: Path, run: Subject, sections: Sequence[Section[Subject]] = SECTIONS) -> Path:
    """Write the page to `path` and images of the example queries into `images/` next to it; return `path`."""
    images = Thumbnails(run.open_image)
    save_example_images(path.parent / "images", run, images)
    own = {
        "title": f"{', '.join(run.made_of)}: {run.title}",
        "over": " · ".join([*run.made_of, run.title]),
        "headline": headline(run),
        "lead": lead(run, pairs_of(run)),
        "tallies": tallies(run),
        "findings": findings(run),
        "outcome": run.judged.outcome if run.judged else "",
    }
    write_text(path, render_page("run/page.html.j2", sections, run, {"run": run, "images": images}, own, SCRIPTS))
    return path


def report_run(run: RunDirectory) -> Subject:
    """Write `report.html` and the images of the example queries into the directory of a finished run."""
    record = read_record(run.path)
    root = Path(record.counts.data_root)
    subject = Subject(record, lambda path: open_rgb(root / path, shorter_side=224))
    write_report(run.report, subject)
    return subject


def save_example_images(folder: Path, run: Subject, images: Thumbnails) -> None:
    """Write a PNG for each selected query: better reference and best encoder side by side."""
    names = []
    for rank, example in enumerate(selected_queries(pairs_of(run)), start=1):
        names.append(f"query-{rank}-{example.rule.lower().replace(' ', '-')}.png")
        with write_whole(folder / names[-1]) as temporary:
            _comparison(example, run, images).save(temporary)
    for earlier in folder.glob("query-[0-9]-*.png"):
        if earlier.name not in names:
            earlier.unlink()


def _comparison(example: Example, run: Subject, images: Thumbnails) -> Image.Image:
    before, after = (
        (_sheet(example, answers, images), f"{encoder.name}: {describe_hits(answers)}")
        for encoder, answers in ((run.rival, example.before), (run.best, example.after))
    )
    return side_by_side(before[0], after[0], (before[1], after[1]))


def _sheet(example: Example, answers: Sequence[Answer], images: Thumbnails) -> Image.Image:
    return answer_sheet(
        images.image(example.path),
        [images.image(answer.path) for answer in answers],
        [answer.judged for answer in answers],
        captions=[species_name(answer.label) for answer in answers],
        query_caption=species_name(example.label),
    )
