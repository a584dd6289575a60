"""The section on the ranks above species."""

from dataclasses import replace
from pathlib import Path

from conspecific.evaluation.taxonomy import mix_ups, recall_at_ranks
from conspecific.reporting.run.report import write_report
from conspecific.reporting.run.subject import Subject
from conspecific.reporting.run.taxonomy import taxonomy

from .subjects import SPECIES, MakeSubject, changed

TAXA = {"genus": {name: (name[-1] in "ABCD" and "First") or "Second" for name in SPECIES}}


def with_taxa(run: Subject) -> Subject:
    def told(results: dict[str, object]) -> dict[str, object]:
        return {name: replace(each, facts={**each.facts, "taxa": TAXA}) for name, each in results.items()}  # type: ignore

    return changed(run, test=told(run.record.test), validation=told(run.record.validation))  # type: ignore[arg-type]


def test_recall_mix_ups_and_sure_ranks_are_shown(make_run: MakeSubject, tmp_path: Path) -> None:
    run = with_taxa(make_run())
    values = taxonomy(run)
    assert values is not None
    assert [row.rank for row in values["rows"]] == ["species", "genus"]
    genus = recall_at_ranks(run.best.result)[1].recall[0]
    assert values["rows"][1].cells[-1].text == f"{genus.mean:.3f}" and values["lowest"] == "genus"
    wrong = mix_ups(run.best.result)
    within = sum(pair.count for pair in wrong if pair.rank == "genus")
    assert f"Of {sum(pair.count for pair in wrong)} first answers of another species, {within} (" in values["told"]
    assert [title for title, _ in values["mixed"]] == ["Within a genus", "Across genus boundaries"]
    assert [rank for rank, *_ in values["sure"]] == ["species", "genus", "not sure at any"]
    page = write_report(tmp_path / "report.html", run).read_text(encoding="utf-8")
    assert 'id="taxonomy"' in page and "Across genus boundaries" in page


def test_a_run_without_ranks_has_no_section(make_run: MakeSubject) -> None:
    assert taxonomy(make_run()) is None
