"""The page of suspect labels."""
