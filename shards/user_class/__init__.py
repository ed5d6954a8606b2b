"""Classes of the user's own, `my_lab.growth.Slow`: found and checked without being imported, kept, loaded."""
