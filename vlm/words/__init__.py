"""The words that people see, one file for each place. They are read with `vlm.strings`."""
