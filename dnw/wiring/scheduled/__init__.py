"""Wirings with a schedule over the whole run, or with a state of their own in the checkpoint."""
