"""Other programs' weights files, one module each."""
