"""Features of data larger than memory, from files to files, by a saved model."""

from .extract import extract_features, verify_features

__all__ = ["extract_features", "verify_features"]
