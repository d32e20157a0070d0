"""What rules candidates out."""
