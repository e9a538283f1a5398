"""What is wrong with an encoded picture."""

from __future__ import annotations


class ImageError(ValueError):
    """Bytes that are no picture that can be decoded."""


class ImageTooLargeError(ImageError):
    """A picture with more pixels than allowed."""


class SideTooLongError(ImageTooLargeError):
    """A picture with more pixels on one side than allowed."""
