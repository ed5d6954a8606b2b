"""What a self-test measures in processes that have torch; launch/self_test/ says when and on what nodes."""
