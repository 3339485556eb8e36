"""A room that runs alone: the main process of a guest."""
