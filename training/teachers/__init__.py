"""Public speech-quality networks under permissive licences that score simulated clips, read from their model files."""
