"""The public routes but for jobs."""
