"""How a network is run on this machine: every way that its processor has is measured, the fastest right one chosen."""
