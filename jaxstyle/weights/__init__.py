"""Files → networks: finding, fetching, porting, checking."""

SUFFIX = ".safetensors"
"""Of the files of networks; a name that ends in it is a path."""
