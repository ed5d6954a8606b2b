"""What TensorBoard shows of a training: pictures of the wiring, costs, layouts, settings."""
