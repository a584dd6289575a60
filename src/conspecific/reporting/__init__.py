"""HTML pages and images of runs: the report of a run, the comparison of runs, the table of a sweep.

Import the module that is needed: images alone do not load the libraries of the pages.
"""
