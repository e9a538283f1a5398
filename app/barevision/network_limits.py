"""How large a network may be: far above every published one, and far below what ends in a MemoryError."""

#: Pixels that a side of the input may have.
LARGEST_SIDE = 4096
#: Numbers in the output of a layer, or of the network: 1 GB.
LARGEST_OUTPUT = 2**28
