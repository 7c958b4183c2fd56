"""What all training shares: passes over varied images, and weights in files."""
