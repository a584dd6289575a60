"""What training, validation and test share: identical files, near copies, respelt species, and what to do about it."""
