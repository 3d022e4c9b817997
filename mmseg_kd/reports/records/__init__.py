"""What runs left behind, read into records."""
