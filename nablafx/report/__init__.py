"""What finished runs tell, side by side."""
