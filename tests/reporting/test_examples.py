"""Example queries are selected by the rule that the page states."""

from conspecific.reporting.page.answers import answers_of, describe_hits
from conspecific.reporting.page.tally import tally
from conspecific.reporting.run.examples import examples, pairs_of, selected_queries, spaced_queries

from .subjects import MakeSubject


def test_queries_are_selected_for_the_largest_gain_the_median_and_the_worst(make_run: MakeSubject) -> None:
    run = make_run()
    rows = pairs_of(run)
    gains = rows["gain"].to_list()
    assert gains == sorted(gains)
    selected = selected_queries(rows)
    assert [example.rule for example in selected] == ["Largest gain", "Median gain", "Fewest hits"]
    right = [sum(answer.hit is True for answer in example.after) for example in selected]
    before = [sum(answer.hit is True for answer in example.before) for example in selected]
    assert right[0] - before[0] == gains[-1]
    assert right[1] - before[1] == gains[len(gains) // 2]
    assert right[2] == rows["hits_after"].min()
    assert selected == selected_queries(pairs_of(run))


def test_every_encoder_answers_an_example(make_run: MakeSubject) -> None:
    run = make_run()
    assert run.rival.role == "pooled", "more hits than the baseline"
    [first, *_] = examples(run)["examples"]
    example, rows = first
    assert [row.encoder.role for row in rows] == ["baseline", "pooled", "model"]
    assert rows[1].answers == example.before and rows[2].answers == example.after


def test_few_queries_give_few_and_different_examples(make_run: MakeSubject) -> None:
    run = make_run()
    rows = pairs_of(run)
    assert selected_queries(rows.head(0)) == []
    assert len({example.path for example in selected_queries(rows.head(2))}) == 2
    assert len(spaced_queries(rows.head(1))) == 1


def test_spaced_examples_run_from_the_largest_loss_to_the_largest_gain(make_run: MakeSubject) -> None:
    run = make_run()
    rows = pairs_of(run)
    spaced = spaced_queries(rows, 5)
    assert len({example.path for example in spaced}) == 5
    assert spaced[0].path == rows["path"][0] and spaced[-1].path == rows["path"][-1]


def marks(hits: list[bool], possible: int) -> list[str]:
    return [answer.mark for answer in answers_of("abcdefghij", "k" * 10, hits, possible)]


def test_a_perfect_answer_shows_no_errors() -> None:
    assert marks([True] * 4 + [False] * 6, possible=4) == ["hit"] * 4 + ["open"] * 6
    late = [True, False, True, True, True, *[False] * 5]
    assert marks(late, possible=4) == ["hit", "miss", "hit", "hit", "hit", *["open"] * 5]
    assert marks([False] * 10, possible=29) == ["miss"] * 10
    assert describe_hits(answers_of("ab", "kl", [True, False], possible=1)) == "1 of 1 possible correct"
    assert describe_hits(answers_of("ab", "kl", [True, False])) == "1 of 2 correct"


def test_the_ceiling_of_a_bar_is_where_its_last_cell_ends() -> None:
    assert tally("model", "Fine-tuned", 3.9, 4.0).ceiling_at == 160.0
    assert tally("model", "Fine-tuned", 3.9, 4.5).ceiling_at == 178.0
