"""Models that others published, read into ours; a format is one file, its table of arrays on top."""
