"""The page that joins all results."""
