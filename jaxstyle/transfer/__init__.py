"""One optimisation run: recipe, objective, the loop."""
