"""Measuring what a system draws."""
