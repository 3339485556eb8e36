"""What each room of an encryptor is made of: its process, its channel, its pumps."""
