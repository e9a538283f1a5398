"""What is wrong with a model."""

from __future__ import annotations


class ModelError(ValueError):
    """A model that is not known, not complete or not what it should be."""
