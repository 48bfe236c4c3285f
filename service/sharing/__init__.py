"""What the processes of a service on one machine know together."""
