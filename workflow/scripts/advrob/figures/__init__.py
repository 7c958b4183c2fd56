"""Curves, panels and diagrams, in one style."""
