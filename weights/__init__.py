"""Bundled weights and their registry; read by `jaxstyle.weights`."""
