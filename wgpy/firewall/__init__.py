"""The texts of a node's two firewalls, for nft."""
