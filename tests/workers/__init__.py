"""Workers that tests put in the place of dnw.train."""
