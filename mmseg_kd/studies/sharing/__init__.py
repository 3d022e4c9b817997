"""What processes and machines share of a study: storage, run queue, heartbeats and state."""
