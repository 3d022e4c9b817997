"""CamVid: the data set, its classes and colours, other layouts, the download."""
