"""The self-test: small runs and measurements on a user's own nodes, through the real path.

docs/self_test.md says what it shows and how it goes about it. Nothing here imports torch.
"""
