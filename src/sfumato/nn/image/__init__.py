"""Networks over pictures: [b, channels, height, width]."""
