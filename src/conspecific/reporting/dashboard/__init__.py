"""The page over all runs in a folder."""
