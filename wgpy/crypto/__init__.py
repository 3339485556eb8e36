"""The room that holds the keys: drives the protocol core and the plane."""
