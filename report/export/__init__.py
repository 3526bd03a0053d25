"""The records of an experiment as tables and curves for other tools: CSV, Parquet, TensorBoard."""
