"""What keeps the rooms apart on one Linux host: namespaces, jails, firewalls."""
