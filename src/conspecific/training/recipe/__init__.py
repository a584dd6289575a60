"""Ways to fine-tune, a module each."""
