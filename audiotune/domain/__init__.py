"""What the project is about, as plain data: recordings, segments, annotations, captions, datasets, releases, generations."""
