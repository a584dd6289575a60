"""The sections of the report, in the order of the page.

To add a section, write a builder and a template and add one entry here.
"""

from conspecific.reporting.page.section import Section
from conspecific.reporting.run.confusions import confusions
from conspecific.reporting.run.details import details
from conspecific.reporting.run.embedding_map import embedding_map
from conspecific.reporting.run.examples import examples
from conspecific.reporting.run.geometry import geometry
from conspecific.reporting.run.glossary import glossary
from conspecific.reporting.run.hubs import hub_section
from conspecific.reporting.run.index_costs import index_costs_section
from conspecific.reporting.run.known_or_new import known_or_new
from conspecific.reporting.run.leak_check import leak_check
from conspecific.reporting.run.learning import learning
from conspecific.reporting.run.metric_tables import metric_tables
from conspecific.reporting.run.species import species
from conspecific.reporting.run.subject import Subject
from conspecific.reporting.run.taxonomy import taxonomy
from conspecific.reporting.run.threshold import threshold_section

SECTIONS: list[Section[Subject]] = [
    Section("metrics", "Test metrics", "run/metric_tables.html.j2", metric_tables),
    Section("leaks", "Leak check", "run/leak_check.html.j2", leak_check),
    Section("learning", "Learning curves", "run/learning.html.j2", learning),
    Section("examples", "Example queries", "run/examples.html.j2", examples),
    Section("species", "Metrics per species", "run/species.html.j2", species),
    Section("confusions", "Confusions", "run/confusions.html.j2", confusions),
    Section("taxonomy", "Ranks above species", "run/taxonomy.html.j2", taxonomy),
    Section("hubs", "Hubs", "run/hubs.html.j2", hub_section),
    Section("map", "Embedding map", "run/embedding_map.html.j2", embedding_map),
    Section("geometry", "Embedding geometry", "run/geometry.html.j2", geometry),
    Section("threshold", "Score threshold", "run/threshold.html.j2", threshold_section),
    Section("known", "Known or new", "run/known_or_new.html.j2", known_or_new),
    Section("index", "Cost of an index", "run/index_costs.html.j2", index_costs_section),
    Section("run", "Run details", "run/details.html.j2", details),
    Section("glossary", "Glossary", "run/glossary.html.j2", glossary),
]
