"""The page that compares runs query by query."""
