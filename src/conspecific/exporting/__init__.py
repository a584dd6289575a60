"""Embedders as files that other programs run, without this package."""

from conspecific.exporting.export import Export, export_run

__all__ = ["Export", "export_run"]
