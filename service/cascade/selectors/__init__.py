"""What orders and cuts."""
