"""Reads the records of an experiment and writes its report; never trains and never imports torch."""
