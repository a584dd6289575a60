"""What one fine-tuning leaves behind: the typed record of a run, and all that reads it."""
