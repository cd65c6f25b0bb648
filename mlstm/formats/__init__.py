"""Models that others published, read into ours: a file for each format, its arrays on top."""
