"""Text encoders that were trained before and stay as they are, and their tokenizers."""
