"""Queries are chosen by rule, and the rule is the one the page states."""

from collections.abc import Callable

from conspecific.reporting.run.examples import chosen_targets, further_examples, paired
from conspecific.reporting.run.record import Report


def test_targets_are_the_largest_gain_the_median_and_the_worst(make_report: Callable[..., Report]) -> None:
    report = make_report()
    rows = paired(report.flatten, report.best)
    gains = rows["gain"].to_list()
    assert gains == sorted(gains)
    targets = chosen_targets(rows)
    assert [target.why for target in targets] == ["Largest gain", "Median gain", "Worst answers"]
    right = [sum(answer.hit is True for answer in target.after) for target in targets]
    before = [sum(answer.hit is True for answer in target.before) for target in targets]
    assert right[0] - before[0] == gains[-1]
    assert right[1] - before[1] == gains[len(gains) // 2]
    assert right[2] == rows["hits_after"].min()
    assert targets == chosen_targets(paired(report.flatten, report.best))


def test_few_queries_give_few_and_different_targets(make_report: Callable[..., Report]) -> None:
    report = make_report()
    rows = paired(report.flatten, report.best)
    assert chosen_targets(rows.head(0)) == []
    assert len({target.path for target in chosen_targets(rows.head(2))}) == 2
    assert len(further_examples(rows.head(1))) == 1


def test_further_examples_run_from_the_largest_loss_to_the_largest_gain(make_report: Callable[..., Report]) -> None:
    report = make_report()
    rows = paired(report.flatten, report.best)
    examples = further_examples(rows, 5)
    assert len({example.path for example in examples}) == 5
    assert examples[0].path == rows["path"][0] and examples[-1].path == rows["path"][-1]
