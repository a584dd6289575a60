"""The page that compares runs: one self-contained HTML file."""

from pathlib import Path

from conspecific.files import write_text
from conspecific.images import open_rgb
from conspecific.reporting.comparison.changes import query_changes
from conspecific.reporting.comparison.headline import headline, lead
from conspecific.reporting.comparison.sections import SECTIONS
from conspecific.reporting.comparison.subject import Subject, count_runs, rival
from conspecific.reporting.page.answers import SHOWN
from conspecific.reporting.page.section import render_page
from conspecific.reporting.page.tally import Tally, tally
from conspecific.reporting.page.thumbnails import Thumbnails
from conspecific.runs.groups import Comparison


def write_comparison(path: Path, found: Comparison) -> Path:
    """Write the page to `path` and return it. Images are shown where the data of a run are still at their place."""
    main = rival(found)
    subject = Subject(found, main, query_changes(main), _images(found))
    title = headline(subject)
    own = {
        "title": title,
        "over": f"{len(found.groups)} groups of {count_runs(found.groups)} runs compared",
        "headline": title,
        "lead": lead(subject),
        "tallies": _tallies(subject),
    }
    shared = {
        "page": subject,
        "found": found,
        "main": main,
        "images": subject.images,
        "roles": subject.roles,
        "names": subject.names,
    }
    scripts = ("page/viewer.js",) if subject.images else ()
    write_text(path, render_page("comparison/page.html.j2", SECTIONS, subject, shared, own, scripts))
    return path


def _tallies(subject: Subject) -> list[Tally]:
    """The mean number of hits among ten of the two groups the page is about."""
    metric, roles = f"precision@{SHOWN}", subject.roles
    return [
        tally(roles[group.letter], group.letter, SHOWN * group.means[metric])
        for group in (subject.main.first, subject.main.group)
        if metric in group.means
    ]


def _images(found: Comparison) -> Thumbnails | None:
    """The test images, None where the data of no run are at their place."""
    roots = [run.data_root for group in found.groups for run in group.runs]
    root = next((root for root in roots if root.is_dir()), None)
    return None if root is None else Thumbnails(lambda path: open_rgb(root / path, shorter_side=224))
