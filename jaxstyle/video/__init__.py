"""Frames in and out, optical flow, and runs that stay consistent from frame to frame."""
