"""How often the report's statements are right, where the truth is known: simulated tasks."""
