"""Semantic patches: copies of the style, matching, the energy, and the term of them."""
