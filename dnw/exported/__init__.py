"""Trained networks as files of their own, for use elsewhere; of this, only ONNX and the page need torch."""
