"""Local re-ranking: the first answers in a new order, by local descriptors that match."""
