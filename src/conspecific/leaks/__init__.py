"""What training, validation and test share: identical files, near-duplicates and species under two names."""
