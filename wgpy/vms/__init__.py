"""The encryptor as three virtual machines: what QEMU is told, and what is put into an image."""
