"""What a run leaves for people: the report page, its plots and its images.

Import the module needed (`report`, `montage`, `plots`): images alone must not wait for the page's libraries.
"""
