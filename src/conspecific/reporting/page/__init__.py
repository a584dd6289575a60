"""What all pages share: templates, words, plots and thumbnails."""
