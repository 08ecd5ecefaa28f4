"""What a run leaves behind: manifests, replay, checkpoints."""
