"""What a run leaves for people: the report page, its plots and its pictures.

Import the module needed (`report`, `montage`, `plots`): pictures alone must not wait for the page's libraries.
"""
