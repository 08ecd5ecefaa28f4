"""What scripts/distill.py runs: training and measuring slim networks."""
