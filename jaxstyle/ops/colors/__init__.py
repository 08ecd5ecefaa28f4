"""Colour spaces, and distances between palettes."""
