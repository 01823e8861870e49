"""The project's data types: recordings, segments, annotations, captions, datasets, releases, generations."""
