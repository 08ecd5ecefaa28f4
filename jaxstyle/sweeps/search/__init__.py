"""Searching settings: candidates, successive halving, and weights learnt by gradients."""
