"""Configuration: YAML in, checked and typed values out. Nothing heavy is imported here, so that help stays quick."""
