"""Networks over texts: token ids [b, k]."""
