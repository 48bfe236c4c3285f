"""From data and machine to a plan: rules, search, measured steps."""
