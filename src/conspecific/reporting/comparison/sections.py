"""The sections of the comparison page, in the order of the page."""

from typing import Any

from conspecific.reporting.comparison.changes import changed_answers, extremes, species_changes
from conspecific.reporting.comparison.scores import panel, score_table
from conspecific.reporting.comparison.settings import settings_table
from conspecific.reporting.comparison.subject import Subject, row
from conspecific.reporting.page.section import Section
from conspecific.reporting.page.wording import MAIN_METRIC, MAIN_METRICS


def groups(subject: Subject) -> dict[str, Any]:
    """The runs of every group, and the settings in which the groups differ."""
    return {"settings": settings_table(subject.found)}


def scores(subject: Subject) -> dict[str, Any]:
    """Every metric of every group."""
    return {
        "table": score_table(subject.found),
        "panels": [
            panel(subject.found, metric, subject.roles, subject.names)
            for metric in MAIN_METRICS
            if metric in subject.found.metrics
        ],
        "has_singles": any(len(group.runs) == 1 for group in subject.found.groups),
    }


def differences(subject: Subject) -> dict[str, Any]:
    """The paired differences of every group to the first."""
    contrasts = subject.found.contrasts
    return {
        "overview": [row(contrast, MAIN_METRIC, contrast.group.letter) for contrast in contrasts],
        "contrasts": [
            (contrast, [row(contrast, metric, metric) for metric in subject.found.metrics]) for contrast in contrasts
        ],
    }


def changed_species(subject: Subject) -> dict[str, Any]:
    """The species that changed most."""
    gained, lost = extremes(species_changes(subject.queries), ["change"])
    return {"gained": gained, "lost": lost, "of_queries": False}


def changed_queries(subject: Subject) -> dict[str, Any]:
    """The queries that changed most."""
    gained, lost = extremes(subject.queries, ["more", "change"])
    return {"gained": gained, "lost": lost, "of_queries": True}


def answers(subject: Subject) -> dict[str, Any] | None:
    """The retrieved images of these queries; None without images or answers."""
    found = changed_answers(subject.main, subject.queries) if subject.images else []
    return {"examples": found} if found else None


def glossary(subject: Subject) -> dict[str, Any]:
    """The terms of the page."""
    return {}


SECTIONS: list[Section[Subject]] = [
    Section("groups", "Groups", "comparison/groups.html.j2", groups),
    Section("scores", "Test metrics", "comparison/scores.html.j2", scores),
    Section("differences", "Paired differences", "comparison/differences.html.j2", differences),
    Section("species", "Species with the largest changes", "comparison/changes.html.j2", changed_species),
    Section("queries", "Queries with the largest changes", "comparison/changes.html.j2", changed_queries),
    Section("answers", "Retrieved images", "comparison/answers.html.j2", answers),
    Section("glossary", "Glossary", "comparison/glossary.html.j2", glossary),
]
