"""Images, species and splits: from a folder or a table to tensors."""
