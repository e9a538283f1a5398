"""The dialects of HTTP that clients speak, a module each."""
