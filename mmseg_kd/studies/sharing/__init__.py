"""A study shared by processes and machines: its storage, who runs what, and who is alive."""
