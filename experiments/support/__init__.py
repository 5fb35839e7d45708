"""What the experiments have in common; no file here is an experiment."""
