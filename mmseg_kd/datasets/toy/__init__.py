"""Generated street scenes in CamVid's classes."""
