"""Attacks on every command and every file that is read back; see `scripts/fuzz.py`."""
