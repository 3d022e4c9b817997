"""The sentences of a report: scores, trainings, diagnoses and suggested runs."""
