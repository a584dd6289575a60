"""What the leak check found is said in full, and what it means for the numbers."""

import dataclasses
from collections.abc import Callable

from conspecific.evaluation.evaluate import leave_out
from conspecific.leaks.record import Leaks
from conspecific.leaks.spelling import SpellingMatch
from conspecific.reporting.run.cleanliness import Cleanliness, cleanliness
from conspecific.reporting.run.record import Report

SAME: dict[str, object] = {}


def looked(report: Report, leaks: Leaks, policy: str = "report") -> Cleanliness:
    found = cleanliness(dataclasses.replace(report, leaks=leaks, leak_policy=policy))
    assert found is not None
    return found


def test_nothing_is_said_where_nobody_looked(make_report: Callable[..., Report]) -> None:
    assert cleanliness(make_report()) is None


def test_clean_data_is_said_to_be_clean_and_by_what_search(
    make_report: Callable[..., Report], make_leaks: Callable[..., Leaks]
) -> None:
    found = looked(make_report(), make_leaks())
    assert found.is_good and found.state == "No leak."
    assert "240 images were compared" in found.verdict and "mirrored or slightly cropped" in found.verdict
    assert not found.pairs and not found.without and not found.notes


def test_pairs_are_counted_by_parts_and_shown_with_what_they_are(
    make_report: Callable[..., Report], make_leaks: Callable[..., Leaks]
) -> None:
    leaks = make_leaks(
        ("Species_A/0.jpg", "Species_A/3.jpg", {"kind": "exact", "similarity": 1.0}),
        ("Species_A/1.jpg", "Species_A/4.jpg", {"view": "mirrored"}),
        ("Species_A/2.jpg", "Species_B/14.jpg", {"first_subset": "val"}),
        ("Species_C/26.jpg", "Species_C/27.jpg", {"second_subset": "val", "second_id": 1027}),
    )
    found = looked(make_report(), leaks)
    assert not found.is_good and "4 pairs of copies" in found.verdict
    assert found.counts == (
        ("Training and test", "1", "1"),
        ("Validation and test", "0", "1"),
        ("Training and validation", "0", "1"),
    )
    assert [pair.relation for pair in found.pairs[:2]] == ["The same file", "Nearly the same image, mirrored"]
    assert [pair.relabelled for pair in found.pairs] == [False, False, True, False]
    assert found.pairs[1].similarity == "0.987"
    first, second = found.pairs[2].sides
    assert (first.over, first.name, first.path) == ("validation", "Species A", "Species_A/2.jpg")
    assert (second.over, second.name, second.path) == ("test", "Species B", "Species_B/14.jpg")
    assert first.alt != second.alt


def test_no_more_than_twelve_pairs_are_shown_and_the_rest_is_counted(
    make_report: Callable[..., Report], make_leaks: Callable[..., Leaks]
) -> None:
    leaks = make_leaks(*((f"Species_A/{place}.jpg", f"Species_A/{place}.jpg", SAME) for place in range(12)))
    assert looked(make_report(), leaks).further == ""
    more = make_leaks(*((f"Species_A/{place}.jpg", f"Species_A/{place}.jpg", SAME) for place in range(14)))
    found = looked(make_report(), more)
    assert len(found.pairs) == 12 and "2 further pairs" in found.further


def test_numbers_without_the_leaked_queries_stand_beside_all(
    make_report: Callable[..., Report], make_leaks: Callable[..., Leaks]
) -> None:
    report = make_report()
    leaks = make_leaks(*((f"Species_B/{place}.jpg", f"Species_A/{place}.jpg", SAME) for place in range(6)))
    found = looked(report, leaks)
    assert found.leaked == "6 of 96 queries"
    assert [row.metric for row in found.without] == ["recall@1", "precision@10", "map@r"]
    clean = leave_out(report.flatten, leaks.leaked_queries)
    everything, without = report.flatten.metrics["map@r"], clean.metrics["map@r"]
    assert found.without[2].values[0] == ("baseline", "Baseline", f"{everything:.3f}", f"{without:.3f}")
    assert everything != without


def test_where_every_query_is_leaked_nothing_is_left_to_say(
    make_report: Callable[..., Report], make_leaks: Callable[..., Leaks]
) -> None:
    leaks = make_leaks(*((f"Species_A/{place}.jpg", f"Species_A/{place}.jpg", SAME) for place in range(96)))
    values = looked(make_report(), leaks).without[0].values
    assert [without for _, _, _, without in values] == ["\u2013"] * 3


def test_copies_between_training_and_validation_alone_let_the_test_stand(
    make_report: Callable[..., Report], make_leaks: Callable[..., Leaks]
) -> None:
    pair = ("Species_A/0.jpg", "Species_A/1.jpg", {"second_subset": "val", "second_id": 1001})
    found = looked(make_report(), make_leaks(pair))
    assert found.without == () and "the choice of the epoch" in found.stands and "the test" in found.stands


def test_the_policy_is_said(make_report: Callable[..., Report], make_leaks: Callable[..., Leaks]) -> None:
    leaks = make_leaks(("Species_A/0.jpg", "Species_A/1.jpg", SAME))
    reported, dropped = looked(make_report(), leaks), looked(make_report(), leaks, "drop")
    assert "leaks=report" in reported.notes[0] and reported.without
    assert "leaks=drop" in dropped.notes[0] and dropped.is_good
    assert dropped.without == () and "has seen no query" in dropped.stands


def test_duplicates_inside_the_test_and_blank_images_are_counted(
    make_report: Callable[..., Report], make_leaks: Callable[..., Leaks]
) -> None:
    notes = looked(make_report(), make_leaks(inside=3, blank=1)).notes
    assert "3 pairs of copies" in notes[0]
    assert notes[1].startswith("1 image with next to nothing on it was compared as a file only")


def test_species_under_two_names_are_a_leak_too(
    make_report: Callable[..., Report], make_leaks: Callable[..., Leaks]
) -> None:
    names = (SpellingMatch("Grey_Jay", "Gray_Jay", True), SpellingMatch("Wren_Tit", "Wrentits", False))
    found = looked(make_report(), make_leaks(species=names))
    assert not found.is_good and "2 species" in found.verdict
    assert found.spellings == ("Grey Jay and, in the test, Gray Jay", "Wren Tit and, in the test, Wrentits (a guess)")
    assert "by a guess were left in" in looked(make_report(), make_leaks(species=names), "drop").notes[0]
