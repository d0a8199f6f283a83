"""Compute the features of data larger than memory with a saved model."""

from .extract import extract_features, verify_features

__all__ = ["extract_features", "verify_features"]
