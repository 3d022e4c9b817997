"""Time the steps of this project and of stock mmseg, on any device."""
