"""Turn a folder of images and masks, as people have them, into a data set with configs."""
