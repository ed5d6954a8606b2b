class ShardError(Exception):
    """Shards, or the source of shards, that can't be used; the message says what, where, and the remedy."""
