"""A run as trackers show it: MLflow and Weights & Biases, fed from the run folder. No torch."""
