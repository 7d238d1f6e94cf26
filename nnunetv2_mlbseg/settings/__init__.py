"""Keys that every training has, how a key is checked, and where it is overridden; may import noise_synthesis alone."""
