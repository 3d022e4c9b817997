"""Side-by-side timing of this project and the stock libraries it builds on."""
