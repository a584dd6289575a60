"""What the pages share: layout, sections, wording, plots and thumbnails."""
