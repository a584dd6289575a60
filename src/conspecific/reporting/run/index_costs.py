"""What each way to search costs, where `conspecific index RUN compare=true` has measured it."""

from typing import Any

from conspecific.evaluation.index_costs import IndexCost
from conspecific.evaluation.tables import format_interval
from conspecific.reporting.page.wording import number
from conspecific.reporting.run.subject import Subject
from conspecific.runs.index_costs import read_costs


def index_costs_section(run: Subject) -> dict[str, Any] | None:
    """Build the section; None where nothing was measured."""
    costs = read_costs(run.record.directory)
    return {"rows": [_row(cost) for cost in costs]} if costs else None


def _row(cost: IndexCost) -> dict[str, str]:
    change = {each.metric: each for each in cost.differences}
    gains = {
        f"{name} difference": format_interval(change[metric].interval) if metric in change else ""
        for name, metric in (("recall", "recall@1"), ("map", "map@r"))
    }
    return {
        "name": cost.name,
        "dimensions": f"{cost.dimensions:,}",
        "recall": number(cost.metrics["recall@1"], 3),
        "map": number(cost.metrics["map@r"], 3),
        "index recall": number(cost.recall, 3),
        "bytes": f"{cost.bytes_per_image:,.0f}",
        "build": f"{cost.build_seconds:.3f}",
        "speed": f"{cost.queries_per_second:,.0f}",
        **gains,
    }
