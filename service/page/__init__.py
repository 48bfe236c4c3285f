"""The web page: static files, served by the service itself, that use its public routes only."""
