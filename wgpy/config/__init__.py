"""What an administrator writes: models, validation, UAPI text, wg(8) INI. Pure."""
