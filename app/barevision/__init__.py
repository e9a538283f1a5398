"""Barevision: a YOLO object detector behind HTTP, for plain virtual machines."""

__version__ = "0.1.0"
