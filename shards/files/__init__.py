"""Files and folders, opened and listed so that what is wrong with them is told."""
