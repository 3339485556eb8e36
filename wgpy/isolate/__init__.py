"""How our programs start, and what shuts a process in: namespaces, jails, filters."""
