"""The section on leaks: pairs, policy, and the metrics without the leaked queries."""

from collections.abc import Callable

from conspecific.evaluation.evaluate import without_queries
from conspecific.leaks.record import Leaks
from conspecific.leaks.spelling import SpellingMatch
from conspecific.reporting.page.template import template
from conspecific.reporting.run.leak_check import LeakCheck, PairCount, leak_check
from conspecific.reporting.run.subject import Subject

from .subjects import MakeSubject, changed, with_leak_policy

SAME: dict[str, object] = {}


def looked(run: Subject, leaks: Leaks, policy: str = "report") -> LeakCheck:
    values = leak_check(changed(run, leaks=leaks, config=with_leak_policy(run, policy)))
    assert values is not None
    found: LeakCheck = values["check"]
    return found


def test_without_a_leak_check_there_is_no_section(make_run: MakeSubject) -> None:
    assert leak_check(make_run()) is None


def test_without_leaks_the_section_says_what_was_compared(
    make_run: MakeSubject, make_leaks: Callable[..., Leaks]
) -> None:
    found = looked(make_run(), make_leaks())
    assert found.finding.tone == "good" and found.state == "No leaks."
    assert "240 images were compared" in found.verdict and "mirrored or slightly cropped" in found.verdict
    assert not found.pairs and not found.without and not found.notes


def test_pairs_are_counted_by_split_and_described(make_run: MakeSubject, make_leaks: Callable[..., Leaks]) -> None:
    leaks = make_leaks(
        ("Species_A/0.jpg", "Species_A/3.jpg", {"kind": "exact", "similarity": 1.0}),
        ("Species_A/1.jpg", "Species_A/4.jpg", {"view": "mirrored"}),
        ("Species_A/2.jpg", "Species_B/14.jpg", {"first_subset": "val"}),
        ("Species_C/26.jpg", "Species_C/27.jpg", {"second_subset": "val", "second_id": 1027}),
    )
    found = looked(make_run(), leaks)
    assert found.finding.tone != "good" and "4 pairs of duplicates" in found.verdict
    assert found.counts == (
        PairCount("Train and test", "1", "1"),
        PairCount("Validation and test", "0", "1"),
        PairCount("Train and validation", "0", "1"),
    )
    assert [pair.relation for pair in found.pairs[:2]] == ["Identical file", "Near duplicate, mirrored"]
    assert [pair.relabelled for pair in found.pairs] == [False, False, True, False]
    assert found.pairs[1].similarity == "0.987"
    first, second = found.pairs[2].sides
    assert (first.over, first.name, first.path) == ("validation split", "Species A", "Species_A/2.jpg")
    assert (second.over, second.name, second.path) == ("test split", "Species B", "Species_B/14.jpg")
    assert first.alt != second.alt


def test_at_most_twelve_pairs_are_shown_and_the_others_counted(
    make_run: MakeSubject, make_leaks: Callable[..., Leaks]
) -> None:
    leaks = make_leaks(*((f"Species_A/{place}.jpg", f"Species_A/{place}.jpg", SAME) for place in range(12)))
    assert looked(make_run(), leaks).further == ""
    more = make_leaks(*((f"Species_A/{place}.jpg", f"Species_A/{place}.jpg", SAME) for place in range(14)))
    found = looked(make_run(), more)
    assert len(found.pairs) == 12 and "2 further pairs" in found.further


def test_metrics_without_the_leaked_queries_are_shown_with_those_of_all(
    make_run: MakeSubject, make_leaks: Callable[..., Leaks]
) -> None:
    run = make_run()
    leaks = make_leaks(*((f"Species_B/{place}.jpg", f"Species_A/{place}.jpg", SAME) for place in range(6)))
    found = looked(run, leaks)
    assert found.leaked == "6 of 96 queries"
    assert [row.metric for row in found.without] == ["recall@1", "precision@10", "map@r"]
    clean = without_queries(run.record.test["flatten"], leaks.leaked_queries)
    everything, without = run.record.test["flatten"].metrics["map@r"], clean.metrics["map@r"]
    cell = found.without[2].cells[0]
    assert (cell.encoder.role, cell.before, cell.text) == ("baseline", f"{everything:.3f}", f"{without:.3f}")
    assert everything != without


def test_where_every_query_is_leaked_no_metric_is_left(make_run: MakeSubject, make_leaks: Callable[..., Leaks]) -> None:
    leaks = make_leaks(*((f"Species_A/{place}.jpg", f"Species_A/{place}.jpg", SAME) for place in range(96)))
    cells = looked(make_run(), leaks).without[0].cells
    assert [cell.text for cell in cells] == ["\u2013"] * 3


def test_duplicates_in_train_and_validation_do_not_affect_the_test_metrics(
    make_run: MakeSubject, make_leaks: Callable[..., Leaks]
) -> None:
    pair = ("Species_A/0.jpg", "Species_A/1.jpg", {"second_subset": "val", "second_id": 1001})
    found = looked(make_run(), make_leaks(pair))
    assert found.without == () and "the choice of the epoch" in found.unaffected and "test split" in found.unaffected


def test_the_policy_is_stated(make_run: MakeSubject, make_leaks: Callable[..., Leaks]) -> None:
    leaks = make_leaks(("Species_A/0.jpg", "Species_A/1.jpg", SAME))
    reported, dropped = looked(make_run(), leaks), looked(make_run(), leaks, "drop")
    assert "leaks=report" in reported.notes[0] and reported.without
    assert "leaks=drop" in dropped.notes[0] and dropped.finding.tone == "good"
    assert dropped.without == () and "no query of the test split was trained on" in dropped.unaffected


def test_duplicates_within_the_test_split_and_blank_images_are_counted(
    make_run: MakeSubject, make_leaks: Callable[..., Leaks]
) -> None:
    notes = looked(make_run(), make_leaks(inside=3, blank=1)).notes
    assert "3 pairs of duplicates" in notes[0]
    assert notes[1].startswith("1 image without visible content was compared by file content only")


def test_one_file_under_two_species_is_named(make_run: MakeSubject, make_leaks: Callable[..., Leaks]) -> None:
    [note] = looked(make_run(), make_leaks(two_species=("a/1.jpg (a) and b/2.jpg (b)",))).notes
    assert note == "1 file with an identical copy under another species: a/1.jpg (a) and b/2.jpg (b)."


def test_a_species_with_two_names_is_a_leak(make_run: MakeSubject, make_leaks: Callable[..., Leaks]) -> None:
    names = (SpellingMatch("Grey_Jay", "Gray_Jay", True), SpellingMatch("Wren_Tit", "Wrentits", False))
    found = looked(make_run(), make_leaks(species=names))
    assert found.finding.tone != "good" and "2 species" in found.verdict
    assert found.spellings == (
        "Grey Jay and, in the test split, Gray Jay",
        "Wren Tit and, in the test split, Wrentits (uncertain)",
    )
    assert found.synonyms == ()
    assert "uncertain match were kept" in looked(make_run(), make_leaks(species=names), "drop").notes[0]


def test_names_that_may_mean_one_species_are_listed_but_are_no_leak(
    make_run: MakeSubject, make_leaks: Callable[..., Leaks]
) -> None:
    found = looked(make_run(), make_leaks(synonyms=(SpellingMatch("Gray_Heron", "Grey_Heron", True),)))
    assert found.finding.tone == "good"
    assert found.synonyms == ("Gray Heron and Grey Heron",)
    page = template("run/leak_check.html.j2").render(check=found, run=make_run(), images=None)
    assert "<li>Gray Heron and Grey Heron</li>" in page
