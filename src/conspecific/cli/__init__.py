"""The console command and its sub-commands."""
