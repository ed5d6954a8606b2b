"""The native engine: what is left of a network as vector instructions of this machine's CPU."""
