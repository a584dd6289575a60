"""The report of a run: `SECTIONS` lists its sections, each a builder and a template of the same name."""
