"""Training of fast networks: recipe, photos, one step, the loop, its folder."""
