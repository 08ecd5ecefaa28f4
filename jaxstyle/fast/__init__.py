"""Feed-forward style networks: trained once with the terms of `stylize`, then milliseconds per image."""
