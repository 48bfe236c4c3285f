"""Archives (PACS): where series come from, what is made of them, and where results go."""
