"""Frames ↔ video files and folders of pictures."""
