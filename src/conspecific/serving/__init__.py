"""The search page of a run, and its API."""
