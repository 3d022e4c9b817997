"""What a report says in sentences: scores, training, diagnoses, and what to run next."""
