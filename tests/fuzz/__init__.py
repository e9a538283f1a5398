"""Damaged pictures and requests, the same ones for the same seed, and what the service makes of them."""
