"""The names that engines are asked for by."""

NAMES = ("dense", "compact", "csr", "dgl", "native", "auto")
