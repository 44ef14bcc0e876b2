"""Networks over sequences of samples, such as sound: [b, channels, length]."""
