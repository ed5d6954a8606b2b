"""Weights that a run begins with, init=FILE, torchvision or timm: found, checked and read."""
