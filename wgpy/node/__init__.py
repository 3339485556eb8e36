"""The encryptor: the supervisor of a node's three rooms, and its life on the host."""
